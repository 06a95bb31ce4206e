//! What goes wrong with keys and certificates.

use std::io;
use std::path::{Path, PathBuf};

/// Why a key or a certificate cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file.
    #[error("cannot {step} {path}")]
    File {
        /// What was tried.
        step: &'static str,
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file holds no key that can be used.
    #[error("{path} holds no key that can be used")]
    Key {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// Making or signing failed.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// A public key that is none.
    #[error("a node's public key is an uncompressed point of P-256, and this is none")]
    NoPoint,
    /// The machine gives no random numbers.
    #[error("this machine gives no random numbers")]
    NoRandomness,
}

impl IdentityError {
    pub(crate) fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { step, path, source }
    }
}
