//! Devices that carry firmware: drives, the I/O modules of shelves, service processors. They take the
//! commands of the standards, keep what they were given, and can fail in every way that matters.
//!
//! Each device is a small state machine of its own ([`sas`], [`nvme`], [`ses`], [`processor`]) over a
//! [`memory`]; [`bay`] holds them all, [`groups`] watches over redundancy, [`act`] is the door for calls.

mod act;
mod bay;
mod call;
mod fault;
mod groups;
mod image;
mod look;
mod memory;
mod nvme;
mod processor;
mod sas;
mod scsi;
mod ses;

pub use bay::UnknownDevice;
pub(super) use bay::{Bay, MODULES, shelf_of};
pub use fault::DeviceFault;
pub use groups::Harm;
pub use image::{ImageKind, firmware_image, newer_firmware};
