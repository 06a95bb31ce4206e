//! Workers that bring firmware up to date while data is served: disks, the I/O modules of shelves, service
//! processors, the disk qualification package.
//!
//! A worker is one linear function over [`evenkeel_platform::devices`]: look (already done? refuse?), prepare,
//! write, activate, read back. It records each step in a [`Journal`] before the step's effect, so that it can
//! be killed at any instant and run again: it then goes on from what it finds at the device. It is bounded by
//! the lack of progress, never by time in all, and tells its progress as it goes. Which disk is next is decided
//! by [`select`], which does no I/O.
//!
//! [`NodeFirmware`] starts them for whole packages, as a node is ordered to. Who starts workers runs one again, with the same journal, for every device whose newest step
//! [is open](Step::is_open): it may have a disk out of its group.
//!
//! The revision that *runs* is what counts: an image that a device took and did not start is not success.

mod disk;
mod driver;
mod error;
mod flash;
mod image;
mod journal;
mod limits;
mod look;
mod node;
mod nvme;
mod patience;
mod pieces;
mod progress;
mod qualification;
mod redfish;
mod renew;
mod scsi;
mod sense;
mod service_processor;
mod ses;
mod shelf;

pub mod select;

pub use disk::renew_disk;
pub use driver::DriverError;
pub use error::{
    FirmwareError, IMAGE_COPY_FAILED, IMAGE_OPEN_FAILED, NODE_UPDATE_FAILED, WORKER_START_FAILED,
};
pub use flash::Flash;
pub use image::Image;
pub use journal::{Journal, JournalError, Phase, Step};
pub use limits::Limits;
pub use look::{revision_of_drive, revision_of_module, revision_of_processor};
pub use node::{
    DeviceFailure, DeviceStep, FirmwareOrder, Images, ImagesError, NodeFirmware, NodeFirmwareParts,
    NodeJournal, PackedImage, WorkError, WorkId,
};
pub use progress::FlashProgress;
pub use qualification::{
    QualificationFolder, QualificationMark, QualificationStore, renew_qualification,
};
pub use service_processor::renew_processor;
pub use shelf::renew_shelf;
