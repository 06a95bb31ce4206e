//! Opens a store: takes its lock, clears what a crash left behind, and reads what is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use evenkeel_model::{BootId, Digest, MAX_MANIFEST_BYTES};
use evenkeel_seam::{Clock, SystemClock};
use nix::fcntl::{Flock, FlockArg};

use crate::aside::Reaper;
use crate::chunks::{ChunkList, chunk_digest};
use crate::firmware::read_firmware;
use crate::fsutil::{self, is_absent, is_lost};
use crate::partial::{NOTE, is_resumable};
use crate::remove::set_aside;
use crate::store::{
    ARCHIVE, CHUNKS, Inner, MANIFEST, SIDECAR, SIGNATURE, Store, StoreError, StoredPackage,
};
use crate::underway::Times;

/// A daemon that was just killed may still be closing its files: its lock is waited for this often…
const LOCK_ATTEMPTS: u32 = 200;
/// …with this pause, 5 s in all.
const LOCK_PAUSE: Duration = Duration::from_millis(25);

impl Store {
    /// Opens the store in `dir`, making it if need be; clears what a crash left behind, sets aside what is
    /// damaged, and reads what is there. Waits up to 5 s for another process to let go of it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        // Its times are only compared with one another, never with those of another process.
        let no_boot = "00000000-0000-0000-0000-000000000000";
        let clock = SystemClock::new(BootId(no_boot.parse().expect("it is a UUID")));
        Self::open_with_clock(dir, Arc::new(clock))
    }

    /// [`open`](Self::open), with a clock for the times and rates that [`transfers`](Self::transfers) shows.
    pub fn open_with_clock(
        dir: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let dir = dir.into();
        let lock = make_folders(&dir)?;
        let (reaper, rings) = Reaper::new();
        let inner = Arc::new(Inner::new(dir.clone(), Times(clock), reaper, lock));
        clear(&inner)?;
        let packages = read_packages(&inner)?;
        inner.index().packages = packages;
        let firmware = read_firmware(&inner)?;
        inner.index().firmware = firmware;
        for folder in [
            inner.incoming_dir(),
            inner.aside_dir(),
            inner.firmware_dir(),
            inner.packages_dir(),
            dir.clone(),
            fsutil::parent_of(&dir),
        ] {
            fsutil::sync_dir(&folder).map_err(StoreError::io("sync", &folder))?;
        }
        Reaper::start(&inner, rings).map_err(StoreError::io("start a thread for", &dir))?;
        Ok(Self { inner })
    }
}

fn make_folders(dir: &Path) -> Result<Flock<File>, StoreError> {
    fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
    let lock = lock(dir)?;
    for name in ["packages", "firmware", "incoming", "aside"] {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    }
    Ok(lock)
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

/// What no crash would have left had it not been under way: all but packages and what can be resumed.
fn clear(inner: &Inner) -> Result<(), StoreError> {
    let aside = inner.aside_dir();
    fsutil::clear_dir(&aside, &[]).map_err(StoreError::io("clear", &aside))?;
    let incoming = inner.incoming_dir();
    for entry in fs::read_dir(&incoming).map_err(StoreError::io("list", &incoming))? {
        let path = entry.map_err(StoreError::io("list", &incoming))?.path();
        if !is_resumable(&path) {
            fsutil::remove_all(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

fn read_packages(inner: &Inner) -> Result<BTreeMap<Digest, StoredPackage>, StoreError> {
    let dir = inner.packages_dir();
    let mut packages = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(StoreError::io("list", &dir))? {
        let path = entry.map_err(StoreError::io("list", &dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(digest) = name.and_then(|name| name.parse::<Digest>().ok()) else {
            tracing::warn!(path = %path.display(), "removing what is no package");
            fsutil::remove_all(&path).map_err(StoreError::io("remove", &path))?;
            continue;
        };
        match read_package(&path, digest).map_err(StoreError::io("read", &path))? {
            Ok(package) => {
                packages.insert(digest, package);
            }
            // A package only gets its name when it is whole: this one was, once.
            Err(why) => set_aside(inner, digest, why)?,
        }
    }
    Ok(packages)
}

/// The outer error is trouble of ours: a package that cannot be read now is not for that reason damaged. One
/// that the medium has lost is, and does not keep the others from being had.
fn read_package(dir: &Path, digest: Digest) -> io::Result<Result<StoredPackage, &'static str>> {
    let read = |name: &str| match fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) || is_lost(&error) => Ok(None),
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
        Err(error) if !is_absent(&error) && !is_lost(&error) => return Err(error),
        Ok(_) | Err(_) => return Ok(Err("its archive is missing or of another size")),
    }
    let is_manifest =
        |bytes: Vec<u8>| bytes.len() as u64 <= MAX_MANIFEST_BYTES && chunk_digest(&bytes) == digest;
    if !read(MANIFEST)?.is_some_and(is_manifest) {
        return Ok(Err("its manifest is missing or damaged"));
    }
    let is_signature = |bytes: Vec<u8>| chunk_digest(&bytes) == package.signature_digest;
    if !read(SIGNATURE)?.is_some_and(is_signature) {
        return Ok(Err("its signature is missing or damaged"));
    }
    let is_list = |bytes: Vec<u8>| {
        ChunkList::parse(&bytes).is_ok_and(|list| {
            list.digest() == package.archive_digest && list.fits(package.archive_bytes)
        })
    };
    if !read(CHUNKS)?.is_some_and(is_list) {
        return Ok(Err("the list of its chunks is missing or damaged"));
    }
    // Left by a crash between the package's last step and this one.
    fsutil::remove_all(&dir.join(NOTE))?;
    Ok(Ok(package))
}
