//! Makes a package of a tree of files. The same tree and options give the same bytes, on any machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use evenkeel_model::{
    Bundled, BundledCheck, Digest, Entry, EntryKind, MANIFEST_FORMAT, MAX_CHECKS_BYTES,
    MAX_MANIFEST_BYTES, Manifest, Owner, PlatformName, RESERVED_DIR, SourceVersions, Version,
    WallTime,
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::build_error::BuildError;
use crate::firmware::{SignedFirmware, prove_brought};
use crate::fsutil;
use crate::gzip_write::Compression;
use crate::keys::SecretKey;
use crate::pack::write_archive;
use crate::walk::{Found, Walk};

const READ_BYTES: usize = 256 << 10;

/// What a package says about itself beyond its files.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The product's name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The hardware it is for.
    pub platform: PlatformName,
    /// The variant; `None` is the ordinary one.
    pub variant: Option<String>,
    /// What the image supports.
    pub features: Vec<String>,
    /// The versions that an update to it may start from.
    pub source_versions: SourceVersions,
    /// Checks it brings; their paths are in the tree.
    pub checks: Vec<BundledCheck>,
    /// What a person must see to.
    pub manual_steps: Vec<String>,
    /// Paths, in the tree, of firmware it brings: signed firmware packages, of which no two are for the same devices.
    pub firmware: Vec<String>,
    /// Release notes.
    pub notes: String,
    /// What of the files is kept beside mode and content.
    pub recorded: Recorded,
    /// `None`: the time of the newest file in the tree, which keeps builds reproducible.
    pub build_time: Option<WallTime>,
    /// How small the archive becomes.
    pub compression: Compression,
}

/// What a package keeps of its files beside mode and content. What is the same in every copy of a tree is kept
/// by itself; what differs from machine to machine only where it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorded {
    /// Whose the files are.
    pub owners: Owners,
    /// Times of files, directories and links. A checkout's differ from those of the next.
    pub times: bool,
    /// Extended attributes `user.*` and `security.capability`.
    pub xattrs: bool,
    /// Makes a file of its own of each name of a file, instead of hard links.
    pub split_hard_links: bool,
}

/// Which owners a package lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// None: what is extracted belongs to who extracts it.
    #[default]
    Unlisted,
    /// This one, for every entry.
    All(Owner),
    /// Those in the tree, by number.
    AsInTree,
}

/// A package that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its identity.
    pub manifest_digest: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// The firmware it brings, in the manifest's order. Whoever takes it has to trust its signers too.
    pub firmware: Vec<SignedFirmware>,
    /// Size of the archive.
    pub archive_bytes: u64,
}

/// Packs the tree at `root` into `output`, signed with `key`; durable when it returns.
pub fn build(
    root: &Path,
    key: &SecretKey,
    options: BuildOptions,
    output: &Path,
) -> Result<Built, BuildError> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let root = check_root(root, output)?;
    check_output(output)?;
    let mut found = Walk::of(&root, options.recorded)?;
    hash_files(&root, &mut found, threads)?;
    let compression = options.compression;
    let manifest = make_manifest(found, options)?;
    let firmware = prove_brought(&root, &manifest, key)?;
    let bytes = serde_json::to_vec(&manifest).expect("a manifest is plain JSON");
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(BuildError::ManifestTooLarge {
            bytes: bytes.len() as u64,
        });
    }
    let unfinished = unfinished_path(output);
    let written = write_archive(
        &root,
        key,
        &manifest,
        &bytes,
        &unfinished,
        threads,
        compression,
    )
    .and_then(|archive_bytes| publish(&unfinished, output).map(|()| archive_bytes));
    match written {
        Ok(archive_bytes) => {
            let manifest_digest = Digest(Sha256::digest(&bytes).into());
            Ok(Built {
                manifest_digest,
                manifest,
                firmware,
                archive_bytes,
            })
        }
        Err(error) => {
            // The first error is the one to tell.
            let _ = fs::remove_file(&unfinished);
            Err(error)
        }
    }
}

fn check_root(root: &Path, output: &Path) -> Result<PathBuf, BuildError> {
    let real = root.canonicalize().map_err(BuildError::io("open", root))?;
    if !real.is_dir() {
        return Err(BuildError::NotADirectory {
            path: root.to_owned(),
        });
    }
    let reserved = real.join(RESERVED_DIR);
    if reserved.symlink_metadata().is_ok() {
        return Err(BuildError::Reserved { path: reserved });
    }
    let parent = fsutil::parent_of(output);
    let real_parent = parent
        .canonicalize()
        .map_err(BuildError::io("open", &parent))?;
    if real_parent.starts_with(&real) {
        return Err(BuildError::OutputInTree {
            output: output.to_owned(),
            root: root.to_owned(),
        });
    }
    Ok(real)
}

/// The package comes into place by a rename, which would put a file where a device was.
pub(crate) fn check_output(output: &Path) -> Result<(), BuildError> {
    match fs::metadata(output) {
        Ok(there) if !there.is_file() => Err(BuildError::OutputNotAFile {
            path: output.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BuildError::io("examine", output)(error)),
    }
}

pub(crate) fn unfinished_path(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

pub(crate) fn publish(unfinished: &Path, output: &Path) -> Result<(), BuildError> {
    fs::rename(unfinished, output).map_err(BuildError::io("rename to", output))?;
    let parent = fsutil::parent_of(output);
    fsutil::sync_dir(&parent).map_err(BuildError::io("sync", &parent))
}

/// Fills in the digests, on all cores.
fn hash_files(root: &Path, found: &mut [Found], threads: usize) -> Result<(), BuildError> {
    let next = AtomicUsize::new(0);
    let digests = Mutex::new(Vec::new());
    let work = || -> Result<(), BuildError> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(Found { entry, .. }) = found.get(at) else {
                return Ok(());
            };
            if let EntryKind::File { size, .. } = entry.kind {
                let path = root.join(&entry.path);
                let digest = hash_file(&path, size)?;
                digests
                    .lock()
                    .expect("no hashing thread panics")
                    .push((at, digest));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|w| w.join().expect("no hashing thread panics"))
    })?;
    for (at, digest) in digests.into_inner().expect("no hashing thread panics") {
        if let EntryKind::File { sha256, .. } = &mut found[at].entry.kind {
            *sha256 = digest;
        }
    }
    Ok(())
}

fn hash_file(path: &Path, size: u64) -> Result<Digest, BuildError> {
    read_whole(path, size, |_| Ok(()))
}

/// Reads a file of known size through `each` and gives its digest.
pub(crate) fn read_whole(
    path: &Path,
    size: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), BuildError>,
) -> Result<Digest, BuildError> {
    let mut file = File::open(path).map_err(BuildError::io("open", path))?;
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(size).unwrap_or(READ_BYTES) + 1)];
    let (mut hasher, mut read) = (Sha256::new(), 0);
    loop {
        let n = file
            .read(&mut buffer)
            .map_err(BuildError::io("read", path))?;
        read += n as u64;
        if read > size || (n == 0 && read < size) {
            return Err(BuildError::Changed {
                path: path.to_owned(),
            });
        }
        if n == 0 {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(&buffer[..n]);
        each(&buffer[..n])?;
    }
}

fn make_manifest(found: Vec<Found>, options: BuildOptions) -> Result<Manifest, BuildError> {
    let newest = found.iter().map(|f| f.mtime).max().unwrap_or(0).max(0);
    let newest = || Timestamp::from_second(newest).unwrap_or(Timestamp::UNIX_EPOCH);
    let bundled = |paths: Vec<String>| paths.into_iter().map(|path| Bundled { path }).collect();
    let entries: Vec<Entry> = found.into_iter().map(|f| f.entry).collect();
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        name: options.name,
        version: options.version,
        platform: options.platform,
        variant: options.variant,
        features: options.features,
        source_versions: options.source_versions,
        build_time: options
            .build_time
            .unwrap_or_else(|| WallTime::new(newest())),
        unpacked_bytes: entries.iter().map(Entry::size).fold(0, u64::saturating_add),
        checks: options.checks,
        manual_steps: options.manual_steps,
        firmware: bundled(options.firmware),
        notes: options.notes,
        entries,
    };
    manifest.validate()?;
    prove_checks(&manifest)?;
    Ok(manifest)
}

/// What would keep a check from running on every node is better found here.
fn prove_checks(manifest: &Manifest) -> Result<(), BuildError> {
    let is_check = |entry: &&Entry| manifest.checks.iter().any(|c| c.path == entry.path);
    let mut checks = manifest.entries.iter().filter(is_check);
    if let Some(entry) = checks.find(|entry| entry.mode & 0o111 == 0) {
        let path = entry.path.clone();
        return Err(BuildError::CheckNotExecutable { path });
    }
    let bytes = manifest.check_entries().map(Entry::size).sum();
    if bytes > MAX_CHECKS_BYTES {
        return Err(BuildError::ChecksTooLarge { bytes });
    }
    Ok(())
}
