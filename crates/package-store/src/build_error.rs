//! Why a package is not built.

use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{MAX_CHECKS_BYTES, MAX_MANIFEST_BYTES, ManifestError, XattrProblem};

/// Why a package was not built. The output file is then as it was before.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The root is not a directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The root.
        path: PathBuf,
    },
    /// The output lies in the tree and would become part of the next build.
    #[error("the output {output} lies inside the tree {root}")]
    OutputInTree {
        /// The output.
        output: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// The output is a device, a FIFO or a directory, which a package would replace.
    #[error("{path} is not a file, and is left as it is")]
    OutputNotAFile {
        /// The output.
        path: PathBuf,
    },
    /// The tree holds the folder where manifests live.
    #[error("{path} is in the way: packages keep their manifest there")]
    Reserved {
        /// The folder.
        path: PathBuf,
    },
    /// A socket, FIFO or device.
    #[error("{path} is neither a file, nor a directory, nor a symlink")]
    Unsupported {
        /// The file.
        path: PathBuf,
    },
    /// An extended attribute that packages may not set and that is not the building machine's own.
    #[error("{path} has the extended attribute {name:?}, which {problem}")]
    Xattr {
        /// The file.
        path: PathBuf,
        /// The attribute.
        name: String,
        /// What is wrong with it.
        problem: XattrProblem,
    },
    /// A check that no node could run.
    #[error("check {path:?} is not executable")]
    CheckNotExecutable {
        /// Its path in the tree.
        path: String,
    },
    /// Checks are unpacked into memory, with all that lies in their folders.
    #[error(
        "the folders of the checks hold {bytes} bytes, more than {MAX_CHECKS_BYTES}: give the checks a folder of \
         their own"
    )]
    ChecksTooLarge {
        /// Bytes in them.
        bytes: u64,
    },
    /// A name or link target that JSON cannot hold.
    #[error("{path}: its name or link target is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The tree was written to meanwhile.
    #[error("{path} changed while the package was being built")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The tree or the options break a rule of packages.
    #[error("no package can be made of this")]
    Manifest(#[from] ManifestError),
    /// So many entries that the manifest would not be read.
    #[error("the manifest would have {bytes} bytes, more than the {MAX_MANIFEST_BYTES} allowed")]
    ManifestTooLarge {
        /// Its size.
        bytes: u64,
    },
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

impl BuildError {
    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}
