//! What a slot's tree says it holds.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use evenkeel_model::{Digest, MANIFEST_PATH, MAX_MANIFEST_BYTES, SlotImage, Version};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::look::unreadable;
use evenkeel_platform::PlatformError;

/// All that is needed of a manifest. Its signature was proven before it was written.
#[derive(Deserialize)]
struct Head {
    version: Version,
}

/// What a manifest's file was like when it was read. Manifests are never written in place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Images of slots, read again only when their files are others: whoever waits for a change looks often.
#[derive(Default)]
pub(super) struct Images {
    read: Mutex<HashMap<PathBuf, (Stamp, Option<SlotImage>)>>,
}

impl Images {
    /// The image of a slot: digest and version of its manifest, which is the last file that an install writes and the first that
    /// the next one removes. Without it, or with one that says no version, the slot holds nothing.
    pub(super) fn of(&self, tree: &Path) -> Result<Option<SlotImage>, PlatformError> {
        let path = tree.join(MANIFEST_PATH);
        let stamp = match fs::metadata(&path) {
            Ok(metadata) => Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                bytes: metadata.len(),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            },
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, image)) = read.get(&path)
            && *then == stamp
        {
            return Ok(image.clone());
        }
        let image = read_image(&path)?;
        read.insert(path, (stamp, image.clone()));
        Ok(image)
    }
}

fn read_image(path: &Path) -> Result<Option<SlotImage>, PlatformError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let mut file = file.take(MAX_MANIFEST_BYTES + 1);
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => {}
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    }
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Ok(None);
    }
    let head: Option<Head> = serde_json::from_slice(&bytes).ok();
    Ok(head.map(|head| SlotImage {
        digest: Digest(Sha256::digest(&bytes).into()),
        version: head.version,
    }))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
