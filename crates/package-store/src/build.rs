//! Makes a package of a tree of files. The same tree and options give the same bytes, on any machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use evenkeel_model::{
    Bundled, Digest, Entry, EntryKind, MANIFEST_FORMAT, MANIFEST_PATH, MAX_MANIFEST_BYTES,
    Manifest, ManifestError, Owner, PlatformName, RESERVED_DIR, SIGNATURE_PATH, SourceVersions,
    Version, WallTime, XattrProblem,
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::fsutil;
use crate::gzip_write::MemberWriter;
use crate::keys::SecretKey;
use crate::tar_write::TarHeader;
use crate::walk::{Found, Walk};

const READ_BYTES: usize = 256 << 10;
/// tar ends with two zero blocks.
const END_BYTES: usize = 1024;

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
    /// Paths, in the tree, of checks it brings.
    pub checks: Vec<String>,
    /// What a person must see to.
    pub manual_steps: Vec<String>,
    /// Paths, in the tree, of firmware it brings.
    pub firmware: Vec<String>,
    /// Release notes.
    pub notes: String,
    /// What of the files is kept beside mode and content.
    pub recorded: Recorded,
    /// `None`: the time of the newest file in the tree, which keeps builds reproducible.
    pub build_time: Option<WallTime>,
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
    /// Size of the archive.
    pub archive_bytes: u64,
}

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
    let manifest = make_manifest(found, options)?;
    let bytes = serde_json::to_vec(&manifest).expect("a manifest is plain JSON");
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(BuildError::ManifestTooLarge {
            bytes: bytes.len() as u64,
        });
    }
    let unfinished = unfinished_path(output);
    let written = write_archive(&root, key, &manifest, &bytes, &unfinished, threads)
        .and_then(|archive_bytes| publish(&unfinished, output).map(|()| archive_bytes));
    match written {
        Ok(archive_bytes) => {
            let manifest_digest = Digest(Sha256::digest(&bytes).into());
            Ok(Built {
                manifest_digest,
                manifest,
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
fn check_output(output: &Path) -> Result<(), BuildError> {
    match fs::metadata(output) {
        Ok(there) if !there.is_file() => Err(BuildError::OutputNotAFile {
            path: output.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BuildError::io("examine", output)(error)),
    }
}

fn unfinished_path(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn publish(unfinished: &Path, output: &Path) -> Result<(), BuildError> {
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
fn read_whole(
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
        checks: bundled(options.checks),
        manual_steps: options.manual_steps,
        firmware: bundled(options.firmware),
        notes: options.notes,
        entries,
    };
    manifest.validate()?;
    Ok(manifest)
}

/// A file that counts what goes into it.
struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn write_archive(
    root: &Path,
    key: &SecretKey,
    manifest: &Manifest,
    manifest_bytes: &[u8],
    output: &Path,
    threads: usize,
) -> Result<u64, BuildError> {
    let failed = || BuildError::io("write", output);
    let file = File::create(output).map_err(BuildError::io("create", output))?;
    let counted = Counted { file, bytes: 0 };
    let mut tar = MemberWriter::start(threads, counted).map_err(failed())?;
    let content = write_content(root, key, manifest, manifest_bytes, &mut tar, output);
    let finished = tar.finish().map_err(failed());
    match content {
        // The queue broke because writing failed: the writer says why.
        Err(BuildError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    let counted = finished?;
    counted
        .file
        .sync_all()
        .map_err(BuildError::io("sync", output))?;
    Ok(counted.bytes)
}

fn write_content(
    root: &Path,
    key: &SecretKey,
    manifest: &Manifest,
    manifest_bytes: &[u8],
    tar: &mut impl Write,
    output: &Path,
) -> Result<(), BuildError> {
    let failed = || BuildError::io("write", output);
    let mtime = u64::try_from(manifest.build_time.unix_seconds()).unwrap_or(0);
    let signature = key.sign(manifest_bytes).to_string();
    let head = [
        (MANIFEST_PATH, manifest_bytes),
        (SIGNATURE_PATH, signature.as_bytes()),
    ];
    for (path, bytes) in head {
        let size = bytes.len() as u64;
        let header = TarHeader {
            path,
            kind: b'0',
            mode: 0o644,
            size,
            target: "",
            mtime,
            owner: None,
            xattrs: &BTreeMap::new(),
        };
        tar.write_all(&header.to_bytes())
            .and_then(|()| tar.write_all(bytes))
            .and_then(|()| pad(tar, size))
            .map_err(failed())?;
    }
    for entry in &manifest.entries {
        write_entry(root, entry, mtime, tar, output)?;
    }
    tar.write_all(&[0; END_BYTES]).map_err(failed())
}

fn write_entry(
    root: &Path,
    entry: &Entry,
    build_time: u64,
    tar: &mut impl Write,
    output: &Path,
) -> Result<(), BuildError> {
    let failed = || BuildError::io("write", output);
    let slashed = format!("{}/", entry.path);
    let (kind, path, target) = match &entry.kind {
        EntryKind::File { .. } => (b'0', &entry.path, ""),
        EntryKind::Directory => (b'5', &slashed, ""),
        EntryKind::Symlink { target } => (b'2', &entry.path, target.as_str()),
        EntryKind::HardLink { target } => (b'1', &entry.path, target.as_str()),
    };
    let header = TarHeader {
        path,
        kind,
        mode: entry.mode,
        size: entry.size(),
        target,
        mtime: entry.attributes.mtime.unwrap_or(build_time),
        owner: entry.attributes.owner,
        xattrs: &entry.attributes.xattrs,
    };
    tar.write_all(&header.to_bytes()).map_err(failed())?;
    if let EntryKind::File { size, sha256 } = entry.kind {
        let path = root.join(&entry.path);
        let digest = read_whole(&path, size, |piece| tar.write_all(piece).map_err(failed()))?;
        if digest != sha256 {
            return Err(BuildError::Changed { path });
        }
        pad(tar, size).map_err(failed())?;
    }
    Ok(())
}

fn pad(tar: &mut impl Write, size: u64) -> io::Result<()> {
    let padding = [0; 512];
    tar.write_all(&padding[..(size.wrapping_neg() % 512) as usize])
}
