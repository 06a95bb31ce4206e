//! Changes of the files that a boot loader reads: one at a time, each durable before the next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::look::unavailable;
use evenkeel_platform::PlatformError;

/// One change, or one sync, of the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file was made, or given other content; nothing of it is durable yet.
    Write(PathBuf),
    /// Some bytes of a file were replaced by as many others.
    Overwrite(PathBuf),
    /// A file's content was made durable.
    SyncFile(PathBuf),
    /// A file got another name in the same folder.
    Rename(PathBuf, PathBuf),
    /// A file's name was removed.
    Remove(PathBuf),
    /// A folder was made.
    MakeDir(PathBuf),
    /// A folder's names were made durable.
    SyncDir(PathBuf),
}

/// What tests put between the engines and the medium: it may end them before any step, and sees each.
pub(crate) trait Watch: Send + Sync {
    /// An error ends the engine here, as a `kill -9` would.
    fn before(&self, step: &Step) -> io::Result<()>;
    /// The step was done.
    fn after(&self, step: &Step);
}

/// The medium. All changes by the engines go through it.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    watch: Option<Arc<dyn Watch>>,
}

impl Disk {
    /// One that tells what is done to it.
    #[cfg(test)]
    pub(crate) fn watched(watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch) }
    }

    fn step<T>(&self, step: Step, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watch) = &self.watch else {
            return act();
        };
        watch.before(&step)?;
        let done = act()?;
        watch.after(&step);
        Ok(done)
    }

    /// Makes a file, or gives it other content, durable in itself. Not atomic: for files that nobody reads yet.
    pub(crate) fn write(&self, path: &Path, content: &[u8]) -> Result<(), PlatformError> {
        let written = (|| {
            let mut file = self.step(Step::Write(path.to_owned()), || {
                let mut file = File::create(path)?;
                file.write_all(content)?;
                Ok(file)
            })?;
            self.step(Step::SyncFile(path.to_owned()), || {
                file.flush()?;
                file.sync_all()
            })
        })();
        written.map_err(failed("written", path))
    }

    /// Copies a file to a name that nobody reads yet; durable in itself.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> Result<(), PlatformError> {
        let copied = (|| {
            let mut source = File::open(from)?;
            let bytes = source.metadata()?.len();
            let file = self.step(Step::Write(to.to_owned()), || {
                let mut file = File::create(to)?;
                let copied = io::copy(&mut source, &mut file)?;
                match copied == bytes {
                    true => Ok(file),
                    false => Err(io::Error::other("it changed while it was copied")),
                }
            })?;
            self.step(Step::SyncFile(to.to_owned()), || file.sync_all())
        })();
        copied.map_err(|error| {
            let (from, to) = (from.display(), to.display());
            unavailable(format!("{from} cannot be copied to {to}: {error}"))
        })
    }

    /// Replaces a file as a whole: whoever reads it finds the old content or the new, after a power cut too. `temporary` lies in the
    /// same folder and has a name that no loader reads.
    pub(crate) fn replace(
        &self,
        path: &Path,
        temporary: &Path,
        content: &[u8],
    ) -> Result<(), PlatformError> {
        // The content is durable before the name leads to it: otherwise a power cut could leave the name with nothing behind it.
        self.write(temporary, content)?;
        self.rename(temporary, path)
    }

    /// Gives a file another name in its folder; durable.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), PlatformError> {
        let step = Step::Rename(from.to_owned(), to.to_owned());
        let renamed = self.step(step, || fs::rename(from, to));
        renamed.map_err(|error| {
            let (from, to) = (from.display(), to.display());
            unavailable(format!("{from} cannot be renamed to {to}: {error}"))
        })?;
        // On FAT the new name first leads to an empty file: length and place of the content are kept beside the name, and Linux writes
        // them there when it syncs the file, not when it syncs the folder.
        let synced = self.step(Step::SyncFile(to.to_owned()), || File::open(to)?.sync_all());
        synced.map_err(failed("synced", to))?;
        self.sync_parent(to)
    }

    /// Removes a file, durably; it is no error if it is not there.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), PlatformError> {
        let removed = self.step(Step::Remove(path.to_owned()), || fs::remove_file(path));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("removed", path)(error))
            }
            // It may have been removed by a call that did not live to make that durable.
            Ok(()) | Err(_) => self.sync_parent(path),
        }
    }

    /// Makes a folder, durably; it is no error if it is there.
    pub(crate) fn make_dir(&self, path: &Path) -> Result<(), PlatformError> {
        let made = self.step(Step::MakeDir(path.to_owned()), || fs::create_dir(path));
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed("made", path)(error))
            }
            Ok(()) | Err(_) => self.sync_parent(path),
        }
    }

    /// Replaces the bytes of a file in place, in one write of the same length, durably.
    pub(crate) fn overwrite(&self, path: &Path, content: &[u8]) -> Result<(), PlatformError> {
        let written = (|| {
            let mut file = OpenOptions::new().write(true).open(path)?;
            self.step(Step::Overwrite(path.to_owned()), || file.write_all(content))?;
            self.step(Step::SyncFile(path.to_owned()), || file.sync_all())
        })();
        written.map_err(failed("written", path))
    }

    /// Makes the names of a folder durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), PlatformError> {
        let synced = self.step(Step::SyncDir(dir.to_owned()), || {
            File::open(dir)?.sync_all()
        });
        synced.map_err(failed("synced", dir))
    }

    fn sync_parent(&self, path: &Path) -> Result<(), PlatformError> {
        self.sync_dir(path.parent().unwrap_or(Path::new("/")))
    }
}

/// What a failed change is to the caller: it may succeed later, and what it did must be observed.
fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> PlatformError {
    move |error| {
        let path = path.display();
        unavailable(format!("{path} cannot be {what}: {error}"))
    }
}
