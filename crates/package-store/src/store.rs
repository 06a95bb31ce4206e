//! The packages that a node has: a folder each, named by the manifest's digest.
//!
//! The directory is the truth. A package's folder appears by one rename, when everything in it is synced;
//! it disappears by one rename too. Whatever a crash leaves behind lies in `incoming/` and goes when the
//! store is opened.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use evenkeel_model::{Digest, MAX_MANIFEST_BYTES, Manifest, ManifestSummary, Version};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fsutil;
use crate::keys::Signature;
use crate::verify::SignedManifest;

pub(crate) const ARCHIVE: &str = "archive.tgz";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const SIGNATURE: &str = "manifest.sig";
pub(crate) const SIDECAR: &str = "package.json";

/// A daemon that was just killed may still be closing its files: its lock is waited for this often…
const LOCK_ATTEMPTS: u32 = 200;
/// …with this pause, 5 s in all.
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// A package that is here, whole and verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPackage {
    /// Identity: SHA-256 of the exact manifest bytes.
    pub manifest_digest: Digest,
    /// SHA-256 of the archive file. Only guides transfer: other archives may hold the same package.
    pub archive_digest: Digest,
    /// Size of the archive file.
    pub archive_bytes: u64,
    /// What the manifest says.
    pub summary: ManifestSummary,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the package store {dir} is in use by another process")]
    InUse {
        /// The store's directory.
        dir: PathBuf,
    },
    /// No such package here.
    #[error("package {digest} is not in the store")]
    NotThere {
        /// Which was wanted.
        digest: Digest,
    },
    /// The wanted offset lies behind the end of the archive.
    #[error("offset {offset} lies behind the end of package {digest}, {bytes} bytes")]
    OffsetBehindEnd {
        /// The package.
        digest: Digest,
        /// The wanted offset.
        offset: u64,
        /// The archive's size.
        bytes: u64,
    },
    /// What is on disk does not match what was verified.
    #[error("the stored copy of package {digest} is damaged: {why}")]
    Damaged {
        /// The package.
        digest: Digest,
        /// What is wrong.
        why: String,
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

impl StoreError {
    fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}

/// How a deletion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was here and is gone for good.
    Removed,
    /// It was not here.
    WasNotThere,
}

/// An archive being read.
#[derive(Debug)]
pub struct Archive {
    /// Positioned at `offset`. Stays readable if the package is deleted meanwhile.
    pub file: File,
    /// Where reading starts.
    pub offset: u64,
    /// Size of the whole archive.
    pub total_bytes: u64,
}

/// The packages of one node. Cheap to clone; methods may block on the disk.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    dir: PathBuf,
    index: Mutex<Index>,
    _lock: Flock<File>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) packages: BTreeMap<Digest, StoredPackage>,
    /// Stage ids under way.
    pub(crate) staging: HashSet<String>,
}

impl Inner {
    pub(crate) fn package_dir(&self, digest: Digest) -> PathBuf {
        self.packages_dir().join(digest.to_string())
    }

    pub(crate) fn packages_dir(&self) -> PathBuf {
        self.dir.join("packages")
    }

    pub(crate) fn incoming_dir(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        // A panic while it was held left it as it was: each change is one insert or remove.
        self.index
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Store {
    /// Opens the store in `dir`, making it if need be; clears what a crash left behind and reads what is
    /// there. Waits up to 5 s for another process to let go of it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let dir = dir.into();
        for folder in [dir.clone(), dir.join("packages"), dir.join("incoming")] {
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        }
        let lock = lock(&dir)?;
        let index = Mutex::default();
        let inner = Inner {
            dir,
            index,
            _lock: lock,
        };
        let incoming = inner.incoming_dir();
        fsutil::clear_dir(&incoming, &[]).map_err(StoreError::io("clear", &incoming))?;
        inner.index().packages = read_packages(&inner)?;
        for folder in [&incoming, &inner.packages_dir(), &inner.dir] {
            fsutil::sync_dir(folder).map_err(StoreError::io("sync", folder))?;
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Every package here, by digest.
    pub fn list(&self) -> Vec<StoredPackage> {
        self.inner.index().packages.values().cloned().collect()
    }

    /// The package with this manifest digest.
    pub fn get(&self, digest: Digest) -> Option<StoredPackage> {
        self.inner.index().packages.get(&digest).cloned()
    }

    /// The package with this version: there is at most one.
    pub fn find_version(&self, version: &Version) -> Option<StoredPackage> {
        let index = self.inner.index();
        index
            .packages
            .values()
            .find(|p| p.summary.version == *version)
            .cloned()
    }

    /// Opens an archive for reading from `offset` on.
    pub fn open_archive(&self, digest: Digest, offset: u64) -> Result<Archive, StoreError> {
        let package = self.get(digest).ok_or(StoreError::NotThere { digest })?;
        let total_bytes = package.archive_bytes;
        if offset > total_bytes {
            return Err(StoreError::OffsetBehindEnd {
                digest,
                offset,
                bytes: total_bytes,
            });
        }
        let path = self.inner.package_dir(digest).join(ARCHIVE);
        let mut file = File::open(&path).map_err(StoreError::io("open", &path))?;
        file.seek(SeekFrom::Start(offset))
            .map_err(StoreError::io("read", &path))?;
        Ok(Archive {
            file,
            offset,
            total_bytes,
        })
    }

    /// The manifest of a package here.
    pub fn manifest(&self, digest: Digest) -> Result<SignedManifest, StoreError> {
        self.get(digest).ok_or(StoreError::NotThere { digest })?;
        let dir = self.inner.package_dir(digest);
        let read = |name| {
            let path = dir.join(name);
            fs::read(&path).map_err(StoreError::io("read", &path))
        };
        let (bytes, signature_text) = (read(MANIFEST)?, read(SIGNATURE)?);
        if Digest(Sha256::digest(&bytes).into()) != digest {
            return Err(StoreError::Damaged {
                digest,
                why: "its manifest was changed".into(),
            });
        }
        let damaged = |why: String| StoreError::Damaged { digest, why };
        // An unsigned package, which only a lab takes, is kept with an empty signature.
        let signature = match signature_text.as_slice() {
            [] => None,
            text => Some(Signature::parse(text).map_err(|e| damaged(e.to_string()))?),
        };
        let manifest = Manifest::parse(&bytes).map_err(|e| damaged(e.to_string()))?;
        Ok(SignedManifest {
            bytes,
            signature_text,
            signature,
            digest,
            manifest,
        })
    }

    /// Removes a package; durable when it returns. Doing it again is fine. Whether it *may* go — no
    /// operation refers to it — is for the caller to know.
    pub fn delete(&self, digest: Digest) -> Result<Deleted, StoreError> {
        let mut index = self.inner.index();
        let was_there = index.packages.contains_key(&digest);
        let grave = self.inner.incoming_dir().join(format!("{digest}.deleted"));
        if was_there {
            let from = self.inner.package_dir(digest);
            fs::rename(&from, &grave).map_err(StoreError::io("remove", &from))?;
            index.packages.remove(&digest);
        }
        // Even if it was not there: an earlier call may have failed just here.
        for folder in [self.inner.packages_dir(), self.inner.incoming_dir()] {
            fsutil::sync_dir(&folder).map_err(StoreError::io("sync", &folder))?;
        }
        drop(index);
        if let Err(error) = fsutil::remove_all(&grave) {
            // The package is gone; only its room is not free yet. The next open tries again.
            tracing::warn!(path = %grave.display(), %error, "a deleted package's files remain");
        }
        Ok(if was_there {
            Deleted::Removed
        } else {
            Deleted::WasNotThere
        })
    }

    /// Bytes free on the store's file system.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        fsutil::free_bytes(&self.inner.dir).map_err(StoreError::io("examine", &self.inner.dir))
    }

    /// Where the store lives.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }
}

fn lock(dir: &Path) -> Result<Flock<File>, StoreError> {
    let path = dir.join("lock");
    let open = || {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
    };
    for _ in 0..LOCK_ATTEMPTS {
        let file = open().map_err(StoreError::io("open", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, nix::Error::EWOULDBLOCK)) => thread::sleep(LOCK_PAUSE),
            Err((_, errno)) => return Err(StoreError::io("lock", &path)(errno.into())),
        }
    }
    Err(StoreError::InUse {
        dir: dir.to_owned(),
    })
}

fn read_packages(inner: &Inner) -> Result<BTreeMap<Digest, StoredPackage>, StoreError> {
    let dir = inner.packages_dir();
    let mut packages = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(StoreError::io("list", &dir))? {
        let path = entry.map_err(StoreError::io("list", &dir))?.path();
        match read_package(&path).map_err(StoreError::io("read", &path))? {
            Ok(package) => {
                packages.insert(package.manifest_digest, package);
            }
            Err(why) => {
                tracing::warn!(path = %path.display(), why, "dropping what is no whole package");
                fsutil::remove_all(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
    }
    Ok(packages)
}

/// The outer error is the disk's: a package that cannot be read now is not for that reason debris.
fn read_package(dir: &Path) -> io::Result<Result<StoredPackage, &'static str>> {
    let name = dir.file_name().and_then(|name| name.to_str());
    let Some(digest) = name.and_then(|name| name.parse::<Digest>().ok()) else {
        return Ok(Err("its name is no digest"));
    };
    let read = |name: &str| match fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let sidecar = read(SIDECAR)?.and_then(|b| serde_json::from_slice::<StoredPackage>(&b).ok());
    let Some(package) = sidecar else {
        return Ok(Err("its description is missing or damaged"));
    };
    if package.manifest_digest != digest {
        return Ok(Err("its description is of another package"));
    }
    match dir.join(ARCHIVE).metadata() {
        Ok(meta) if meta.is_file() && meta.len() == package.archive_bytes => {}
        Err(error) if !is_absent(&error) => return Err(error),
        Ok(_) | Err(_) => return Ok(Err("its archive is missing or of another size")),
    }
    let whole = |bytes: Vec<u8>| {
        bytes.len() as u64 <= MAX_MANIFEST_BYTES && Digest(Sha256::digest(&bytes).into()) == digest
    };
    if !read(MANIFEST)?.is_some_and(whole) || read(SIGNATURE)?.is_none() {
        return Ok(Err("its manifest or signature is missing or damaged"));
    }
    Ok(Ok(package))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
