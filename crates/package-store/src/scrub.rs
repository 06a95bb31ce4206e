//! Reads a stored package anew and compares it with what was verified when it came in.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use evenkeel_model::Digest;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::chunks::{CHUNK_BYTES, ChunkList, chunk_digest};
use crate::fsutil;
use crate::store::{ARCHIVE, CHUNKS, MANIFEST, SIGNATURE, Store, StoreError, StoredPackage};

/// What a scrub has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrubOutcome {
    /// Every byte is as it was verified.
    Whole,
    /// It is not; the package should be quarantined and had from elsewhere.
    Damaged {
        /// What is wrong.
        why: String,
        /// Of which copy that is true, for [`Store::quarantine`]; `None` if even its folder is gone.
        copy: Option<CopyId>,
    },
    /// The caller asked to stop.
    Stopped,
}

/// Tells a package's copy here from one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId(u64);

/// Why a scrub ended early.
enum Stop {
    Asked,
    Damaged(String),
    Failed(StoreError),
}

impl Store {
    /// Reads all of a package from the disk — past the page cache, as far as the kernel lets it — and
    /// compares. `pace` is told the bytes of each read, may wait to keep the disk free for others, and may
    /// end it.
    pub fn scrub(
        &self,
        digest: Digest,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<ScrubOutcome, StoreError> {
        let dir = self.inner.package_dir(digest);
        loop {
            let package = self.get(digest).ok_or(StoreError::NotThere { digest })?;
            let copy = copy_in(&dir);
            match compare(&dir, &package, pace) {
                Ok(()) => return Ok(ScrubOutcome::Whole),
                Err(Stop::Asked) => return Ok(ScrubOutcome::Stopped),
                // Deleted, or healed by another copy, while it was read: that says nothing of what is here
                // now. Copies do not come faster than they are read.
                Err(Stop::Damaged(_) | Stop::Failed(_)) if copy_in(&dir) != copy => {}
                Err(Stop::Damaged(why)) => return Ok(ScrubOutcome::Damaged { why, copy }),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    /// The digests of a package's chunks.
    pub fn chunk_list(&self, digest: Digest) -> Result<ChunkList, StoreError> {
        let package = self.get(digest).ok_or(StoreError::NotThere { digest })?;
        match read_list(&self.inner.package_dir(digest), &package) {
            Ok(list) => Ok(list),
            Err(Stop::Damaged(why)) => Err(StoreError::Damaged { digest, why }),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Asked) => Err(StoreError::NotThere { digest }),
        }
    }
}

/// The copy whose folder this is; none if there is no folder.
pub(crate) fn copy_in(dir: &Path) -> Option<CopyId> {
    Some(CopyId(dir.metadata().ok()?.ino()))
}

fn compare(
    dir: &Path,
    package: &StoredPackage,
    pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(), Stop> {
    let list = read_list(dir, package)?;
    for (name, expected) in [
        (MANIFEST, package.manifest_digest),
        (SIGNATURE, package.signature_digest),
    ] {
        let path = dir.join(name);
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, error))?;
        if chunk_digest(&bytes) != expected {
            return Err(Stop::Damaged(format!("{name} was changed")));
        }
        paced(pace, bytes.len() as u64)?;
    }
    compare_archive(&dir.join(ARCHIVE), &list, package.archive_bytes, pace)
}

fn compare_archive(
    path: &Path,
    list: &ChunkList,
    archive_bytes: u64,
    pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(), Stop> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let meta = file.metadata().map_err(|error| unreadable(path, error))?;
    if meta.len() != archive_bytes {
        return Err(Stop::Damaged(format!(
            "{ARCHIVE} has {} bytes instead of {archive_bytes}",
            meta.len()
        )));
    }
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES).expect("a chunk fits in memory")];
    for index in 0..list.len() {
        let offset = index as u64 * CHUNK_BYTES;
        let length = CHUNK_BYTES.min(archive_bytes - offset);
        let chunk = &mut buffer[..usize::try_from(length).expect("at most a chunk")];
        // What the cache holds proves nothing about the disk, and need not stay for our sake.
        forget_cached(&file, offset, length);
        file.read_exact_at(chunk, offset)
            .map_err(|error| unreadable(path, error))?;
        forget_cached(&file, offset, length);
        if list.get(index) != Some(chunk_digest(chunk)) {
            return Err(Stop::Damaged(format!(
                "{ARCHIVE} was changed between the bytes {offset} and {}",
                offset + length
            )));
        }
        paced(pace, length)?;
    }
    Ok(())
}

fn read_list(dir: &Path, package: &StoredPackage) -> Result<ChunkList, Stop> {
    let path = dir.join(CHUNKS);
    let bytes = fs::read(&path).map_err(|error| unreadable(&path, error))?;
    match ChunkList::parse(&bytes) {
        Ok(list) if list.digest() == package.archive_digest && list.fits(package.archive_bytes) => {
            Ok(list)
        }
        Ok(_) | Err(_) => Err(Stop::Damaged(format!("{CHUNKS} was changed"))),
    }
}

fn paced(pace: &mut dyn FnMut(u64) -> ControlFlow<()>, bytes: u64) -> Result<(), Stop> {
    match pace(bytes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stop::Asked),
    }
}

/// An advice: without it the same is read, only perhaps from memory.
fn forget_cached(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else {
        return;
    };
    let _ = posix_fadvise(
        file,
        offset,
        length,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    );
}

/// A medium that gives bytes back no more is damage; everything else is trouble of ours.
fn unreadable(path: &Path, error: io::Error) -> Stop {
    let short = error.kind() == io::ErrorKind::UnexpectedEof;
    if fsutil::is_lost(&error) || fsutil::is_absent(&error) || short {
        return Stop::Damaged(format!("{} cannot be read: {error}", path.display()));
    }
    Stop::Failed(StoreError::io("read", path)(error))
}
