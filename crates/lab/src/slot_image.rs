//! What a slot's folder says it holds.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use evenkeel_model::{Digest, MANIFEST_PATH, MAX_MANIFEST_BYTES, SlotImage, Version};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Where an image keeps its own daemon.
pub const DAEMON_IN_IMAGE: &str = "bin/evenkeeld";

/// All that a boot loader needs of a manifest.
#[derive(Deserialize)]
struct Head {
    version: Version,
}

/// What a manifest's file was like when it was read. Manifests are never written in place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Images of slots, read again only when their files are others: daemons look many times a second.
#[derive(Default)]
pub(crate) struct Images {
    read: Mutex<HashMap<PathBuf, (Stamp, Option<SlotImage>)>>,
}

impl Images {
    /// As [`read_image`].
    pub(crate) fn of(&self, slot: &Path) -> Result<Option<SlotImage>> {
        let path = slot.join(MANIFEST_PATH);
        let Ok(metadata) = fs::metadata(&path) else {
            return read_image(slot);
        };
        let stamp = Stamp {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, image)) = read.get(&path)
            && *then == stamp
        {
            return Ok(image.clone());
        }
        let image = read_image(slot)?;
        read.insert(path, (stamp, image.clone()));
        Ok(image)
    }
}

/// The image of a slot: its manifest's digest and version. The manifest is the last file that an
/// install writes and the first that the next one removes: without it the slot holds nothing.
pub(crate) fn read_image(slot: &Path) -> Result<Option<SlotImage>> {
    let path = slot.join(MANIFEST_PATH);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(error).with_context(|| format!("cannot read {}", path.display())),
            };
        }
    };
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Ok(None);
    }
    // What cannot be read does not boot: it is as good as empty.
    let head: Option<Head> = serde_json::from_slice(&bytes).ok();
    Ok(head.map(|head| SlotImage {
        digest: Digest(Sha256::digest(&bytes).into()),
        version: head.version,
    }))
}

/// The daemon to run from a slot: the image's own, if it brings one.
pub(crate) fn daemon_of(slot: &Path, installed: &Path) -> PathBuf {
    let own = slot.join(DAEMON_IN_IMAGE);
    if own.is_file() {
        own
    } else {
        installed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_the_manifest_says_now() {
        let slot = tempfile::tempdir().unwrap();
        let images = Images::default();
        assert_eq!(images.of(slot.path()).unwrap(), None);
        let path = slot.path().join(MANIFEST_PATH);
        fs::create_dir(path.parent().unwrap()).unwrap();
        let write = |text: &str| {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, &path).unwrap();
        };
        let version = || images.of(slot.path()).unwrap().map(|image| image.version);
        write(r#"{"version":"1"}"#);
        assert_eq!(version().unwrap().as_str(), "1");
        write(r#"{"version":"2"}"#);
        assert_eq!(version().unwrap().as_str(), "2");
        write("no manifest");
        assert_eq!(version(), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(version(), None);
    }
}
