//! What devices run, for whoever decides what is to be done. One look, without patience: what does not answer now
//! is not known.

use evenkeel_model::FirmwareRevision;
use evenkeel_platform::devices::{Devices, Drive, ScsiTarget, ShelfIoModule};

use crate::disk::driver;
use crate::driver::{Driver, DriverError};
use crate::limits::Limits;
use crate::redfish::Manager;
use crate::ses::Enclosure;

/// What a disk runs.
///
/// # Errors
/// Why it does not say.
pub async fn revision_of_drive(
    devices: &dyn Devices,
    drive: &Drive,
) -> Result<FirmwareRevision, DriverError> {
    let limits = Limits::default();
    let driver = driver(devices, drive, &limits);
    Ok(driver.identify().await?.running)
}

/// What a shelf's module runs.
///
/// # Errors
/// Why it does not say.
pub async fn revision_of_module(
    devices: &dyn Devices,
    module: &ShelfIoModule,
) -> Result<FirmwareRevision, DriverError> {
    let target = ScsiTarget::Module {
        shelf: module.shelf.clone(),
        module: module.module.clone(),
    };
    let limits = Limits::default();
    let driver = Enclosure::new(devices.scsi(&target), &limits);
    Ok(driver.identify().await?.running)
}

/// What the node's service processor runs.
///
/// # Errors
/// Why it does not say.
pub async fn revision_of_processor(devices: &dyn Devices) -> Result<FirmwareRevision, DriverError> {
    let limits = Limits::default();
    let driver = Manager::new(devices.redfish(), &limits);
    Ok(driver.identify().await?.running)
}
