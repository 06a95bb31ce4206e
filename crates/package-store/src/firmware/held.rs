//! The firmware that a node has: a folder each beside those of packages, named by the manifest's digest.
//!
//! The directory is the truth, as for packages: a folder appears and disappears by one rename. In it lie the
//! archive as it came, which peers pull, and the images as they are written to devices.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use evenkeel_model::{
    Digest, FirmwareManifest, FirmwareRef, FirmwareSummary, MAX_FIRMWARE_MANIFEST_BYTES,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::aside;
use crate::chunks::{ChunkList, chunk_digest};
use crate::fsutil::{self, is_absent, is_lost};
use crate::remove::{DamagedPackage, Deleted};
use crate::signature::Signature;
use crate::store::{ARCHIVE, Archive, CHUNKS, Inner, MANIFEST, SIGNATURE, Store, StoreError};

use super::prove::SignedFirmware;

pub(super) const FIRMWARE_SIDECAR: &str = "firmware.json";
pub(super) const IMAGES: &str = "images";

/// Firmware that is here, whole and verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFirmware {
    /// Identity: SHA-256 of the exact manifest bytes.
    pub digest: Digest,
    /// SHA-256 of the archive's [`ChunkList`]. Only guides transfer: other archives may hold the same firmware.
    pub archive_digest: Digest,
    /// Size of the archive file.
    pub archive_bytes: u64,
    /// SHA-256 of the signature file.
    pub signature_digest: Digest,
    /// The id of the key that signed it.
    pub signed_by: Option<String>,
    /// What the manifest says.
    pub summary: FirmwareSummary,
    /// The staging that brought this copy in: whoever was told of no end knows it again by that.
    pub stage_id: String,
}

impl From<StoredFirmware> for FirmwareRef {
    fn from(stored: StoredFirmware) -> Self {
        Self {
            digest: stored.digest,
            archive_digest: stored.archive_digest,
            archive_bytes: stored.archive_bytes,
            summary: stored.summary,
            signed_by: stored.signed_by,
        }
    }
}

impl Inner {
    pub(super) fn firmware_folder(&self, digest: Digest) -> PathBuf {
        self.firmware_dir().join(digest.to_string())
    }
}

impl Store {
    /// All firmware here, by digest.
    pub fn firmware(&self) -> Vec<StoredFirmware> {
        self.inner.index().firmware.values().cloned().collect()
    }

    /// The firmware with this manifest digest.
    pub fn get_firmware(&self, digest: Digest) -> Option<StoredFirmware> {
        self.inner.index().firmware.get(&digest).cloned()
    }

    /// The manifest of firmware here.
    pub fn firmware_manifest(&self, digest: Digest) -> Result<SignedFirmware, StoreError> {
        self.get_firmware(digest)
            .ok_or(StoreError::NotThere { digest })?;
        let dir = self.inner.firmware_folder(digest);
        let read = |name| {
            let path = dir.join(name);
            fs::read(&path).map_err(StoreError::io("read", &path))
        };
        let (bytes, signature_text) = (read(MANIFEST)?, read(SIGNATURE)?);
        let damaged = |why: String| StoreError::Damaged { digest, why };
        if Digest(Sha256::digest(&bytes).into()) != digest {
            return Err(damaged("its manifest was changed".to_owned()));
        }
        let signature = match signature_text.as_slice() {
            [] => None,
            text => Some(Signature::parse(text).map_err(|e| damaged(e.to_string()))?),
        };
        let manifest = FirmwareManifest::parse(&bytes).map_err(|e| damaged(e.to_string()))?;
        Ok(SignedFirmware {
            bytes,
            signature_text,
            signature,
            digest,
            manifest,
        })
    }

    /// Opens an archive of firmware for reading from `offset` on, as [`open_archive`](Self::open_archive) does
    /// for packages.
    pub fn open_firmware_archive(
        &self,
        digest: Digest,
        offset: u64,
    ) -> Result<Archive, StoreError> {
        let firmware = self.get_firmware(digest);
        let total_bytes = firmware
            .ok_or(StoreError::NotThere { digest })?
            .archive_bytes;
        if offset > total_bytes {
            return Err(StoreError::OffsetBehindEnd {
                digest,
                offset,
                bytes: total_bytes,
            });
        }
        let path = self.inner.firmware_folder(digest).join(ARCHIVE);
        let mut file =
            File::open(&path).map_err(|error| self.gone_or(digest, "open", &path, error))?;
        file.seek(SeekFrom::Start(offset))
            .map_err(StoreError::io("read", &path))?;
        Ok(Archive {
            file,
            offset,
            total_bytes,
        })
    }

    /// The digests of the chunks of an archive of firmware.
    pub fn firmware_chunk_list(&self, digest: Digest) -> Result<ChunkList, StoreError> {
        let firmware = self.get_firmware(digest);
        let firmware = firmware.ok_or(StoreError::NotThere { digest })?;
        let path = self.inner.firmware_folder(digest).join(CHUNKS);
        let bytes = fs::read(&path).map_err(|error| self.gone_or(digest, "read", &path, error))?;
        let list = ChunkList::parse(&bytes).ok();
        list.filter(|list| is_list_of(list, &firmware))
            .ok_or_else(|| StoreError::Damaged {
                digest,
                why: "the list of its chunks was changed".to_owned(),
            })
    }

    /// What an error in reading means: it may have been deleted since it was looked up.
    pub(super) fn gone_or(
        &self,
        digest: Digest,
        step: &'static str,
        path: &Path,
        error: io::Error,
    ) -> StoreError {
        match self.get_firmware(digest) {
            None => StoreError::NotThere { digest },
            Some(_) => StoreError::io(step, path)(error),
        }
    }

    /// Removes firmware, a damaged copy too; durable when it returns, though its files go later. Doing it again
    /// is fine. Whether it *may* go is for the caller to know.
    pub fn delete_firmware(&self, digest: Digest) -> Result<Deleted, StoreError> {
        let inner = &self.inner;
        let _change = inner.change();
        // First out of sight: nobody begins to read what is about to go.
        let firmware = inner.index().firmware.remove(&digest);
        let from = inner.firmware_folder(digest);
        if let Err(error) = aside::bury(inner, &from) {
            let back = firmware.map(|it| (digest, it));
            inner.index().firmware.extend(back);
            return Err(StoreError::io("remove", &from)(error));
        }
        let damaged = inner.index().damaged_firmware.remove(&digest);
        let rotten = inner.damaged_dir(digest);
        aside::bury(inner, &rotten).map_err(StoreError::io("remove", &rotten))?;
        // Even if it was not there: an earlier call may have failed just here.
        sync(inner)?;
        Ok(match (firmware, damaged) {
            (None, None) => Deleted::WasNotThere,
            (Some(_), _) | (None, Some(_)) => Deleted::Removed,
        })
    }

    /// Sets firmware aside whose copy is damaged: it is neither listed nor served, and a good copy can come in.
    pub fn quarantine_firmware(&self, digest: Digest, why: &str) -> Result<(), StoreError> {
        let inner = &self.inner;
        let _change = inner.change();
        if inner.index().firmware.remove(&digest).is_none() {
            return Err(StoreError::NotThere { digest });
        }
        set_aside(inner, digest, why)?;
        sync(inner)
    }

    /// Firmware that was set aside as damaged since the store was opened, and has not come in again.
    pub fn damaged_firmware(&self) -> Vec<DamagedPackage> {
        let index = self.inner.index();
        let damaged = index.damaged_firmware.iter();
        damaged
            .map(|(digest, why)| DamagedPackage {
                digest: *digest,
                why: why.clone(),
            })
            .collect()
    }
}

fn sync(inner: &Inner) -> Result<(), StoreError> {
    for folder in [inner.firmware_dir(), inner.aside_dir()] {
        fsutil::sync_dir(&folder).map_err(StoreError::io("sync", &folder))?;
    }
    Ok(())
}

fn set_aside(inner: &Inner, digest: Digest, why: &str) -> Result<(), StoreError> {
    let (from, to) = (inner.firmware_folder(digest), inner.damaged_dir(digest));
    tracing::error!(firmware = %digest, why, "the stored copy of firmware is damaged");
    let mut index = inner.index();
    index.damaged_firmware.insert(digest, why.to_owned());
    drop(index);
    aside::bury(inner, &to).map_err(StoreError::io("remove", &to))?;
    fsutil::rename(&from, &to).map_err(StoreError::io("set aside", &from))?;
    // For whoever looks at it; without consequence.
    let _ = fs::write(to.join("why"), format!("{why}\n"));
    Ok(())
}

/// What is here when the store is opened.
pub(crate) fn read_firmware(inner: &Inner) -> Result<BTreeMap<Digest, StoredFirmware>, StoreError> {
    let dir = inner.firmware_dir();
    let mut firmware = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(StoreError::io("list", &dir))? {
        let path = entry.map_err(StoreError::io("list", &dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(digest) = name.and_then(|name| name.parse::<Digest>().ok()) else {
            tracing::warn!(path = %path.display(), "removing what is no firmware");
            fsutil::remove_all(&path).map_err(StoreError::io("remove", &path))?;
            continue;
        };
        match read_folder(&path, digest).map_err(StoreError::io("read", &path))? {
            Ok(stored) => {
                firmware.insert(digest, stored);
            }
            // A folder only gets its name when it is whole: this one was, once.
            Err(why) => set_aside(inner, digest, why)?,
        }
    }
    Ok(firmware)
}

fn is_list_of(list: &ChunkList, firmware: &StoredFirmware) -> bool {
    list.digest() == firmware.archive_digest && list.fits(firmware.archive_bytes)
}

/// The outer error is trouble of ours: what cannot be read now is not for that reason damaged. The content of
/// images is proven when they are opened.
fn read_folder(dir: &Path, digest: Digest) -> io::Result<Result<StoredFirmware, &'static str>> {
    let read = |name: &str| match fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) || is_lost(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let size = |name: &Path| match dir.join(name).symlink_metadata() {
        Ok(meta) => Ok(meta.is_file().then_some(meta.len())),
        Err(error) if is_absent(&error) || is_lost(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let sidecar = read(FIRMWARE_SIDECAR)?;
    let sidecar = sidecar.and_then(|b| serde_json::from_slice::<StoredFirmware>(&b).ok());
    let Some(firmware) = sidecar.filter(|it| it.digest == digest) else {
        return Ok(Err(
            "its description is missing, damaged or of other firmware",
        ));
    };
    if size(Path::new(ARCHIVE))? != Some(firmware.archive_bytes) {
        return Ok(Err("its archive is missing or of another size"));
    }
    let is_manifest = |bytes: &Vec<u8>| {
        bytes.len() as u64 <= MAX_FIRMWARE_MANIFEST_BYTES && chunk_digest(bytes) == digest
    };
    let manifest = read(MANIFEST)?.filter(is_manifest);
    let Some(manifest) = manifest.and_then(|bytes| FirmwareManifest::parse(&bytes).ok()) else {
        return Ok(Err("its manifest is missing or damaged"));
    };
    let is_signature = |bytes: Vec<u8>| chunk_digest(&bytes) == firmware.signature_digest;
    if !read(SIGNATURE)?.is_some_and(is_signature) {
        return Ok(Err("its signature is missing or damaged"));
    }
    let list = read(CHUNKS)?.and_then(|bytes| ChunkList::parse(&bytes).ok());
    if !list.is_some_and(|list| is_list_of(&list, &firmware)) {
        return Ok(Err("the list of its chunks is missing or damaged"));
    }
    for image in &manifest.images {
        if size(&Path::new(IMAGES).join(&image.file))? != Some(image.size) {
            return Ok(Err("an image is missing or of another size"));
        }
    }
    Ok(Ok(firmware))
}
