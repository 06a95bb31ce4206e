//! What marks a slot as whole: manifest and signature, written last.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use evenkeel_model::{
    Digest, MANIFEST_PATH, MAX_MANIFEST_BYTES, Manifest, ManifestError, RESERVED_DIR,
    SIGNATURE_PATH,
};
use sha2::{Digest as _, Sha256};

use crate::fsutil;
use crate::head::SignedManifest;

/// Why a slot's manifest cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is no manifest.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
}

/// The manifest of what a slot holds, with its digest; `None` if the slot is empty or was not filled to
/// the end. Its signature was proven before it was written; it is not proven again here.
pub fn read_slot_manifest(slot_dir: &Path) -> Result<Option<(Digest, Manifest)>, SlotError> {
    let path = slot_dir.join(MANIFEST_PATH);
    let failed = |source| SlotError::Io {
        path: path.clone(),
        source,
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            return match fsutil::is_absent(&error) {
                true => Ok(None),
                false => Err(failed(error)),
            };
        }
    };
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let digest = Digest(Sha256::digest(&bytes).into());
    let manifest = Manifest::parse(&bytes);
    manifest
        .map(|manifest| Some((digest, manifest)))
        .map_err(|source| SlotError::Damaged {
            path: path.clone(),
            source,
        })
}

/// Takes the mark away, durably, before the first byte of the slot changes.
pub(crate) fn unmark(slot_dir: &Path) -> io::Result<()> {
    let reserved = slot_dir.join(RESERVED_DIR);
    match fsutil::remove_file(&slot_dir.join(MANIFEST_PATH)) {
        Ok(()) => fsutil::sync_dir(&reserved),
        Err(error) if fsutil::is_absent(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Marks the slot as whole. The caller has synced everything else.
pub(crate) fn mark(slot_dir: &Path, signed: &SignedManifest) -> io::Result<()> {
    let reserved = slot_dir.join(RESERVED_DIR);
    match fsutil::create_dir(&reserved) {
        // It holds what the slot held before.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    fsutil::write_synced(&slot_dir.join(SIGNATURE_PATH), &signed.signature_text)?;
    fsutil::sync_dir(slot_dir)?;
    let unfinished = reserved.join("manifest.partial");
    fsutil::write_synced(&unfinished, &signed.bytes)?;
    // The signature's name is durable before the manifest has its own.
    fsutil::sync_dir(&reserved)?;
    fsutil::rename(&unfinished, &slot_dir.join(MANIFEST_PATH))?;
    fsutil::sync_dir(&reserved)
}
