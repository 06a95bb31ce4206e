//! The packages that a node has: a folder each, named by the manifest's digest.
//!
//! The directory is the truth. A package's folder appears by one rename, when everything in it is synced;
//! it disappears by one rename too. Whatever a crash leaves behind lies in `incoming/` and `aside/`: when the
//! store is opened it goes, except what can be resumed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_model::{Digest, Manifest, ManifestSummary, Version};
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::aside::{DAMAGED, Reaper};
use crate::firmware::StoredFirmware;
use crate::head::SignedManifest;
use crate::remove::DamagedPackage;
use crate::signature::Signature;
use crate::underway::{Times, Underway};

pub(crate) const ARCHIVE: &str = "archive.tgz";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const SIGNATURE: &str = "manifest.sig";
pub(crate) const SIDECAR: &str = "package.json";
pub(crate) const CHUNKS: &str = "chunks";

/// A package that is here, whole and verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPackage {
    /// Identity: SHA-256 of the exact manifest bytes.
    pub manifest_digest: Digest,
    /// SHA-256 of the archive's [`ChunkList`](crate::ChunkList). Only guides transfer: other archives may
    /// hold the same package.
    pub archive_digest: Digest,
    /// Size of the archive file.
    pub archive_bytes: u64,
    /// SHA-256 of the signature file.
    pub signature_digest: Digest,
    /// The id of the key that signed it.
    pub signed_by: Option<String>,
    /// What the manifest says.
    pub summary: ManifestSummary,
    /// The staging that brought this copy in: whoever was told of no end knows it again by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_id: Option<String>,
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
    /// It is here, but as another archive than the wanted one.
    #[error("package {digest} is in the store as archive {found}, not {wanted}")]
    OtherArchive {
        /// The package.
        digest: Digest,
        /// The wanted archive.
        wanted: Digest,
        /// The one that is here.
        found: Digest,
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
    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
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
    pub(crate) clock: Times,
    index: Mutex<Index>,
    change: Mutex<()>,
    pub(crate) reaper: Reaper,
    /// Folders buried since the store was opened.
    pub(crate) graves: AtomicU64,
    _lock: Flock<File>,
}

/// What is known of the folders. Never held while the disk is waited for.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) packages: BTreeMap<Digest, StoredPackage>,
    /// Set aside, with the reason.
    pub(crate) damaged: BTreeMap<Digest, String>,
    /// The same, in the order it was found, until someone takes it to tell it on.
    pub(crate) untold: Vec<DamagedPackage>,
    /// Firmware, which has folders of its own.
    pub(crate) firmware: BTreeMap<Digest, StoredFirmware>,
    /// Firmware that was set aside, with the reason.
    pub(crate) damaged_firmware: BTreeMap<Digest, String>,
    /// On their way in, by stage id.
    pub(crate) staging: BTreeMap<String, Arc<Underway>>,
}

impl Inner {
    pub(crate) fn new(dir: PathBuf, clock: Times, reaper: Reaper, lock: Flock<File>) -> Self {
        Self {
            dir,
            clock,
            index: Mutex::default(),
            change: Mutex::default(),
            reaper,
            graves: AtomicU64::new(0),
            _lock: lock,
        }
    }

    pub(crate) fn package_dir(&self, digest: Digest) -> PathBuf {
        self.packages_dir().join(digest.to_string())
    }

    pub(crate) fn damaged_dir(&self, digest: Digest) -> PathBuf {
        self.aside_dir().join(format!("{digest}{DAMAGED}"))
    }

    pub(crate) fn packages_dir(&self) -> PathBuf {
        self.dir.join("packages")
    }

    pub(crate) fn firmware_dir(&self) -> PathBuf {
        self.dir.join("firmware")
    }

    pub(crate) fn incoming_dir(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    pub(crate) fn aside_dir(&self) -> PathBuf {
        self.dir.join("aside")
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        // A panic while it was held left it as it was: each change is one insert or remove.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while packages appear or disappear: one change at a time.
    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
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

    /// The package that the staging of that name brought in, if its copy is still the one here.
    pub fn staged(&self, stage_id: &str) -> Option<StoredPackage> {
        let index = self.inner.index();
        let mut packages = index.packages.values();
        let brought = |p: &&StoredPackage| p.stage_id.as_deref() == Some(stage_id);
        packages.find(brought).cloned()
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
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // Deleted since it was looked up.
            Err(_) if self.get(digest).is_none() => return Err(StoreError::NotThere { digest }),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        file.seek(SeekFrom::Start(offset))
            .map_err(StoreError::io("read", &path))?;
        Ok(Archive {
            file,
            offset,
            total_bytes,
        })
    }

    /// Where the archive of a package here is, for another process of ours to read. The package may be deleted before
    /// it does: then the file is gone.
    pub fn archive_path(&self, digest: Digest) -> Result<PathBuf, StoreError> {
        self.get(digest).ok_or(StoreError::NotThere { digest })?;
        Ok(self.inner.package_dir(digest).join(ARCHIVE))
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

    /// Where the store lives.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }
}
