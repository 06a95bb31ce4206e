//! The checks that a package brings, out of a node's own copy: proven like everything else, and put where they
//! can be run from.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_model::{BundledCheck, Digest, Entry, EntryKind, MAX_CHECKS_BYTES};

use crate::crew::Files;
use crate::head::{Policy, SignedManifest};
use crate::store::{Store, StoreError};
use crate::verify::{Failure, Sink, verify};
use crate::verify_error::VerifyError;

/// Why a package's checks were not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackChecksError {
    /// The store cannot give the package.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] VerifyError),
    /// The copy is of another package.
    #[error("the archive holds package {found}, not {expected}")]
    WrongPackage {
        /// The wanted package.
        expected: Digest,
        /// The one found.
        found: Digest,
    },
    /// More than is unpacked into memory.
    #[error("the folders of its checks hold {bytes} bytes, more than {MAX_CHECKS_BYTES}")]
    TooLarge {
        /// Bytes in them.
        bytes: u64,
    },
    /// The caller asked to stop.
    #[error("the unpacking was canceled")]
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

impl UnpackChecksError {
    fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}

impl Store {
    /// Puts the checks of a stored package, with what lies beside them, into `dir`, which is made anew. Every
    /// file there is readable and executable for all, and nothing else of the package is. Blocks until done.
    pub fn unpack_checks(
        &self,
        digest: Digest,
        dir: &Path,
        policy: &Policy,
        cancel: &AtomicBool,
    ) -> Result<Vec<BundledCheck>, UnpackChecksError> {
        clear(dir)?;
        let archive = self.open_archive(digest, 0)?;
        let mut unpacker = Unpacker {
            dir,
            expected: digest,
            cancel,
            wanted: Arc::default(),
            left: 0,
            checks: Vec::new(),
        };
        match verify(archive.file, policy, &mut unpacker) {
            Ok(_) | Err(Failure::Sink(Stop::Complete)) => Ok(unpacker.checks),
            Err(Failure::Sink(Stop::Failed(error))) => Err(error),
            Err(Failure::Package(error)) => Err(error.into()),
        }
    }
}

fn clear(dir: &Path) -> Result<(), UnpackChecksError> {
    match fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(UnpackChecksError::io("clear", dir)(error)),
    }
    make_dir(dir)
}

fn make_dir(dir: &Path) -> Result<(), UnpackChecksError> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o755)))
        .map_err(UnpackChecksError::io("create", dir))
}

/// Why reading stops before the package's end.
enum Stop {
    /// All that is wanted was read.
    Complete,
    Failed(UnpackChecksError),
}

/// Writes the wanted entries, and stops after the last of them.
struct Unpacker<'a> {
    dir: &'a Path,
    expected: Digest,
    cancel: &'a AtomicBool,
    wanted: Arc<BTreeSet<String>>,
    /// Wanted entries that have not come yet.
    left: usize,
    checks: Vec<BundledCheck>,
}

impl Unpacker<'_> {
    fn put(&self, entry: &Entry) -> Result<(), UnpackChecksError> {
        let path = self.dir.join(&entry.path);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        match &entry.kind {
            EntryKind::Directory => make_dir(&path),
            EntryKind::Symlink { target } => {
                symlink(target, &path).map_err(UnpackChecksError::io("link", &path))
            }
            // Its file has come before; one that lies elsewhere in the package is not here.
            EntryKind::HardLink { target } if self.wanted.contains(target) => {
                let file = self.dir.join(target);
                fs::hard_link(file, &path).map_err(UnpackChecksError::io("link", &path))
            }
            EntryKind::HardLink { .. } | EntryKind::File { .. } => Ok(()),
        }
    }
}

impl Sink for Unpacker<'_> {
    type Error = Stop;
    type Files = Opener;

    fn begin(&mut self, signed: &Arc<SignedManifest>) -> Result<Opener, Stop> {
        if signed.digest != self.expected {
            return Err(Stop::Failed(UnpackChecksError::WrongPackage {
                expected: self.expected,
                found: signed.digest,
            }));
        }
        let manifest = &signed.manifest;
        let bytes = manifest.check_entries().map(Entry::size).sum();
        if bytes > MAX_CHECKS_BYTES {
            return Err(Stop::Failed(UnpackChecksError::TooLarge { bytes }));
        }
        self.checks.clone_from(&manifest.checks);
        let wanted = manifest.check_entries().map(|entry| entry.path.clone());
        self.wanted = Arc::new(wanted.collect());
        self.left = self.wanted.len();
        Ok(Opener {
            dir: self.dir.to_owned(),
            wanted: Arc::clone(&self.wanted),
        })
    }

    fn entry(&mut self, _: &Opener, entry: &Entry) -> Result<(), Stop> {
        if self.left == 0 {
            return Err(Stop::Complete);
        }
        if self.wanted.contains(&entry.path) {
            self.left -= 1;
            self.put(entry).map_err(Stop::Failed)?;
        }
        Ok(())
    }

    fn progress(&mut self, _: &Opener) -> Result<(), Stop> {
        match self.cancel.load(Ordering::Relaxed) {
            true => Err(Stop::Failed(UnpackChecksError::Canceled)),
            false => Ok(()),
        }
    }
}

/// Opens the wanted files.
struct Opener {
    dir: PathBuf,
    wanted: Arc<BTreeSet<String>>,
}

impl Opener {
    fn failed(&self, entry: &Entry) -> impl FnOnce(io::Error) -> Stop {
        let failed = UnpackChecksError::io("write", &self.dir.join(&entry.path));
        move |error| Stop::Failed(failed(error))
    }
}

/// A wanted file, under way.
struct Growing {
    file: File,
    path: PathBuf,
}

impl Files for Opener {
    type Error = Stop;
    type File = Option<Growing>;

    fn open(&self, entry: &Entry) -> Result<Option<Growing>, Stop> {
        if !self.wanted.contains(&entry.path) {
            return Ok(None);
        }
        let path = self.dir.join(&entry.path);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(self.failed(entry))?;
        Ok(Some(Growing { file, path }))
    }

    fn data(&self, growing: &mut Option<Growing>, piece: &[u8]) -> Result<(), Stop> {
        let Some(Growing { file, path }) = growing else {
            return Ok(());
        };
        let failed = |error| Stop::Failed(UnpackChecksError::io("write", path)(error));
        file.write_all(piece).map_err(failed)
    }

    fn close(&self, growing: Option<Growing>, entry: &Entry) -> Result<(), Stop> {
        let Some(Growing { file, .. }) = growing else {
            return Ok(());
        };
        file.set_permissions(Permissions::from_mode(0o555))
            .map_err(self.failed(entry))
    }
}
