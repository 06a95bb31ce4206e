//! Why a package is not built.

use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{
    DeviceModel, FirmwareKind, MAX_CHECKS_BYTES, MAX_MANIFEST_BYTES, ManifestError, XattrProblem,
};

use crate::firmware::FirmwareError;

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
    /// Firmware that nodes would refuse when they take it out of the package.
    #[error("{path:?} in the tree is no firmware package that a cluster takes")]
    Firmware {
        /// Its path in the tree.
        path: String,
        /// Why they would.
        #[source]
        source: Box<FirmwareError>,
    },
    /// Two firmware packages for the same devices: which of them counts could only be guessed.
    #[error(
        "{first:?} and {second:?} in the tree both bring {}",
        what_they_bring(*kind, model.as_ref())
    )]
    FirmwareTwice {
        /// The one that is named first.
        first: String,
        /// The one that is named later.
        second: String,
        /// The kind of both.
        kind: FirmwareKind,
        /// The model that both are for; none for disk qualification packages.
        model: Option<DeviceModel>,
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

fn what_they_bring(kind: FirmwareKind, model: Option<&DeviceModel>) -> String {
    match model {
        Some(model) => format!("{kind} for model {model}"),
        None => format!("a {kind}"),
    }
}

impl BuildError {
    /// What to do about it, as a phrase to append, where the error alone does not show it.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Firmware { source, .. } => Some(source.advice()),
            Self::FirmwareTwice { .. } => Some("leave one of the two out"),
            Self::NotADirectory { .. }
            | Self::OutputInTree { .. }
            | Self::OutputNotAFile { .. }
            | Self::Reserved { .. }
            | Self::Unsupported { .. }
            | Self::Xattr { .. }
            | Self::CheckNotExecutable { .. }
            | Self::ChecksTooLarge { .. }
            | Self::NotUtf8 { .. }
            | Self::Changed { .. }
            | Self::Manifest(_)
            | Self::ManifestTooLarge { .. }
            | Self::Io { .. } => None,
        }
    }

    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}
