//! Firmware as a worker gets it.

use std::sync::Arc;

use evenkeel_model::{DeviceModel, FirmwareRevision};

/// One verified image for one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The model that it is for.
    pub model: DeviceModel,
    /// The revision that a device runs with it.
    pub revision: FirmwareRevision,
    /// Its bytes, exactly as the device is to get them. Shared: a service processor's has dozens of megabytes.
    pub bytes: Arc<Vec<u8>>,
}

impl Image {
    /// Whether a device that runs `running` has nothing to gain from it.
    pub fn is_no_newer_than(&self, running: &FirmwareRevision) -> bool {
        running.order(&self.revision).is_ge()
    }
}
