//! What is asked of devices, and what they answer.

use evenkeel_model::DiskSerial;
use serde::{Deserialize, Serialize};

use crate::devices::{
    Drive, Group, NvmeCommand, NvmeCompletion, NvmeReset, OfflineRequest, Processor, RedfishReply,
    RedfishRequest, ScsiCommand, ScsiReply, ScsiTarget, ShelfIoModule,
};

/// One call of [`crate::devices::Devices`] or of a transport that it opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "device", rename_all = "snake_case")]
pub enum DeviceCall {
    /// [`crate::devices::Devices::drives`].
    Drives,
    /// [`crate::devices::Devices::groups`].
    Groups,
    /// [`crate::devices::Devices::modules`].
    Modules,
    /// [`crate::devices::Devices::processor`].
    Processor,
    /// [`crate::devices::Devices::take_offline`].
    TakeOffline(OfflineRequest),
    /// [`crate::devices::Devices::bring_online`].
    BringOnline(OfflineRequest),
    /// [`crate::devices::Devices::read_test`].
    ReadTest {
        /// Of which drive.
        drive: DiskSerial,
    },
    /// [`crate::devices::ScsiDevice::execute`].
    Scsi {
        /// By which device.
        target: ScsiTarget,
        /// What.
        command: ScsiCommand,
    },
    /// [`crate::devices::NvmeAdmin::submit`].
    Nvme {
        /// By which drive.
        drive: DiskSerial,
        /// What.
        command: NvmeCommand,
    },
    /// [`crate::devices::NvmeAdmin::reset`].
    NvmeReset {
        /// Of which drive.
        drive: DiskSerial,
        /// How far.
        reset: NvmeReset,
    },
    /// [`crate::devices::Redfish::send`].
    Redfish(RedfishRequest),
}

/// The answer to a [`DeviceCall`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "device", content = "value", rename_all = "snake_case")]
pub enum DeviceReply {
    /// It was done, or had been before.
    Done,
    /// To [`DeviceCall::Drives`].
    Drives(Vec<Drive>),
    /// To [`DeviceCall::Groups`].
    Groups(Vec<Group>),
    /// To [`DeviceCall::Modules`].
    Modules(Vec<ShelfIoModule>),
    /// To [`DeviceCall::Processor`].
    Processor(Option<Processor>),
    /// To [`DeviceCall::Scsi`].
    Scsi(ScsiReply),
    /// To [`DeviceCall::Nvme`].
    Nvme(NvmeCompletion),
    /// To [`DeviceCall::Redfish`].
    Redfish(RedfishReply),
}
