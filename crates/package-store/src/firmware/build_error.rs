//! Why a firmware package is not built.

use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{FirmwareKind, FirmwareManifestError, ImageNameError};

use crate::build_error::BuildError;

use super::error::FirmwareError;

/// Why a firmware package was not built. The output file is then as it was before.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareBuildError {
    /// Neither an image nor an archive of images.
    #[error("{path} is no archive of firmware, and {problem}")]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What its name lacks.
        problem: ImageNameError,
    },
    /// A file that holds something else than what was asked for.
    #[error("{path} is {found}, not {wanted}")]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: FirmwareKind,
        /// What was asked for.
        wanted: FirmwareKind,
    },
    /// Nothing in the given files that could be signed.
    #[error("no firmware in the given files")]
    Nothing,
    /// The name of an SP's or BMC's image does not say what it is.
    #[error("nothing says for which {missing} {file:?} is")]
    NothingSaid {
        /// The image.
        file: String,
        /// `model` or `revision`.
        missing: &'static str,
    },
    /// An input is an archive that is refused, or an image that is.
    #[error("{path} is not taken")]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: FirmwareError,
    },
    /// The images and options break a rule of firmware packages.
    #[error("no firmware package can be made of this")]
    Manifest(#[from] FirmwareManifestError),
    /// More content than a firmware package may have.
    #[error("{file:?} is larger than the {limit} bytes that a firmware package may have")]
    TooLarge {
        /// The image.
        file: String,
        /// The limit.
        limit: u64,
    },
    /// What was written is not what was read first.
    #[error("the files changed while they were being read")]
    Changed(#[source] FirmwareError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] BuildError),
    /// A file operation failed.
    #[error("cannot {step} {path}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl FirmwareBuildError {
    pub(super) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}
