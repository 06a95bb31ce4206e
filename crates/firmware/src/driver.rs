//! What a worker needs of a device, whatever it is spoken to in.

use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{DeviceModel, FirmwareRevision};
use evenkeel_platform::PlatformError;

use crate::flash::Told;
use crate::image::Image;

/// Why a device did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// It did not answer: whether it did anything is not known.
    #[error("it does not answer")]
    Silent(#[source] PlatformError),
    /// Not now: nothing was done.
    #[error("it is busy: {0}")]
    Busy(String),
    /// What it was sent before is lost: the image must be sent from its beginning.
    #[error("it lost what it was sent: {0}")]
    Lost(String),
    /// It will not, however often it is asked.
    #[error("it refuses: {0}")]
    Refused(String),
    /// It does not know this way of doing it.
    #[error("it does not know how: {0}")]
    Unknown(String),
    /// It took the image, and nothing that we may do makes it run.
    #[error("it took the firmware and will run it only after {0}")]
    NeedsMore(String),
    /// There is no more need: it was not asked.
    #[error("the firmware update was canceled")]
    Canceled,
    /// It took nothing of the image, and is as it was.
    #[error("it takes no firmware now, and has not for {bound:?}")]
    NotTaken {
        /// For how long.
        bound: Duration,
        /// What it answered last.
        source: Box<DriverError>,
    },
    /// Nothing moved for too long.
    #[error("nothing moved for {bound:?}")]
    StoodStill {
        /// For how long.
        bound: Duration,
        /// What it answered last.
        source: Box<DriverError>,
    },
}

impl DriverError {
    /// Whether another attempt may succeed without anyone's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Silent(_)
            | Self::Busy(_)
            | Self::Lost(_)
            | Self::NotTaken { .. }
            | Self::StoodStill { .. } => true,
            Self::Refused(_) | Self::Unknown(_) | Self::NeedsMore(_) | Self::Canceled => false,
        }
    }
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) model: DeviceModel,
    /// What runs now.
    pub(crate) running: FirmwareRevision,
}

/// What a device does with an image that it has wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It keeps it until it is told to run it.
    Staged,
    /// It begins to run it by itself.
    Starts,
}

/// A device that carries firmware.
#[async_trait]
pub(crate) trait Driver: Send + Sync {
    /// Who it is and what it runs. Changes nothing.
    async fn identify(&self) -> Result<Identity, DriverError>;
    /// Whether it does its work: it is not on its way up. Changes nothing.
    async fn ready(&self) -> Result<(), DriverError>;
    /// Brings it an image, and tells how far. Returns when the image is wholly there and proven by the device.
    async fn write(&self, image: &Image, told: &Told<'_>) -> Result<Written, DriverError>;
    /// Makes it run what it keeps. Returns when that has begun, or may have.
    async fn activate(&self) -> Result<(), DriverError>;
}
