//! Requests that are refused at once, with the API's code.

use serde::{Deserialize, Serialize};

/// Why a request was refused. Nothing was changed, unless the code is [`code::OUTCOME_UNKNOWN`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message} ({code})")]
pub struct Refusal {
    /// The API's code.
    pub code: u32,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// The field it is about, if one.
    pub target: Option<String>,
}

impl Refusal {
    /// A refusal about no field in particular.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            target: None,
        }
    }

    /// The same, about a field.
    #[must_use]
    pub fn about(mut self, target: &str) -> Self {
        self.target = Some(target.to_owned());
        self
    }
}

/// The codes that planning and admission use. Texts and sources: `docs` of the crate `api`.
pub mod code {
    /// There is one of that name already.
    pub const DUPLICATE: u32 = 1;
    /// Others depend on it as it is.
    pub const IN_USE: u32 = 8;
    /// The entry named does not exist.
    pub const NO_ENTRY: u32 = 4;
    /// A value is not valid for a field.
    pub const INVALID_VALUE: u32 = 262_197;
    /// No update to be resumed or cancelled.
    pub const NO_UPDATE: u32 = 10_551_297;
    /// No update to be paused.
    pub const NO_UPDATE_TO_PAUSE: u32 = 10_551_300;
    /// Resume of an update that is not paused.
    pub const NOT_PAUSED: u32 = 10_551_303;
    /// Cancel is not possible now.
    pub const CANNOT_CANCEL: u32 = 10_551_306;
    /// The record could not be written: nothing was changed, and asking again may help.
    pub const CANNOT_CREATE_TASK: u32 = 10_551_320;
    /// The store holds no packages.
    pub const STORE_EMPTY: u32 = 10_551_315;
    /// A node did not clean up its copy of a package.
    pub const CLEANUP_NODE: u32 = 10_551_323;
    /// Several nodes did not clean up their copies.
    pub const CLEANUP_NODES: u32 = 10_551_324;
    /// The package is not in the store.
    pub const NO_PACKAGE: u32 = 10_551_325;
    /// A package of that version with other content is in the store.
    pub const PACKAGE_EXISTS: u32 = 10_551_327;
    /// A validation runs: no delete.
    pub const DELETE_DURING_VALIDATION: u32 = 10_551_346;
    /// An update runs: no delete.
    pub const DELETE_DURING_UPDATE: u32 = 10_551_347;
    /// A package is being deleted.
    pub const PACKAGE_BEING_DELETED: u32 = 10_551_354;
    /// An update runs.
    pub const UPDATE_IN_PROGRESS: u32 = 10_551_357;
    /// The package is bad.
    pub const PROCESSING_FAILED: u32 = 10_551_359;
    /// Packages are being carried to the nodes.
    pub const SYNC_IN_PROGRESS: u32 = 10_551_367;
    /// A server did not give the package.
    pub const DOWNLOAD_FAILED: u32 = 10_551_381;
    /// A package get runs.
    pub const GET_IN_PROGRESS: u32 = 10_551_382;
    /// A get ran out of time or was interrupted.
    pub const GET_FAILED: u32 = 10_551_391;
    /// Nodes did not remove a package in time, and do not say why.
    pub const DELETE_TIMED_OUT: u32 = 10_551_388;
    /// Validation gave warnings.
    pub const VALIDATION_WARNINGS: u32 = 10_551_395;
    /// Validation gave errors.
    pub const VALIDATION_FAILED: u32 = 10_551_396;
    /// Cancel of a running update: pause it first.
    pub const PAUSE_BEFORE_CANCEL: u32 = 10_551_524;
    /// A validation runs.
    pub const VALIDATION_IN_PROGRESS: u32 = 10_551_656;
    /// The daemon may not write where packages lie.
    pub const UPLOAD_PERMISSION: u32 = 10_551_800;
    /// A read or write error during an upload.
    pub const UPLOAD_IO: u32 = 10_551_801;
    /// A file for the upload cannot be named or opened.
    pub const UPLOAD_HANDLE: u32 = 10_551_802;
    /// The folder of an upload cannot be made.
    pub const UPLOAD_SETUP: u32 = 10_551_805;
    /// The file system of the packages takes no writes.
    pub const UPLOAD_READ_ONLY: u32 = 10_551_806;
    /// The request cannot be carried out in this configuration.
    pub const NOT_SUPPORTED: u32 = 10_551_558;
    /// Nodes to update must be whole HA pairs.
    pub const NOT_HA_PAIRS: u32 = 10_551_368;
    /// No space for an upload.
    pub const NO_SPACE: u32 = 10_551_804;
    /// All nodes run the version already.
    pub const ALREADY_AT_VERSION: u32 = 10_551_854;
    /// The request names no version.
    pub const NO_VERSION: u32 = 10_551_872;
    /// The action does not fit the update's state.
    pub const WRONG_STATE: u32 = 10_551_910;
    /// A job that has ended cannot be changed.
    pub const JOB_IS_OVER: u32 = 458_762;
    /// A job that cannot be ended before its time.
    pub const JOB_CANNOT_CANCEL: u32 = 458_784;
    /// The staged firmware could not be read, or copied to the node.
    pub const FIRMWARE_NOT_STAGED: u32 = 2_228_326;
    /// Firmware update of a node failed.
    pub const FIRMWARE_OF_NODE_FAILED: u32 = 2_228_328;
    /// A worker could not be started.
    pub const FIRMWARE_NOT_STARTED: u32 = 2_228_329;
    /// The firmware that was brought in is not there any more.
    pub const FIRMWARE_ABSENT: u32 = 2_228_330;
    /// Some devices are not up to date.
    pub const FIRMWARE_WITH_ERRORS: u32 = 2_228_428;
    /// Something failed in here that asking again does not mend.
    pub const INTERNAL: u32 = 990_000_002;
    /// The record went silent while it was written to: whether it was done is not known.
    pub const OUTCOME_UNKNOWN: u32 = 990_000_004;
}
