//! Where the slots' trees are, and that they are what they are taken for: the running slot is never written to.

use std::path::{Path, PathBuf};

use evenkeel_model::Slot;

use super::is_writable;
use crate::host::Host;
use crate::look::unavailable;
use crate::mounts::{Mount, Mounts};
use evenkeel_platform::PlatformError;

/// The trees of both slots.
pub(super) enum Trees {
    /// Two folders of one file system.
    Folders {
        /// As seen from here.
        a: PathBuf,
        b: PathBuf,
    },
    /// Two file systems, mounted whichever slot runs.
    Mounted {
        host: Host,
        /// As the machine names them.
        a: PathBuf,
        b: PathBuf,
    },
}

impl Trees {
    pub(super) fn mounted(host: &Host, a: &Path, b: &Path) -> Self {
        Self::Mounted {
            host: host.clone(),
            a: a.to_owned(),
            b: b.to_owned(),
        }
    }

    /// A slot's tree, as seen from here.
    pub(super) fn path(&self, slot: Slot) -> PathBuf {
        match self {
            Self::Folders { a, b } => pick(slot, a, b).clone(),
            Self::Mounted { host, a, b } => host.path(pick(slot, a, b)),
        }
    }

    /// Whether the slot that does not run can be written to. An error if a tree is not what it is taken for: a folder on which nothing
    /// is mounted belongs to the running system.
    pub(super) fn check(&self, booted: Slot) -> Result<bool, PlatformError> {
        match self {
            Self::Folders { a, b } => {
                let other = pick(booted.other(), a, b);
                // It may not be there yet; what holds it is.
                is_writable(other.parent().unwrap_or(other))
            }
            Self::Mounted { host, a, b } => {
                let mounts = Mounts::read(host)?;
                check_mounted(&mounts, pick(booted, a, b), pick(booted.other(), a, b))
            }
        }
    }
}

fn pick<T>(slot: Slot, a: T, b: T) -> T {
    match slot {
        Slot::A => a,
        Slot::B => b,
    }
}

fn check_mounted(mounts: &Mounts, booted: &Path, other: &Path) -> Result<bool, PlatformError> {
    let mounted = |tree: &Path| match mounts.at(tree) {
        Some(mount) => Ok(mount.clone()),
        None => Err(unavailable(format!(
            "no file system is mounted at {}, which is to be a slot's tree",
            tree.display()
        ))),
    };
    let (running, alternate): (Mount, Mount) = (mounted(booted)?, mounted(other)?);
    if running.shows_same(&alternate) {
        return Err(unavailable(format!(
            "{} and {} show the same file system",
            booted.display(),
            other.display()
        )));
    }
    if let Some(root) = mounts.at(Path::new("/"))
        && root.shows_same(&alternate)
    {
        return Err(unavailable(format!(
            "{} shows the file system that runs as /, though the other slot is said to have booted",
            other.display()
        )));
    }
    Ok(alternate.takes_writes())
}
