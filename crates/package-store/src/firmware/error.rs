//! Why firmware is refused, and what to do about it.

use std::io;

use evenkeel_model::{
    Digest, FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE, FirmwareKind, FirmwareManifestError,
    FirmwareRevision, ImageNameError, MAX_FIRMWARE_MANIFEST_BYTES, PathProblem, QualificationError,
};

use crate::signature::SignatureError;
use crate::verify_error::VerifyError;
use crate::zip::ZipError;

/// Why a firmware archive was refused.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The file could not be read; says nothing about its content.
    #[error("the firmware archive cannot be read")]
    Read(#[source] io::Error),
    /// Begins like neither of them.
    #[error("this is no archive: it is neither a zip nor a gzip file")]
    NotAnArchive,
    /// A zip that is malformed or dangerous.
    #[error("the firmware archive is not acceptable")]
    Zip(#[source] ZipError),
    /// A tar or gzip that is malformed or dangerous.
    #[error("the firmware archive is not acceptable")]
    Tgz(#[source] VerifyError),
    /// A dangerous or malformed name.
    #[error("the firmware archive has an entry {path:?} whose path {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// An entry a second time.
    #[error("the firmware archive holds {path:?} twice")]
    Duplicate {
        /// The entry.
        path: String,
    },
    /// A link of either kind.
    #[error("the firmware archive holds {path:?}, a link to {target:?}")]
    Link {
        /// The entry.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// More entries than any such archive has.
    #[error("the firmware archive has more than the {limit} entries allowed")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// More content than is taken.
    #[error("the firmware archive unpacks to more than the {limit} bytes allowed")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Packed better than real content can be.
    #[error("the firmware archive is a bomb: its {file_bytes} bytes unpack to {unpacked} and more")]
    Bomb {
        /// Unpacked so far.
        unpacked: u64,
        /// Size of the file.
        file_bytes: u64,
    },
    /// No files in it.
    #[error("the firmware archive holds no files")]
    Empty,
    /// No manifest, where unsigned firmware is not taken.
    #[error("the firmware is unsigned: its archive holds no {FIRMWARE_MANIFEST:?}")]
    NoManifest,
    /// A manifest without a signature, where unsigned firmware is not taken.
    #[error("the firmware is unsigned: its archive holds no {FIRMWARE_SIGNATURE:?}")]
    Unsigned,
    /// A signature of nothing.
    #[error("the firmware archive holds {FIRMWARE_SIGNATURE:?}, but no {FIRMWARE_MANIFEST:?}")]
    SignatureAlone,
    /// The manifest is too big to be one.
    #[error(
        "the firmware's manifest has {size} bytes, more than the {MAX_FIRMWARE_MANIFEST_BYTES} allowed"
    )]
    ManifestTooLarge {
        /// How many.
        size: u64,
    },
    /// The signature proves nothing here.
    #[error("the firmware is not trusted")]
    Signature(#[from] SignatureError),
    /// The manifest breaks a rule.
    #[error("the firmware's manifest is not acceptable")]
    Manifest(#[from] FirmwareManifestError),
    /// A file that the manifest does not list.
    #[error("the firmware archive holds {path:?}, which its manifest does not list")]
    Unlisted {
        /// The file.
        path: String,
    },
    /// A file that the manifest lists and that is not there.
    #[error("the firmware archive lacks {file:?}, which its manifest lists")]
    Missing {
        /// The file.
        file: String,
    },
    /// Another size than listed.
    #[error("the manifest lists {file:?} with {listed} bytes, but the archive holds {found}")]
    SizeLie {
        /// The file.
        file: String,
        /// The manifest's size.
        listed: u64,
        /// The archive's.
        found: u64,
    },
    /// Other content than listed.
    #[error("the content of {file:?} does not match its digest: the archive was tampered with")]
    Tampered {
        /// The file.
        file: String,
    },
    /// Without a manifest, a file that nothing is known about.
    #[error("the firmware archive holds {path:?}, but {problem}")]
    NotAnImage {
        /// The file.
        path: String,
        /// What its name lacks.
        problem: ImageNameError,
    },
    /// Without a manifest, images of two kinds.
    #[error(
        "the firmware archive mixes kinds: {first:?} is {first_kind}, {second:?} is {second_kind}"
    )]
    MixedKinds {
        /// A file.
        first: String,
        /// What it is.
        first_kind: FirmwareKind,
        /// Another.
        second: String,
        /// What that is.
        second_kind: FirmwareKind,
    },
    /// Without a manifest, an image whose name does not say for which model it is.
    #[error("nothing says for which model and of which revision {file:?} is")]
    NothingSaid {
        /// The file.
        file: String,
    },
    /// A disk qualification package that is not one.
    #[error("{file:?} is no disk qualification package that can be read")]
    Qualification {
        /// The file.
        file: String,
        /// Where and what.
        #[source]
        source: QualificationError,
    },
    /// A disk qualification package of another revision than listed.
    #[error("the manifest lists {file:?} with revision {listed}, but it is of revision {found}")]
    QualificationDiffers {
        /// The file.
        file: String,
        /// The manifest's revision.
        listed: FirmwareRevision,
        /// Its own.
        found: FirmwareRevision,
    },
    /// An SP or BMC image that is no zip.
    #[error("{file:?} does not begin like a zip file, as firmware of an SP or BMC does")]
    NotAZip {
        /// The file.
        file: String,
    },
    /// Another package than the one asked for.
    #[error("firmware {found} came instead of {expected}")]
    Other {
        /// The wanted package.
        expected: Digest,
        /// The one that came.
        found: Digest,
    },
}

impl From<ZipError> for FirmwareError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Read(error) => Self::Read(error),
            ZipError::TooLarge { limit, .. } => Self::TooLarge { limit },
            ZipError::TooManyEntries { limit, .. } => Self::TooManyEntries { limit },
            ZipError::Bomb {
                unpacked,
                file_bytes,
            } => Self::Bomb {
                unpacked,
                file_bytes,
            },
            ZipError::Duplicate { path } => Self::Duplicate { path },
            ZipError::Path { path, problem } => Self::Path { path, problem },
            other => Self::Zip(other),
        }
    }
}

impl From<VerifyError> for FirmwareError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Read(error) => Self::Read(error),
            other => Self::Tgz(other),
        }
    }
}

impl FirmwareError {
    /// What to do about it, as a phrase to append.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Read(_) => "see that the file is there and readable",
            Self::NotAnArchive => {
                "an image as its vendor gives it has to be put in a signed package with `evenkeel \
                 firmware build`"
            }
            Self::NoManifest | Self::Unsigned | Self::SignatureAlone | Self::NothingSaid { .. } => {
                "if you trust it, sign it with `evenkeel firmware build`"
            }
            Self::Signature(SignatureError::UntrustedKey { .. }) => {
                "if you trust who signed it, trust their public key"
            }
            Self::Signature(SignatureError::RevokedKey { .. }) => {
                "get the firmware signed by a key that is trusted now"
            }
            Self::TooManyEntries { .. } | Self::TooLarge { .. } | Self::ManifestTooLarge { .. } => {
                "divide it into smaller ones with `evenkeel firmware build`"
            }
            Self::Manifest(FirmwareManifestError::Format { .. }) => "it needs a newer Evenkeel",
            Self::NotAnImage { .. }
            | Self::MixedKinds { .. }
            | Self::Empty
            | Self::NotAZip { .. } => {
                "put the images of one kind together with `evenkeel firmware build`"
            }
            Self::Qualification { .. } => "correct that line, and write the checksum anew",
            Self::Manifest(_) | Self::QualificationDiffers { .. } => {
                "it must be built anew, by the rules of docs/firmware.md"
            }
            Self::Other { .. } => "get it from another node",
            Self::Zip(_)
            | Self::Tgz(_)
            | Self::Path { .. }
            | Self::Duplicate { .. }
            | Self::Link { .. }
            | Self::Bomb { .. }
            | Self::Signature(SignatureError::Malformed | SignatureError::Wrong { .. })
            | Self::Unlisted { .. }
            | Self::Missing { .. }
            | Self::SizeLie { .. }
            | Self::Tampered { .. } => "do not use it; get it again from where it was made",
        }
    }
}
