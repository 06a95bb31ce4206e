//! Traits to hardware that carries firmware: drives, the I/O modules of shelves, service processors.
//!
//! [`Devices`] says what there is, takes a drive out of its group for a while, and opens the three
//! transports: [`ScsiDevice`] (SAS drives, and enclosures through their diagnostic pages), [`NvmeAdmin`]
//! and [`Redfish`]. They carry the commands of the standards, byte for byte, and judge none of them: what
//! to send, and what an answer means, is the business of whoever drives the device.

mod bytes;
mod inventory;
mod nvme;
mod redfish;
mod scsi;

pub use inventory::{
    DeviceId, Devices, Drive, DrivePath, DrivePlace, DriveState, DriveTransport, Group, GroupId,
    OfflineRequest, Processor, ScsiTarget, SharedDevices, ShelfIoModule,
};
pub use nvme::{NvmeAdmin, NvmeCommand, NvmeCompletion, NvmeReset, admin};
pub use redfish::{
    REDFISH_PUSH, Redfish, RedfishBody, RedfishMethod, RedfishReply, RedfishRequest,
};
pub use scsi::{ScsiCommand, ScsiData, ScsiDevice, ScsiReply, opcode, status};
