//! What RAUC does not keep: which images have been marked good. RAUC's "good" means no more than "may be booted".

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{Digest, Slot};
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use crate::look::{unavailable, unreadable};
use evenkeel_platform::PlatformError;

/// The file.
pub(super) struct ProvenFile {
    path: PathBuf,
    disk: Disk,
}

/// The image of each slot that was marked good. Another image in the slot is not proven by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proven {
    #[serde(default)]
    a: Option<Digest>,
    #[serde(default)]
    b: Option<Digest>,
}

impl Proven {
    pub(super) fn of(self, slot: Slot) -> Option<Digest> {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }
}

impl ProvenFile {
    pub(super) fn new(path: PathBuf, disk: Disk) -> Self {
        Self { path, disk }
    }

    /// None is proven where there is no file.
    pub(super) fn read(&self) -> Result<Proven, PlatformError> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                unavailable(format!("{} is damaged: {error}", self.path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Proven::default()),
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }

    /// Replaced as a whole, so that a power cut leaves what was known before or what is known now.
    pub(super) fn set(&self, slot: Slot, image: Option<Digest>) -> Result<(), PlatformError> {
        let before = self.read()?;
        let mut after = before;
        match slot {
            Slot::A => after.a = image,
            Slot::B => after.b = image,
        }
        if after == before {
            return Ok(());
        }
        let text = serde_json::to_vec(&after).map_err(|error| unavailable(error.to_string()))?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.is_dir()) {
            self.disk.make_dir(folder)?;
        }
        self.disk.replace(&self.path, &self.temporary(), &text)
    }

    fn temporary(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        Path::new(&name).to_owned()
    }
}
