//! Files of a package with a purpose beyond being installed, out of a node's own copy: proven like everything else. Its
//! checks are put where they can be run from, its firmware where it is taken in from.

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

/// Why files of a package were not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
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

impl UnpackError {
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
    ) -> Result<Vec<BundledCheck>, UnpackError> {
        let signed = self.unpack(digest, Purpose::Checks, dir, policy, cancel)?;
        Ok(signed.manifest.checks.clone())
    }

    /// Puts the firmware that a stored package brings into `dir`, which is made anew, and says under which paths there.
    /// Whether it is firmware shows when it is taken in. Blocks until done.
    pub fn unpack_firmware(
        &self,
        digest: Digest,
        dir: &Path,
        policy: &Policy,
        cancel: &AtomicBool,
    ) -> Result<Vec<String>, UnpackError> {
        let signed = self.unpack(digest, Purpose::Firmware, dir, policy, cancel)?;
        let firmware = signed.manifest.firmware.iter();
        Ok(firmware.map(|it| it.path.clone()).collect())
    }

    fn unpack(
        &self,
        digest: Digest,
        purpose: Purpose,
        dir: &Path,
        policy: &Policy,
        cancel: &AtomicBool,
    ) -> Result<Arc<SignedManifest>, UnpackError> {
        clear(dir)?;
        let archive = self.open_archive(digest, 0)?;
        let mut unpacker = Unpacker {
            dir,
            expected: digest,
            cancel,
            purpose,
            wanted: Arc::default(),
            left: 0,
            signed: None,
        };
        let verified = verify(archive.file, policy, &mut unpacker);
        let signed = unpacker.signed;
        match (verified, signed) {
            (Ok(_) | Err(Failure::Sink(Stop::Complete)), Some(signed)) => Ok(signed),
            (Ok(_) | Err(Failure::Sink(Stop::Complete)), None) => {
                unreachable!("nothing ends well before the manifest")
            }
            (Err(Failure::Sink(Stop::Failed(error))), _) => Err(error),
            (Err(Failure::Package(error)), _) => Err(error.into()),
        }
    }
}

fn clear(dir: &Path) -> Result<(), UnpackError> {
    match fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(UnpackError::io("clear", dir)(error)),
    }
    make_dir(dir)
}

fn make_dir(dir: &Path) -> Result<(), UnpackError> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o755)))
        .map_err(UnpackError::io("create", dir))
}

/// Why reading stops before the package's end.
enum Stop {
    /// All that is wanted was read.
    Complete,
    Failed(UnpackError),
}

/// What the files are for.
#[derive(Clone, Copy)]
enum Purpose {
    Checks,
    Firmware,
}

/// Writes the wanted entries, and stops after the last of them.
struct Unpacker<'a> {
    dir: &'a Path,
    expected: Digest,
    cancel: &'a AtomicBool,
    purpose: Purpose,
    wanted: Arc<BTreeSet<String>>,
    /// Wanted entries that have not come yet.
    left: usize,
    /// Known from the beginning of the package on.
    signed: Option<Arc<SignedManifest>>,
}

impl Unpacker<'_> {
    fn put(&self, entry: &Entry) -> Result<(), UnpackError> {
        let path = self.dir.join(&entry.path);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        match &entry.kind {
            EntryKind::Directory => make_dir(&path),
            EntryKind::Symlink { target } => {
                symlink(target, &path).map_err(UnpackError::io("link", &path))
            }
            // Its file has come before; one that lies elsewhere in the package is not here.
            EntryKind::HardLink { target } if self.wanted.contains(target) => {
                let file = self.dir.join(target);
                fs::hard_link(file, &path).map_err(UnpackError::io("link", &path))
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
            return Err(Stop::Failed(UnpackError::WrongPackage {
                expected: self.expected,
                found: signed.digest,
            }));
        }
        let manifest = &signed.manifest;
        self.wanted = Arc::new(match self.purpose {
            Purpose::Checks => {
                let bytes = manifest.check_entries().map(Entry::size).sum();
                if bytes > MAX_CHECKS_BYTES {
                    return Err(Stop::Failed(UnpackError::TooLarge { bytes }));
                }
                let entries = manifest.check_entries();
                entries.map(|entry| entry.path.clone()).collect()
            }
            Purpose::Firmware => {
                let firmware = manifest.firmware.iter();
                firmware.map(|it| it.path.clone()).collect()
            }
        });
        self.signed = Some(Arc::clone(signed));
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
            true => Err(Stop::Failed(UnpackError::Canceled)),
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
        let failed = UnpackError::io("write", &self.dir.join(&entry.path));
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
        let failed = |error| Stop::Failed(UnpackError::io("write", path)(error));
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
