//! What a slot's folder says it holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
