//! Why a package is not taken in.

use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{Digest, Version};

use crate::fsutil;
use crate::verify_error::VerifyError;

/// Why a package was not taken in. Nothing of it stays on disk, unless it was to be kept and the sender went
/// away ([`Aborted`](Self::Aborted)).
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A stage id is 1 to 128 letters, digits, `-`, `_`.
    #[error("{stage_id:?} is not a stage id")]
    BadId {
        /// The refused id.
        stage_id: String,
    },
    /// The same id is under way.
    #[error("{stage_id} is being staged already")]
    Busy {
        /// The id.
        stage_id: String,
    },
    /// Nothing that could be resumed has this id.
    #[error("nothing is kept of {stage_id}")]
    NothingKept {
        /// The id.
        stage_id: String,
    },
    /// No room for it.
    #[error("not enough space in {dir}: {needed} bytes needed, {free} free")]
    NoSpace {
        /// The store's directory.
        dir: PathBuf,
        /// Bytes needed, with the reserve; as far as known.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// More bytes than allowed.
    #[error("the package is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Another package has its version.
    #[error("a different package with version {version} is in the store")]
    VersionExists {
        /// The version.
        version: Version,
        /// The package that has it.
        existing: Digest,
    },
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] VerifyError),
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
    /// The sender went away, or gave up.
    #[error("the package was not sent to its end")]
    Aborted,
    /// An earlier call has reported how it ended.
    #[error("the staging has ended")]
    Ended,
}

impl StageError {
    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if !fsutil::is_no_space(&source) {
                return Self::Io { step, path, source };
            }
            let dir = fsutil::parent_of(&path);
            let free = fsutil::free_bytes(&dir).unwrap_or(0);
            Self::NoSpace {
                dir,
                needed: free.saturating_add(1),
                free,
            }
        }
    }
}
