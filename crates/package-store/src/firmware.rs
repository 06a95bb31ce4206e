//! Firmware packages: zip or tgz files of images, signed by a manifest among them.
//!
//! They are small and come whole before they are looked at, since a zip is read from its end. What is in one is
//! read from its content, never from who sent it. The format is `docs/firmware.md`.

mod brought;
mod build;
mod build_error;
mod container;
mod error;
mod held;
mod image;
mod intake;
mod prove;
mod recognise;
mod zip_write;

pub(crate) use brought::prove_brought;
pub use build::{BuiltFirmware, FirmwareBuild, build_firmware};
pub use build_error::FirmwareBuildError;
pub use error::FirmwareError;
pub use held::StoredFirmware;
pub(crate) use held::read_firmware;
pub use image::{ImageError, OpenImage};
pub use intake::{FirmwareStageError, FirmwareStaging, TakenIn};
pub use prove::{SignedFirmware, read_unproven_firmware, verify_firmware};
pub use recognise::{FRONT_BYTES, Recognised, recognise};
