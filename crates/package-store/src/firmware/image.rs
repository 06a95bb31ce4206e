//! Gives an image to whoever writes it to a device, proven once more.

use std::fs::File;
use std::io::{self, Read, Seek};

use evenkeel_model::{DeviceModel, Digest, FirmwareImage};
use sha2::{Digest as _, Sha256};

use crate::fsutil::is_lost;
use crate::head::Policy;
use crate::store::{Store, StoreError};

use super::error::FirmwareError;
use super::held::IMAGES;

const READ_BYTES: usize = 256 << 10;

/// An image whose content was proven when it was opened.
#[derive(Debug)]
pub struct OpenImage {
    /// At its beginning. Stays readable if the firmware is deleted meanwhile.
    pub file: File,
    /// What the manifest says about it.
    pub image: FirmwareImage,
}

/// Why an image is not given out.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The firmware has none for that model.
    #[error("firmware {digest} has no image for model {model}")]
    NoImage {
        /// The firmware.
        digest: Digest,
        /// The model, or `-`.
        model: String,
    },
    /// It is not to be believed any more.
    #[error(transparent)]
    Refused(#[from] FirmwareError),
    /// It is not here, or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Opens the image for a model; of a disk qualification package, with no model, the only one. Its signature is
    /// held against what the node trusts now, and its content against its digest: what does not match is
    /// set aside. Blocks as long as reading it takes.
    pub fn open_image(
        &self,
        digest: Digest,
        model: Option<&DeviceModel>,
        policy: &Policy,
    ) -> Result<OpenImage, ImageError> {
        let signed = self.firmware_manifest(digest)?;
        signed.check(policy)?;
        let Some(image) = signed.manifest.image(model) else {
            let model = model.map_or_else(|| "-".to_owned(), DeviceModel::to_string);
            return Err(ImageError::NoImage { digest, model });
        };
        let dir = self.inner.firmware_folder(digest).join(IMAGES);
        let path = dir.join(&image.file);
        let failed = |step, error| self.gone_or(digest, step, &path, error);
        let mut file = File::open(&path).map_err(|error| failed("open", error))?;
        let right = match digest_of(&mut file) {
            Ok(found) => found == (image.size, image.sha256),
            Err(error) if is_lost(&error) => false,
            Err(error) => return Err(failed("read", error).into()),
        };
        if !right {
            let why = format!("image {} was changed", image.file);
            self.quarantine_firmware(digest, &why)?;
            return Err(StoreError::Damaged { digest, why }.into());
        }
        file.rewind().map_err(|error| failed("read", error))?;
        let image = image.clone();
        Ok(OpenImage { file, image })
    }
}

fn digest_of(file: &mut File) -> io::Result<(u64, Digest)> {
    let (mut sha256, mut size) = (Sha256::new(), 0);
    let mut piece = vec![0; READ_BYTES];
    loop {
        let n = match file.read(&mut piece) {
            Ok(0) => return Ok((size, Digest(sha256.finalize().into()))),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sha256.update(&piece[..n]);
        size += n as u64;
    }
}
