//! The machine that parts of the backend look at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::look::unreadable;
use crate::once::Once;
use crate::program::{Call, Finished, Programs, SystemPrograms};
use evenkeel_platform::PlatformError;

/// Files below a root, and programs.
#[derive(Clone)]
pub struct Host {
    root: PathBuf,
    programs: Arc<dyn Programs>,
}

impl Host {
    /// This machine.
    pub fn this() -> Self {
        Self::new("/", Arc::new(SystemPrograms))
    }

    /// A machine whose files are below `root`.
    pub fn new(root: impl Into<PathBuf>, programs: Arc<dyn Programs>) -> Self {
        Self {
            root: root.into(),
            programs,
        }
    }

    /// The same, on which each program that is run in one and the same way is run once, and its answer shared: for one look at
    /// much that is told by one report.
    pub(crate) fn asked_once(&self) -> Self {
        Self::new(&self.root, Arc::new(Once::new(Arc::clone(&self.programs))))
    }

    /// Where `path`, which is absolute on the machine, is found from here.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The folder that a path leads to, by its name on the machine; none where there is none.
    pub(crate) fn real(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>, PlatformError> {
        let path = path.as_ref();
        let real = |path: &Path| match std::fs::canonicalize(path) {
            Ok(real) => Ok(Some(real)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path, &error)),
        };
        let (Some(root), Some(real)) = (real(&self.root)?, real(&self.path(path))?) else {
            return Ok(None);
        };
        Ok(real
            .strip_prefix(root)
            .ok()
            .map(|within| Path::new("/").join(within)))
    }

    /// The text of a small file of the kernel's or of a configuration, without white space around it. Blocks for
    /// as long as the kernel takes to make it up.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<String, PlatformError> {
        let path = path.as_ref();
        match std::fs::read_to_string(self.path(path)) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// The same; `None` where there is no such file.
    pub fn read_if_any(&self, path: impl AsRef<Path>) -> Result<Option<String>, PlatformError> {
        let path = path.as_ref();
        match std::fs::read_to_string(self.path(path)) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// Runs a program until it ends, whatever its exit code.
    pub async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        self.programs.run(call).await
    }

    /// Runs a program that must succeed, and gives what it printed.
    pub async fn output(&self, call: &Call) -> Result<Vec<u8>, PlatformError> {
        self.programs.run(call).await?.printed(call)
    }
}
