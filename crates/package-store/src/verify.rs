//! Proves a package while it passes: the manifest's signature before its first word is believed, then
//! each entry by order, kind, mode, size and digest. Stops at the first thing that is wrong.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use evenkeel_model::{
    Attributes, Digest, Entry, EntryKind, MANIFEST_PATH, MAX_MANIFEST_BYTES, Manifest,
    ManifestError, PathProblem, PlatformName, SIGNATURE_PATH, check_entry_path, link_stays_inside,
};
use sha2::{Digest as _, Sha256};

use crate::crew::{BATCH_BYTES, Crew, Files, Office};
use crate::gzip::{Blocks, Inflated};
use crate::keys::{KeyId, Signature, SignatureError, TrustedKeys};
use crate::tar::{TarAttributes, TarEntry, TarKind, TarReader};

/// What a node demands of a package.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whose packages are believed.
    pub trusted: TrustedKeys,
    /// What the package must be made for; `None` where no node is concerned, as in a command line.
    pub target: Option<Target>,
    /// Most bytes that a package may have unpacked.
    pub max_unpacked_bytes: u64,
    /// Whether a package without a signature is taken; for a lab. A signature that is there must be right
    /// all the same.
    pub allow_unsigned: bool,
}

impl Policy {
    /// Trusts `trusted`, for any hardware, of any size.
    pub fn trusting(trusted: TrustedKeys) -> Self {
        Self {
            trusted,
            target: None,
            max_unpacked_bytes: u64::MAX,
            allow_unsigned: false,
        }
    }
}

/// What a node is and uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node's platform.
    pub platform: PlatformName,
    /// The node's variant; `None` is the ordinary one.
    pub variant: Option<String>,
    /// Features in use on the node, each of which a package must list.
    pub features: Vec<String>,
}

/// A manifest whose exact bytes were signed, or which came unsigned where that is allowed.
#[derive(Clone, Debug)]
pub struct SignedManifest {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// The signature file as it came; empty for an unsigned package.
    pub signature_text: Vec<u8>,
    /// The signature in it; `None` for an unsigned package.
    pub signature: Option<Signature>,
    /// SHA-256 of `bytes`: the package's identity.
    pub digest: Digest,
    /// What the bytes say.
    pub manifest: Manifest,
}

impl SignedManifest {
    /// The key that signed it; `None` for an unsigned package.
    pub fn signed_by(&self) -> Option<KeyId> {
        self.signature.as_ref().map(|signature| signature.key_id)
    }
}

/// Why a package was refused.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The stream could not be read; says nothing about the package.
    #[error("the package cannot be read")]
    Read(#[source] io::Error),
    /// Does not start like gzip.
    #[error("this is no package: it is not a gzip file")]
    NotGzip,
    /// A zip file, as firmware comes in.
    #[error("this is a zip file: firmware packages are not taken by this release")]
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
    #[error("the package is of variant {package:?}, this node runs {node:?}")]
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

impl VerifyError {
    /// What to do about it, as a phrase to append.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Read(_) => "see that the file is there and readable",
            Self::Zip => "a software package is a .tgz that `evenkeel package build` made",
            Self::NotGzip | Self::NotAPackage { .. } => {
                "name a file that `evenkeel package build` made"
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

/// What is done with a package as it is proven. Its methods are called in the archive's order, on one thread;
/// files' content goes to several, as [`Files`].
pub(crate) trait Sink {
    type Error: Send;
    type Files: Files<Error = Self::Error>;
    /// The manifest is signed, valid and meets the policy.
    fn begin(&mut self, signed: &Arc<SignedManifest>) -> Result<Self::Files, Self::Error>;
    /// An entry starts; for directories and links this is all.
    fn entry(&mut self, files: &Self::Files, entry: &Entry) -> Result<(), Self::Error>;
    /// Some content was read: the occasion to look around.
    fn progress(&mut self, files: &Self::Files) -> Result<(), Self::Error>;
}

/// Why a verified copy was not made.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    /// The package is to blame.
    Package(VerifyError),
    /// The place it should go to is.
    Sink(E),
}

impl<E> From<VerifyError> for Failure<E> {
    fn from(error: VerifyError) -> Self {
        Self::Package(error)
    }
}

/// Reads a whole package through `sink`.
pub(crate) fn verify<S: Sink>(
    input: impl Read + Send + 'static,
    policy: &Policy,
    sink: &mut S,
) -> Result<Arc<SignedManifest>, Failure<S::Error>> {
    let mut tar = TarReader::new(Inflated::new(input).map_err(VerifyError::Read)?);
    let unproven = read_head(&mut tar)?;
    let (signed, second) = prove(unproven, policy)?;
    let signed = Arc::new(signed);
    let files = sink.begin(&signed).map_err(Failure::Sink)?;
    let entries = &signed.manifest.entries;
    let office = Office::new();
    thread::scope(|scope| {
        let mut crew = Crew::hire(scope, &office, &files, entries)?;
        let turns = Turns::new(&mut tar, second);
        let read = read_entries(turns, entries, sink, &files, &mut crew);
        crew.conclude(read)
    })?;
    sink.progress(&files).map_err(Failure::Sink)?;
    Ok(signed)
}

/// Reads the entries; the content of files goes to the crew. An error says at which entry it was found.
fn read_entries<R: Blocks, S: Sink>(
    mut turns: Turns<'_, R>,
    entries: &[Entry],
    sink: &mut S,
    files: &S::Files,
    crew: &mut Crew<'_, S::Error>,
) -> Result<(), (usize, Failure<S::Error>)> {
    for at in 0..entries.len() {
        let read = read_entry(&mut turns, entries, at, sink, files, crew);
        read.map_err(|failure| (at, failure))?;
        if crew.has_failed() {
            return Ok(());
        }
    }
    let after = match turns.next() {
        Ok(None) => return Ok(()),
        Ok(Some(extra)) => match check_archive_path(&extra) {
            Ok(()) => misplaced(entries, entries.len(), &extra),
            Err(error) => error,
        },
        Err(error) => error,
    };
    Err((entries.len(), after.into()))
}

fn read_entry<R: Blocks, S: Sink>(
    turns: &mut Turns<'_, R>,
    entries: &[Entry],
    at: usize,
    sink: &mut S,
    files: &S::Files,
    crew: &mut Crew<'_, S::Error>,
) -> Result<(), Failure<S::Error>> {
    let listed = &entries[at];
    let Some(found) = turns.next()? else {
        let path = listed.path.clone();
        return Err(VerifyError::Missing { path }.into());
    };
    check_header(&found, listed)
        .map_err(|e| e.unwrap_or_else(|| misplaced(entries, at, &found)))?;
    sink.entry(files, listed).map_err(Failure::Sink)?;
    if !matches!(listed.kind, EntryKind::File { .. }) {
        return Ok(());
    }
    crew.open(at);
    while let Some(piece) = turns.tar.take_piece(BATCH_BYTES)? {
        crew.data(piece);
        sink.progress(files).map_err(Failure::Sink)?;
        if crew.has_failed() {
            return Ok(());
        }
    }
    crew.close();
    Ok(())
}

/// The entries after manifest and signature: where there is no signature, the first was read already.
struct Turns<'a, R> {
    tar: &'a mut TarReader<R>,
    first: Option<TarEntry>,
    ended: bool,
}

impl<'a, R: BufRead> Turns<'a, R> {
    fn new(tar: &'a mut TarReader<R>, second: Second) -> Self {
        let ended = matches!(second, Second::None);
        let first = match second {
            Second::Other(entry) => Some(entry),
            Second::Signature | Second::None => None,
        };
        Self { tar, first, ended }
    }

    fn next(&mut self) -> Result<Option<TarEntry>, VerifyError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None if self.ended => Ok(None),
            None => self.tar.next(),
        }
    }
}

/// Proves an archive file and gives its manifest.
pub fn verify_archive(path: &Path, policy: &Policy) -> Result<Arc<SignedManifest>, VerifyError> {
    verify_stream(open(path)?, policy)
}

/// Proves an archive from any source and gives its manifest.
pub fn verify_stream(
    input: impl Read + Send + 'static,
    policy: &Policy,
) -> Result<Arc<SignedManifest>, VerifyError> {
    struct Nowhere;
    impl Sink for Nowhere {
        type Error = Infallible;
        type Files = Self;
        fn begin(&mut self, _: &Arc<SignedManifest>) -> Result<Self, Infallible> {
            Ok(Self)
        }
        fn entry(&mut self, _: &Self, _: &Entry) -> Result<(), Infallible> {
            Ok(())
        }
        fn progress(&mut self, _: &Self) -> Result<(), Infallible> {
            Ok(())
        }
    }
    impl Files for Nowhere {
        type Error = Infallible;
        type File = ();
        fn open(&self, _: &Entry) -> Result<(), Infallible> {
            Ok(())
        }
        fn data(&self, (): &mut (), _: &[u8]) -> Result<(), Infallible> {
            Ok(())
        }
        fn close(&self, (): (), _: &Entry) -> Result<(), Infallible> {
            Ok(())
        }
    }
    match verify(input, policy, &mut Nowhere) {
        Ok(signed) => Ok(signed),
        Err(Failure::Package(error)) => Err(error),
        Err(Failure::Sink(never)) => match never {},
    }
}

/// Reads an archive's manifest **without checking its signature**: for showing, never for acting.
pub fn read_unproven_manifest(path: &Path) -> Result<SignedManifest, VerifyError> {
    let inflated = Inflated::new(open(path)?).map_err(VerifyError::Read)?;
    let (manifest, _) = read_head(&mut TarReader::new(inflated))?.parse()?;
    Ok(manifest)
}

fn open(path: &Path) -> Result<File, VerifyError> {
    File::open(path).map_err(VerifyError::Read)
}

/// Manifest and signature as they came, believed by no one yet.
struct Unproven {
    bytes: Vec<u8>,
    signature_text: Vec<u8>,
    /// What came in the signature's place; its content is still to be read.
    second: Second,
}

/// The entry after the manifest.
enum Second {
    Signature,
    Other(TarEntry),
    None,
}

impl Unproven {
    fn signature(&self) -> Result<Option<Signature>, SignatureError> {
        match &self.second {
            Second::Signature => Signature::parse(&self.signature_text).map(Some),
            Second::Other(_) | Second::None => Ok(None),
        }
    }

    fn unsigned(&self) -> VerifyError {
        let found = match &self.second {
            Second::Other(entry) => entry.path.clone(),
            Second::Signature | Second::None => String::new(),
        };
        VerifyError::Unsigned { found }
    }

    /// With what came in the signature's place, if it was something else.
    fn parse(self) -> Result<(SignedManifest, Second), VerifyError> {
        let signature = self.signature()?;
        let manifest = Manifest::parse(&self.bytes)?;
        let Self {
            bytes,
            signature_text,
            second,
        } = self;
        let digest = Digest(Sha256::digest(&bytes).into());
        let signed = SignedManifest {
            bytes,
            signature_text,
            signature,
            digest,
            manifest,
        };
        Ok((signed, second))
    }
}

fn read_head<R: BufRead>(tar: &mut TarReader<R>) -> Result<Unproven, VerifyError> {
    let not_a_package = |found| Err(VerifyError::NotAPackage { found });
    let size = match tar.next()? {
        None => return not_a_package(String::new()),
        Some(entry) if entry.path == MANIFEST_PATH && entry.kind == TarKind::File => entry.size,
        Some(other) => return not_a_package(other.path),
    };
    if size > MAX_MANIFEST_BYTES {
        return Err(VerifyError::ManifestTooLarge { size });
    }
    let bytes = tar.content()?;
    let second = match tar.next()? {
        None => Second::None,
        Some(entry) if entry.path == SIGNATURE_PATH && entry.kind == TarKind::File => {
            if entry.size > Signature::MAX_BYTES {
                return Err(SignatureError::Malformed.into());
            }
            Second::Signature
        }
        Some(other) => Second::Other(other),
    };
    let signature_text = match &second {
        Second::Signature => tar.content()?,
        Second::Other(_) | Second::None => Vec::new(),
    };
    Ok(Unproven {
        bytes,
        signature_text,
        second,
    })
}

/// The signature first: nothing of an untrusted manifest is even parsed.
fn prove(unproven: Unproven, policy: &Policy) -> Result<(SignedManifest, Second), VerifyError> {
    match unproven.signature()? {
        Some(signature) => policy.trusted.verify(&unproven.bytes, &signature)?,
        None if policy.allow_unsigned => {}
        None => return Err(unproven.unsigned()),
    }
    let (signed, second) = unproven.parse()?;
    let manifest = &signed.manifest;
    if let Some(target) = &policy.target {
        check_target(manifest, target)?;
    }
    if manifest.unpacked_bytes > policy.max_unpacked_bytes {
        let (unpacked, limit) = (manifest.unpacked_bytes, policy.max_unpacked_bytes);
        return Err(VerifyError::TooLarge { unpacked, limit });
    }
    Ok((signed, second))
}

fn check_target(manifest: &Manifest, target: &Target) -> Result<(), VerifyError> {
    if manifest.platform != target.platform {
        let (package, node) = (manifest.platform.clone(), target.platform.clone());
        return Err(VerifyError::WrongPlatform { package, node });
    }
    if manifest.variant != target.variant {
        let package = manifest.variant.clone().unwrap_or_default();
        let node = target.variant.clone().unwrap_or_default();
        return Err(VerifyError::WrongVariant { package, node });
    }
    let lacks = |feature: &&String| !manifest.features.contains(feature);
    match target.features.iter().find(lacks) {
        Some(feature) => Err(VerifyError::MissingFeature {
            feature: feature.clone(),
        }),
        None => Ok(()),
    }
}

/// `Err(None)`: acceptable by itself, but not the entry whose turn it is.
fn check_header(found: &TarEntry, listed: &Entry) -> Result<(), Option<VerifyError>> {
    check_archive_path(found).map_err(Some)?;
    if found.path != listed.path {
        return Err(None);
    }
    let differs = |what| {
        Some(VerifyError::Differs {
            path: listed.path.clone(),
            what,
        })
    };
    match (&found.kind, &listed.kind) {
        (TarKind::File, EntryKind::File { .. }) | (TarKind::Directory, EntryKind::Directory) => {}
        (TarKind::Symlink { target: found }, EntryKind::Symlink { target }) => {
            if found != target {
                return Err(differs("link target"));
            }
        }
        (TarKind::HardLink { target: found }, EntryKind::HardLink { target }) => {
            if found != target {
                return Err(differs("link target"));
            }
        }
        (
            TarKind::File | TarKind::Directory | TarKind::Symlink { .. } | TarKind::HardLink { .. },
            _,
        ) => {
            return Err(differs("kind"));
        }
    }
    if found.size != listed.size() {
        let (listed, path) = (listed.size(), listed.path.clone());
        return Err(Some(VerifyError::SizeLie {
            path,
            listed,
            found: found.size,
        }));
    }
    if found.mode != listed.mode {
        return Err(differs("mode"));
    }
    match differing_attribute(&found.attributes, &listed.attributes) {
        Some(what) => Err(differs(what)),
        None => Ok(()),
    }
}

/// Owner and time count where they are listed: where not, another tool may have repacked the archive.
/// Extended attributes that are not listed are never there.
fn differing_attribute(found: &TarAttributes, listed: &Attributes) -> Option<&'static str> {
    let Attributes {
        owner,
        mtime,
        xattrs,
    } = listed;
    let same_owner = owner.is_none_or(|owner| {
        (found.uid, found.gid) == (Some(owner.uid.into()), Some(owner.gid.into()))
    });
    match () {
        () if !same_owner => Some("owner"),
        () if mtime.is_some() && *mtime != found.mtime => Some("time"),
        () if *xattrs != found.xattrs => Some("extended attributes"),
        () => None,
    }
}

/// Dangers that have a name of their own, whatever the manifest lists.
fn check_archive_path(found: &TarEntry) -> Result<(), VerifyError> {
    if [MANIFEST_PATH, SIGNATURE_PATH].contains(&found.path.as_str()) {
        return Err(VerifyError::Duplicate {
            path: found.path.clone(),
        });
    }
    check_entry_path(&found.path).map_err(|problem| VerifyError::Path {
        path: found.path.clone(),
        problem,
    })?;
    match &found.kind {
        TarKind::Symlink { target } if !link_stays_inside(&found.path, target) => {
            Err(VerifyError::LinkOut {
                path: found.path.clone(),
                target: target.clone(),
            })
        }
        TarKind::HardLink { target } if check_entry_path(target).is_err() => {
            Err(VerifyError::HardLink {
                path: found.path.clone(),
                target: target.clone(),
            })
        }
        TarKind::Symlink { .. } | TarKind::HardLink { .. } | TarKind::File | TarKind::Directory => {
            Ok(())
        }
    }
}

/// Names what is wrong with an entry that came when it was the turn of `entries[at]`.
fn misplaced(entries: &[Entry], at: usize, found: &TarEntry) -> VerifyError {
    let path = found.path.clone();
    match entries.iter().position(|entry| entry.path == path) {
        None => VerifyError::Unlisted { path },
        Some(earlier) if earlier < at => VerifyError::Duplicate { path },
        Some(_) => VerifyError::OutOfOrder {
            expected: entries[at].path.clone(),
            found: path,
        },
    }
}
