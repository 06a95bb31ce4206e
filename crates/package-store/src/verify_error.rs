//! Why a package is refused, and what to do about it.

use std::io;

use evenkeel_model::{
    Digest, MANIFEST_PATH, MAX_MANIFEST_BYTES, ManifestError, PathProblem, PlatformName,
    SIGNATURE_PATH,
};

use crate::signature::SignatureError;

/// Why a package was refused.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The stream could not be read; says nothing about the package.
    #[error("the package cannot be read")]
    Read(#[source] io::Error),
    /// Does not start like gzip. Firmware that is no archive ends here too: nothing shows that it is firmware.
    #[error("this is no archive: it is neither a gzip nor a zip file")]
    NotGzip,
    /// A zip file, as firmware comes in.
    #[error("this is a zip file, as firmware comes in, and no software package")]
    Zip,
    /// A gzip member whose data or checksum is wrong.
    #[error("the package is damaged near byte {at} of its inflated content")]
    CorruptGzip {
        /// Inflated bytes before the fault.
        at: u64,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// Ends too early.
    #[error("the package is truncated: it ends after {after} inflated bytes")]
    Truncated {
        /// Inflated bytes that were there.
        after: u64,
    },
    /// Something follows the end.
    #[error("the package has trailing data after its end (at inflated byte {at})")]
    TrailingData {
        /// Inflated bytes before it.
        at: u64,
    },
    /// Inflates to more than the manifest accounts for.
    #[error("the package is a bomb: more than {limit} bytes of padding follow its end")]
    Bomb {
        /// Padding allowed.
        limit: u64,
    },
    /// A tar header that is malformed.
    #[error("the package has a damaged tar header at inflated byte {at}: {why}")]
    BadHeader {
        /// Inflated bytes before it.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The first entry is not the manifest.
    #[error("this is no package: its first entry is {found:?}, not {MANIFEST_PATH:?}")]
    NotAPackage {
        /// The first entry, or nothing.
        found: String,
    },
    /// The manifest is too big to be one.
    #[error("the manifest has {size} bytes, more than the {MAX_MANIFEST_BYTES} allowed")]
    ManifestTooLarge {
        /// What the header says.
        size: u64,
    },
    /// No signature where it belongs.
    #[error("the package is unsigned: after its manifest comes {found:?}, not {SIGNATURE_PATH:?}")]
    Unsigned {
        /// The second entry, or nothing.
        found: String,
    },
    /// The signature proves nothing here.
    #[error("the package is not trusted")]
    Signature(#[from] SignatureError),
    /// The manifest breaks a rule.
    #[error("the package's manifest is not acceptable")]
    Manifest(#[from] ManifestError),
    /// For other hardware.
    #[error("the package is for platform {package}, this node is {node}")]
    WrongPlatform {
        /// The package's.
        package: PlatformName,
        /// The node's.
        node: PlatformName,
    },
    /// Of another variant.
    #[error(
        "the package is of {}, this node runs {}",
        variant(package),
        variant(node)
    )]
    WrongVariant {
        /// The package's; empty is the ordinary one.
        package: String,
        /// The node's.
        node: String,
    },
    /// The node uses a feature that the image does not support.
    #[error("this node uses the feature {feature:?}, which the package does not support")]
    MissingFeature {
        /// The feature.
        feature: String,
    },
    /// Another package than the one asked for.
    #[error("package {found} came instead of {expected}")]
    WrongPackage {
        /// The wanted package.
        expected: Digest,
        /// The one that came.
        found: Digest,
    },
    /// Bigger than this node takes.
    #[error("the package unpacks to {unpacked} bytes, more than the {limit} allowed")]
    TooLarge {
        /// What the manifest says.
        unpacked: u64,
        /// The limit.
        limit: u64,
    },
    /// An entry's path in the archive is dangerous or malformed.
    #[error("the package has an entry {path:?} whose path {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// An entry that the manifest does not list.
    #[error("the package holds {path:?}, which its manifest does not list")]
    Unlisted {
        /// The entry.
        path: String,
    },
    /// An entry a second time.
    #[error("the package holds {path:?} twice")]
    Duplicate {
        /// The entry.
        path: String,
    },
    /// A listed entry, but not its turn.
    #[error("the package holds {found:?} where its manifest lists {expected:?}")]
    OutOfOrder {
        /// Whose turn it was.
        expected: String,
        /// What came.
        found: String,
    },
    /// A listed entry that never came.
    #[error("the package lacks {path:?}, which its manifest lists")]
    Missing {
        /// The entry.
        path: String,
    },
    /// A device node or FIFO.
    #[error("the package holds {path:?}, a device node or FIFO")]
    DeviceNode {
        /// The entry.
        path: String,
    },
    /// A hard link that leads out.
    #[error("the package holds {path:?}, a hard link to {target:?}, which cannot be a file of it")]
    HardLink {
        /// The entry.
        path: String,
        /// What it links to.
        target: String,
    },
    /// A tar entry of a kind that packages do not have.
    #[error("the package holds {path:?}, a tar entry of the unsupported kind {kind:?}")]
    UnsupportedKind {
        /// The entry.
        path: String,
        /// tar's letter for it.
        kind: char,
    },
    /// A symlink that leads out.
    #[error("the package holds the symlink {path:?} to {target:?}, which leads out of it")]
    LinkOut {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// Another kind, mode, link target, owner, time or other extended attributes than listed.
    #[error("{path:?} is not as its manifest lists it: its {what} differs")]
    Differs {
        /// The entry.
        path: String,
        /// Which of them.
        what: &'static str,
    },
    /// Another size than listed.
    #[error("the manifest lists {path:?} with {listed} bytes, but the package holds {found}")]
    SizeLie {
        /// The entry.
        path: String,
        /// The manifest's size.
        listed: u64,
        /// The archive's.
        found: u64,
    },
    /// Other content than listed.
    #[error("the content of {path:?} does not match its digest: the package was tampered with")]
    Tampered {
        /// The entry.
        path: String,
    },
}

fn variant(name: &str) -> String {
    match name {
        "" => "no variant".to_owned(),
        name => format!("variant {name:?}"),
    }
}

impl VerifyError {
    /// What to do about it, as a phrase to append.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Read(_) => "see that the file is there and readable",
            Self::Zip => {
                "a software package is a .tgz that `evenkeel package build` made; `evenkeel firmware \
                 verify` proves firmware"
            }
            Self::NotGzip | Self::NotAPackage { .. } => {
                "name a file that `evenkeel package build` made; firmware as its vendor gives it has \
                 to be put in a signed package with `evenkeel firmware build`"
            }
            Self::Truncated { .. } => "copy it again, to its end",
            Self::Unsigned { .. } => "only signed packages are taken",
            Self::Signature(SignatureError::UntrustedKey { .. }) => {
                "if you trust who built it, trust their public key"
            }
            Self::Signature(SignatureError::RevokedKey { .. }) => {
                "get the package signed by a key that is trusted now"
            }
            Self::WrongPackage { .. } => "get it from another node",
            Self::WrongPlatform { .. } | Self::WrongVariant { .. } => {
                "get the package that is made for this node"
            }
            Self::MissingFeature { .. } => {
                "get a package that supports it, or take the feature out of use first"
            }
            Self::TooLarge { .. } | Self::ManifestTooLarge { .. } => "get a smaller package",
            Self::Manifest(ManifestError::Format { .. }) => "it needs a newer Evenkeel",
            Self::Manifest(_)
            | Self::Path { .. }
            | Self::LinkOut { .. }
            | Self::HardLink { .. } => {
                "it must be built anew, by the rules of docs/package-format.md"
            }
            Self::DeviceNode { .. } | Self::UnsupportedKind { .. } => {
                "it must be built anew, by the rules of docs/package-format.md"
            }
            Self::CorruptGzip { .. }
            | Self::TrailingData { .. }
            | Self::Bomb { .. }
            | Self::BadHeader { .. }
            | Self::Signature(SignatureError::Malformed | SignatureError::Wrong { .. })
            | Self::Unlisted { .. }
            | Self::Duplicate { .. }
            | Self::OutOfOrder { .. }
            | Self::Missing { .. }
            | Self::Differs { .. }
            | Self::SizeLie { .. }
            | Self::Tampered { .. } => "do not use it; get it again from where it was built",
        }
    }
}
