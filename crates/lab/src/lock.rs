//! One supervisor a lab.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held by the supervisor that runs; the kernel frees it however that ends.
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    pub(crate) fn take(path: &Path) -> Result<Self> {
        match try_lock(path)? {
            Some(file) => Ok(Self { _file: file }),
            None => Err(anyhow!(
                "a lab is running in {} already",
                path.parent().unwrap_or(path).display()
            )),
        }
    }
}

/// Whether some supervisor holds it.
pub(crate) fn is_held(path: &Path) -> Result<bool> {
    Ok(try_lock(path)?.is_none())
}

fn try_lock(path: &Path) -> Result<Option<Flock<File>>> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => {
            Err(io::Error::from(errno)).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
