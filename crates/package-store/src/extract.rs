//! Writes a package into a slot, proving it once more on the way.
//!
//! The order makes a crash harmless: signature proven → the slot's mark goes, durably → old content goes aside →
//! new content, each file proven → one checked sync of the file system → the mark → old content goes for good.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use evenkeel_model::{Digest, Entry, EntryKind};
use nix::fcntl::{Flock, FlockArg};

use crate::crew::Files;
use crate::flush::WriteBehind;
use crate::fsutil;
use crate::head::{Policy, SignedManifest};
use crate::remove::Quarantined;
use crate::replaced;
use crate::restore;
use crate::scrub::ScrubOutcome;
use crate::slot;
use crate::store::{Store, StoreError};
use crate::verify::{Failure, Sink, verify};
use crate::verify_error::VerifyError;

/// What an entry costs beside its content: an inode and up to a block that is not full.
const ENTRY_OVERHEAD_BYTES: u64 = 4096;

/// Where a package goes, and what must hold.
#[derive(Clone, Copy, Debug)]
pub struct ExtractRequest<'a> {
    /// The slot's folder; emptied first. Made if it is not there.
    pub slot_dir: &'a Path,
    /// The folder of the slot that runs, which is never written to. `None` only where nothing runs, as in
    /// a command line.
    pub running: Option<&'a Path>,
    /// Which package it must be.
    pub expected: Option<Digest>,
    /// What is demanded of it.
    pub policy: &'a Policy,
}

/// How far an extraction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtractProgress {
    /// Bytes of content written.
    pub done_bytes: u64,
    /// Bytes of content in all.
    pub total_bytes: u64,
    /// Entries written or begun.
    pub done_entries: u64,
    /// Entries in all.
    pub total_entries: u64,
}

/// Why a package was not extracted. The slot then has no manifest, unless it says that nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The slot is the running one, or holds it, or lies in it. Nothing changed.
    #[error("refusing to extract into {slot_dir}: {running} is running")]
    Running {
        /// The wanted slot.
        slot_dir: PathBuf,
        /// The slot that runs.
        running: PathBuf,
    },
    /// Another extraction writes to the slot. Nothing changed.
    #[error("{slot_dir} is being written by another extraction")]
    Busy {
        /// The slot.
        slot_dir: PathBuf,
    },
    /// The store cannot give the package. Nothing changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another package than expected. Nothing changed.
    #[error("the archive holds package {found}, not {expected}")]
    WrongPackage {
        /// The wanted package.
        expected: Digest,
        /// The one found.
        found: Digest,
    },
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] VerifyError),
    /// No room for it.
    #[error("not enough space in {slot_dir}: {needed} bytes needed, {free} free")]
    NoSpace {
        /// The slot.
        slot_dir: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The caller asked to stop.
    #[error("the extraction was canceled")]
    Canceled,
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

impl ExtractError {
    fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if !fsutil::is_no_space(&source) {
                return Self::Io { step, path, source };
            }
            let slot_dir = fsutil::parent_of(&path);
            let free = fsutil::free_bytes(&slot_dir).unwrap_or(0);
            Self::NoSpace {
                slot_dir,
                needed: free.saturating_add(1),
                free,
            }
        }
    }

    fn restore(path: &Path) -> impl FnOnce(restore::Failed) -> Self {
        let path = path.to_owned();
        move |(step, source)| Self::io(step, &path)(source)
    }
}

impl Store {
    /// Extracts a stored package; see [`extract_archive`]. Blocks until done. A copy that turns out to be
    /// damaged is set aside, so that a good one can come in: [`StoreError::Damaged`].
    pub fn extract(
        &self,
        digest: Digest,
        request: ExtractRequest<'_>,
        progress: &mut dyn FnMut(ExtractProgress),
        cancel: &AtomicBool,
    ) -> Result<Arc<SignedManifest>, ExtractError> {
        let archive = self.open_archive(digest, 0)?;
        let request = ExtractRequest {
            expected: Some(digest),
            ..request
        };
        let extracted = extract_archive(archive.file, request, progress, cancel);
        match extracted {
            Err(ExtractError::Refused(error)) => Err(self.blame(digest, error, cancel)),
            other => other,
        }
    }

    /// Whether a package that was good when it came in is refused because its copy has rotted since.
    fn blame(&self, digest: Digest, error: VerifyError, cancel: &AtomicBool) -> ExtractError {
        match self.set_aside_if_damaged(digest, cancel) {
            Some(damaged) => damaged.into(),
            None => error.into(),
        }
    }

    /// Looks at a copy that was refused when it was extracted. One that has rotted since it came in is set aside, so
    /// that a good one can come in, and that is said: [`StoreError::Damaged`]. `None`: the copy is what was verified, or
    /// it cannot be told. Blocks until done.
    pub fn set_aside_if_damaged(&self, digest: Digest, cancel: &AtomicBool) -> Option<StoreError> {
        let mut pace = |_| match cancel.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        match self.scrub(digest, &mut pace) {
            Ok(ScrubOutcome::Damaged { why, copy }) => match self.quarantine(digest, copy, &why) {
                Ok(Quarantined::SetAside | Quarantined::HealedBefore) => {
                    Some(StoreError::Damaged { digest, why })
                }
                Err(error) => Some(error),
            },
            Ok(ScrubOutcome::Whole | ScrubOutcome::Stopped) | Err(_) => None,
        }
    }
}

/// Extracts the package in `archive`, proving it on the way. When it returns, the slot is whole, durable and
/// has its manifest. Safe to run again after anything, a `kill -9` included.
pub fn extract_archive(
    archive: File,
    request: ExtractRequest<'_>,
    progress: &mut dyn FnMut(ExtractProgress),
    cancel: &AtomicBool,
) -> Result<Arc<SignedManifest>, ExtractError> {
    let dir = request.slot_dir;
    if let Some(running) = request.running {
        refuse_running(dir, running)?;
    }
    fs::create_dir_all(dir).map_err(ExtractError::io("create", dir))?;
    let lock = lock(dir)?;
    let mut writer = Writer {
        dir,
        expected: request.expected,
        progress,
        cancel,
        done: ExtractProgress {
            done_bytes: 0,
            total_bytes: 0,
            done_entries: 0,
            total_entries: 0,
        },
    };
    let signed = verify(archive, request.policy, &mut writer).map_err(|failure| match failure {
        Failure::Package(error) => ExtractError::Refused(error),
        Failure::Sink(error) => error,
    })?;
    link_files(dir, &signed)?;
    restore_directories(dir, &signed)?;
    nix::unistd::syncfs(&*lock).map_err(|e| ExtractError::io("sync", dir)(e.into()))?;
    slot::mark(dir, &signed).map_err(ExtractError::io("mark as whole", dir))?;
    fsutil::sync_dir(dir)
        .and_then(|()| fsutil::sync_dir(&fsutil::parent_of(dir)))
        .map_err(ExtractError::io("sync", dir))?;
    replaced::remove(dir);
    Ok(signed)
}

/// Neither the running slot, nor what holds it, nor what lies in it.
fn refuse_running(slot_dir: &Path, running: &Path) -> Result<(), ExtractError> {
    let slot = resolve(slot_dir).map_err(ExtractError::io("resolve", slot_dir))?;
    let run = resolve(running).map_err(ExtractError::io("resolve", running))?;
    if slot.starts_with(&run) || run.starts_with(&slot) {
        let (slot_dir, running) = (slot_dir.to_owned(), running.to_owned());
        return Err(ExtractError::Running { slot_dir, running });
    }
    Ok(())
}

/// The real path, of which the last components may not exist yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.file_name() {
            Some(name) if path.symlink_metadata().is_err() => {
                Ok(resolve(&fsutil::parent_of(path))?.join(name))
            }
            Some(_) | None => Err(error),
        },
        other => other,
    }
}

/// Held on the folder itself: it goes with the process that holds it, however that ends.
fn lock(dir: &Path) -> Result<Flock<File>, ExtractError> {
    let folder = File::open(dir).map_err(ExtractError::io("open", dir))?;
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::Error::EWOULDBLOCK => ExtractError::Busy {
            slot_dir: dir.to_owned(),
        },
        errno => ExtractError::io("lock", dir)(errno.into()),
    })
}

/// Further names of files, which are all there by now.
fn link_files(dir: &Path, signed: &SignedManifest) -> Result<(), ExtractError> {
    for entry in &signed.manifest.entries {
        if let EntryKind::HardLink { target } = &entry.kind {
            let path = dir.join(&entry.path);
            restore::hard_link(dir, target, &path)
                .map_err(|source| write_error(dir, &path, source, ENTRY_OVERHEAD_BYTES))?;
        }
    }
    Ok(())
}

/// Folders were writable for us while they were filled; children first, as a folder may lose its `x`.
fn restore_directories(dir: &Path, signed: &SignedManifest) -> Result<(), ExtractError> {
    for entry in signed.manifest.entries.iter().rev() {
        if entry.kind == EntryKind::Directory {
            let path = dir.join(&entry.path);
            restore::restore_directory(&path, entry).map_err(ExtractError::restore(&path))?;
        }
    }
    Ok(())
}

/// Room that a package takes in a slot.
fn needed_bytes(signed: &SignedManifest) -> u64 {
    let overhead = signed.manifest.entries.len() as u64 * ENTRY_OVERHEAD_BYTES;
    signed.manifest.unpacked_bytes.saturating_add(overhead)
}

fn write_error(dir: &Path, path: &Path, source: io::Error, needed: u64) -> ExtractError {
    if fsutil::is_no_space(&source) {
        let free = fsutil::free_bytes(dir).unwrap_or(0);
        return ExtractError::NoSpace {
            slot_dir: dir.to_owned(),
            needed,
            free,
        };
    }
    ExtractError::io("write", path)(source)
}

/// Writes what is being proven. A file that fails its digest stays, in a slot without a manifest.
struct Writer<'a> {
    dir: &'a Path,
    expected: Option<Digest>,
    progress: &'a mut dyn FnMut(ExtractProgress),
    cancel: &'a AtomicBool,
    done: ExtractProgress,
}

impl Writer<'_> {
    fn report(&mut self) -> Result<(), ExtractError> {
        (self.progress)(self.done);
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ExtractError::Canceled);
        }
        Ok(())
    }

    fn check_space(&self, needed: u64) -> Result<(), ExtractError> {
        let free = fsutil::free_bytes(self.dir).map_err(ExtractError::io("examine", self.dir))?;
        if free < needed {
            return Err(ExtractError::NoSpace {
                slot_dir: self.dir.to_owned(),
                needed,
                free,
            });
        }
        Ok(())
    }
}

impl<'a> Sink for Writer<'a> {
    type Error = ExtractError;
    type Files = FileWriter<'a>;

    fn begin(&mut self, signed: &Arc<SignedManifest>) -> Result<FileWriter<'a>, ExtractError> {
        if let Some(expected) = self.expected
            && expected != signed.digest
        {
            return Err(ExtractError::WrongPackage {
                expected,
                found: signed.digest,
            });
        }
        self.done.total_bytes = signed.manifest.unpacked_bytes;
        self.done.total_entries = signed.manifest.entries.len() as u64;
        self.report()?;
        slot::unmark(self.dir).map_err(ExtractError::io("unmark", self.dir))?;
        let needed = needed_bytes(signed);
        replaced::set_aside(self.dir, needed).map_err(ExtractError::io("clear", self.dir))?;
        self.check_space(needed)?;
        Ok(FileWriter {
            dir: self.dir,
            done_bytes: AtomicU64::new(0),
        })
    }

    /// Folders and symlinks; files are made where they are written, further names of them when all are there.
    fn entry(&mut self, files: &FileWriter<'a>, entry: &Entry) -> Result<(), ExtractError> {
        let path = self.dir.join(&entry.path);
        let made = match &entry.kind {
            EntryKind::Directory => fs::create_dir(&path)
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o700))),
            EntryKind::Symlink { target } => symlink(target, &path),
            EntryKind::HardLink { .. } | EntryKind::File { .. } => Ok(()),
        };
        made.map_err(|source| write_error(self.dir, &path, source, ENTRY_OVERHEAD_BYTES))?;
        if matches!(entry.kind, EntryKind::Symlink { .. }) {
            restore::restore_symlink(&path, entry).map_err(ExtractError::restore(&path))?;
        }
        self.done.done_entries += 1;
        self.progress(files)
    }

    fn progress(&mut self, files: &FileWriter<'a>) -> Result<(), ExtractError> {
        self.done.done_bytes = files.done_bytes.load(Ordering::Relaxed);
        self.report()
    }
}

/// Writes files, each as a whole, from several threads.
struct FileWriter<'a> {
    dir: &'a Path,
    done_bytes: AtomicU64,
}

/// A file being written.
struct Growing {
    file: File,
    path: PathBuf,
    write_behind: WriteBehind,
}

impl Files for FileWriter<'_> {
    type Error = ExtractError;
    type File = Growing;

    fn open(&self, entry: &Entry) -> Result<Growing, ExtractError> {
        let path = self.dir.join(&entry.path);
        // Exclusive: whatever got there in between is not followed.
        let open = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match open {
            Ok(file) => Ok(Growing {
                file,
                path,
                write_behind: WriteBehind::default(),
            }),
            Err(source) => Err(write_error(self.dir, &path, source, ENTRY_OVERHEAD_BYTES)),
        }
    }

    fn data(&self, growing: &mut Growing, piece: &[u8]) -> Result<(), ExtractError> {
        let bytes = piece.len() as u64;
        let Growing {
            file,
            path,
            write_behind,
        } = growing;
        file.write_all(piece)
            .map_err(|source| write_error(self.dir, path, source, bytes))?;
        write_behind.written(file, bytes);
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn close(&self, growing: Growing, entry: &Entry) -> Result<(), ExtractError> {
        let Growing {
            file,
            path,
            write_behind,
        } = growing;
        restore::restore_open(&file, entry).map_err(ExtractError::restore(&path))?;
        write_behind.end(&file);
        Ok(())
    }
}
