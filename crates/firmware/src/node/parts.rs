//! What the work needs of others.

use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_model::{DeviceModel, Digest, FirmwareRevision, FirmwareSummary};

/// An image out of a package, proven when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedImage {
    /// The file's name in the package.
    pub file: String,
    /// The revision that a device says once it runs it.
    pub revision: FirmwareRevision,
    /// Digest of its content.
    pub digest: Digest,
    /// Its content.
    pub bytes: Arc<Vec<u8>>,
}

/// The firmware packages that a node has.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// What a package holds.
    async fn summary(&self, package: Digest) -> Result<FirmwareSummary, ImagesError>;
    /// Its image for a model; of a disk qualification package, with no model, the only one.
    async fn image(
        &self,
        package: Digest,
        model: Option<&DeviceModel>,
    ) -> Result<PackedImage, ImagesError>;
}

/// Why an image was not had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImagesError {
    /// It is not here: gone, or set aside as damaged. A good copy heals it.
    #[error("{0}")]
    Gone(String),
    /// It is here and cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is not trusted any more.
    #[error("{0}")]
    Refused(String),
}

impl ImagesError {
    /// Whether another try may succeed without anyone's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Unreadable(_) => true,
            Self::Refused(_) => false,
        }
    }
}
