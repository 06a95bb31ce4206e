//! Why a worker did not reach its goal.

use std::time::Duration;

use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision, NodeName};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{DeviceId, GroupId};

use crate::driver::DriverError;
use crate::journal::{JournalError, Phase};

/// The API's code for firmware in the store that cannot be opened.
pub const IMAGE_OPEN_FAILED: u32 = 2228325;
/// The API's code for firmware in the store that cannot be read.
pub const IMAGE_COPY_FAILED: u32 = 2228326;
/// The API's code for firmware that a node could not bring to a device.
pub const NODE_UPDATE_FAILED: u32 = 2228328;
/// The API's code for a worker that could not begin.
pub const WORKER_START_FAILED: u32 = 2228329;

/// Why a worker stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// The node's hardware services did not answer.
    #[error("cannot see {what}")]
    Unseen {
        /// What.
        what: String,
        /// Why.
        source: PlatformError,
    },
    /// There is no such device.
    #[error("{node} does not see {device}")]
    Missing {
        /// Who looked.
        node: NodeName,
        /// For what.
        device: DeviceId,
    },
    /// The image is for another model.
    #[error("{device} is a {found}, and the firmware is for {wanted}")]
    WrongModel {
        /// Which device.
        device: DeviceId,
        /// What it is.
        found: DeviceModel,
        /// What it would have to be.
        wanted: DeviceModel,
    },
    /// Another node serves it.
    #[error("{device} is not {node}'s to touch: {owner} serves it")]
    NotOwner {
        /// Which device.
        device: DeviceId,
        /// Who asked.
        node: NodeName,
        /// Who serves it, in words.
        owner: String,
    },
    /// The group cannot spare a drive.
    #[error("{group} cannot spare a drive: {why}")]
    GroupNotWhole {
        /// Which group.
        group: GroupId,
        /// Why not.
        why: String,
    },
    /// The module is the only way to something.
    #[error("{device} cannot start anew: {why}")]
    OnlyPath {
        /// Which module.
        device: DeviceId,
        /// What would be cut off.
        why: String,
    },
    /// The service processor may be needed to fence a node.
    #[error("{device} may be needed: {why}")]
    MayFence {
        /// Which processor.
        device: DeviceId,
        /// For what.
        why: String,
    },
    /// The device did not answer, or had no time, before anything was sent to it.
    #[error("{device} was not touched")]
    NotBegun {
        /// Which.
        device: DeviceId,
        /// What it answered.
        source: DriverError,
    },
    /// The device did not do it.
    #[error("{device}, while {}", phase.text())]
    Device {
        /// Which.
        device: DeviceId,
        /// What was being done.
        phase: Phase,
        /// What it answered.
        source: DriverError,
    },
    /// All went well, and the old revision runs.
    #[error("{device} still runs {running} after {attempts} attempts to make it run {wanted}")]
    Unchanged {
        /// Which device.
        device: DeviceId,
        /// What runs.
        running: FirmwareRevision,
        /// What should.
        wanted: FirmwareRevision,
        /// How often it was tried.
        attempts: u32,
    },
    /// Daemons ended in all attempts.
    #[error("{device} was tried {attempts} times, and none of them came to an end")]
    GivenUp {
        /// Which device.
        device: DeviceId,
        /// How often.
        attempts: u32,
    },
    /// What was read is not what should be there.
    #[error("disk {drive} cannot be read with its new firmware")]
    ReadTest {
        /// Which.
        drive: DiskSerial,
        /// What happened.
        source: PlatformError,
    },
    /// The drive is left out of its group.
    #[error("disk {drive} is left out of {group}")]
    LeftOut {
        /// Which.
        drive: DiskSerial,
        /// Of which group.
        group: GroupId,
        /// Why.
        source: Box<FirmwareError>,
    },
    /// What should come back did not.
    #[error("{what} for {bound:?}")]
    NotBack {
        /// What stood still, as a sentence.
        what: String,
        /// For how long.
        bound: Duration,
    },
    /// The disk qualification package could not be put in place.
    #[error("the disk qualification package cannot be replaced: {0}")]
    Qualification(String),
    /// A step could not be recorded.
    #[error("nothing is done without a record of it")]
    Journal(#[from] JournalError),
}

impl FirmwareError {
    /// Whether the same work may succeed later without anyone's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unseen { source, .. } => source.is_transient(),
            Self::NotBegun { source, .. } | Self::Device { source, .. } => source.is_transient(),
            // What keeps the disk out may pass: the worker brings it back when it is run again.
            Self::LeftOut { source, .. } => source.is_transient(),
            Self::NotOwner { .. }
            | Self::GroupNotWhole { .. }
            | Self::OnlyPath { .. }
            | Self::MayFence { .. }
            | Self::NotBack { .. }
            | Self::Journal(_) => true,
            Self::Missing { .. }
            | Self::WrongModel { .. }
            | Self::Unchanged { .. }
            | Self::GivenUp { .. }
            | Self::ReadTest { .. }
            | Self::Qualification(_) => false,
        }
    }

    /// Whether the device was left as it is since there is no more need.
    pub fn is_canceled(&self) -> bool {
        match self {
            Self::NotBegun { source, .. } | Self::Device { source, .. } => {
                matches!(source, DriverError::Canceled)
            }
            _ => false,
        }
    }

    /// The API's code.
    pub fn code(&self) -> u32 {
        match self {
            Self::Unseen { .. }
            | Self::Missing { .. }
            | Self::WrongModel { .. }
            | Self::NotOwner { .. }
            | Self::GroupNotWhole { .. }
            | Self::OnlyPath { .. }
            | Self::MayFence { .. }
            | Self::NotBegun { .. }
            | Self::Journal(_) => WORKER_START_FAILED,
            Self::Device { .. }
            | Self::Unchanged { .. }
            | Self::GivenUp { .. }
            | Self::ReadTest { .. }
            | Self::LeftOut { .. }
            | Self::NotBack { .. }
            | Self::Qualification(_) => NODE_UPDATE_FAILED,
        }
    }

    /// What an operator should do.
    pub fn action(&self) -> String {
        match self {
            Self::Unseen { .. } => "See to the node's hardware services.".to_owned(),
            Self::Missing { device, .. } => format!("See that {device} is there and cabled."),
            Self::WrongModel { .. } => "Bring firmware for the device's model.".to_owned(),
            Self::NotOwner { .. } => {
                "None, once the pools are home: the owner brings it up to date.".to_owned()
            }
            Self::GroupNotWhole { group, .. } => {
                format!("None, if {group} recovers by itself; else replace what has failed in it.")
            }
            Self::OnlyPath { .. } => {
                "Repair the other path; the module is brought up to date then.".to_owned()
            }
            Self::MayFence { .. } => {
                "None, once both nodes of the pair serve and both service processors answer."
                    .to_owned()
            }
            Self::NotBegun { device, source } | Self::Device { device, source, .. } => match source
                .is_transient()
            {
                true => {
                    format!("See that {device} is reachable and not kept busy; it is tried again.")
                }
                false => format!("Check that the firmware is meant for {device}, or replace it."),
            },
            Self::Unchanged { device, .. } | Self::GivenUp { device, .. } => format!(
                "Cycle the power of {device} at a quiet time, then bring the firmware in again; if it \
                 still runs the old revision, replace it."
            ),
            Self::ReadTest { drive, .. } => format!("Replace disk {drive}."),
            Self::LeftOut { drive, group, .. } => format!(
                "Look after disk {drive}: bring it back into {group}, or replace it. No other disk of its \
                 kind is touched before."
            ),
            Self::NotBack { .. } => "Find out what holds it up, and repair that.".to_owned(),
            Self::Qualification(_) => "Free space on the node's root volume.".to_owned(),
            Self::Journal(_) => "Free space on the node's root volume.".to_owned(),
        }
    }
}
