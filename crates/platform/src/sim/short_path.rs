//! Unix sockets in deep folders.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A socket address holds 108 bytes, the last of them zero.
const LIMIT: usize = 107;

/// A name for a Unix socket's path that fits in a socket address, however long the path is: through an
/// open descriptor of its folder. Good for `bind` and `connect` as long as it lives.
#[derive(Debug)]
pub struct ShortPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl ShortPath {
    /// The short name; the path itself when that fits.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= LIMIT {
            let path = path.to_owned();
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }

    /// What to give to `bind` or `connect`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
