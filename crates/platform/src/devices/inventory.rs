//! What carries firmware, where it is, and who may touch it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_model::{DeviceModel, DiskSerial, NodeName, PoolHealth, PoolName};
use serde::{Deserialize, Serialize};

use super::nvme::NvmeAdmin;
use super::redfish::Redfish;
use super::scsi::ScsiDevice;
use crate::traits::PlatformError;

/// Names a device that carries firmware.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceId {
    /// A drive.
    Drive(DiskSerial),
    /// An I/O module of a shelf.
    Module {
        /// The shelf's name or serial number.
        shelf: String,
        /// The module's place in it ("A", "B").
        module: String,
    },
    /// A node's service processor.
    Processor(NodeName),
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drive(serial) => write!(f, "disk {serial}"),
            Self::Module { shelf, module } => write!(f, "module {module} of shelf {shelf}"),
            Self::Processor(node) => write!(f, "the service processor of {node}"),
        }
    }
}

/// Drives that stand in for each other: a RAID group, a pool's vdev.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId {
    /// The pool that it is part of.
    pub pool: PoolName,
    /// Which part of it, from zero.
    pub number: u8,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/rg{}", self.pool, self.number)
    }
}

/// A group as the node that asks sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// The node that serves it now, if any: nobody else may touch its drives.
    pub owner: Option<NodeName>,
    /// Its redundancy, all causes together.
    pub health: PoolHealth,
    /// Members that do not take part now.
    pub out: Vec<DiskSerial>,
}

/// A drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// Which.
    pub serial: DiskSerial,
    /// What it calls itself.
    pub model: DeviceModel,
    /// How it is spoken to.
    pub transport: DriveTransport,
    /// The node that may touch it now; none while nobody serves it.
    pub owner: Option<NodeName>,
    /// What it is used for.
    pub place: DrivePlace,
    /// Whether it is used now.
    pub state: DriveState,
    /// The ways from this node to it, those that do not work included.
    pub paths: Vec<DrivePath>,
}

/// How a drive is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveTransport {
    /// By SCSI commands.
    Scsi,
    /// By NVMe admin commands.
    Nvme,
}

/// What a drive is used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrivePlace {
    /// Nothing yet: it stands by.
    Spare,
    /// It holds data of this group.
    Member(GroupId),
}

impl DrivePlace {
    /// The group, if it is in one.
    pub fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Spare => None,
            Self::Member(group) => Some(group),
        }
    }
}

/// Whether a drive is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveState {
    /// In its place.
    Online,
    /// Taken out of its group for a while, by [`Devices::take_offline`].
    Offline,
    /// Broken.
    Failed,
}

/// A way from a node to a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrivePath {
    /// Through this shelf's
    pub shelf: String,
    /// I/O module.
    pub module: String,
    /// It works now.
    pub works: bool,
}

/// An I/O module of a shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShelfIoModule {
    /// The shelf.
    pub shelf: String,
    /// The module's place in it.
    pub module: String,
    /// What it calls itself.
    pub model: DeviceModel,
    /// The node that looks after the shelf now. Both see it.
    pub owner: Option<NodeName>,
    /// It answers this node.
    pub ok: bool,
}

/// A node's service processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processor {
    /// Whose.
    pub node: NodeName,
    /// What its type is called.
    pub model: DeviceModel,
}

/// Which drive is to leave its group for a while, or to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineRequest {
    /// The drive.
    pub drive: DiskSerial,
    /// The group that it is thought to be in. Another one is refused.
    pub group: GroupId,
}

/// A device that takes SCSI commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScsiTarget {
    /// A drive.
    Drive(DiskSerial),
    /// The enclosure process on a shelf's module.
    Module {
        /// The shelf.
        shelf: String,
        /// The module.
        module: String,
    },
}

/// A node's hardware that carries firmware.
#[async_trait]
pub trait Devices: Send + Sync {
    /// Drives that this node sees.
    async fn drives(&self) -> Result<Vec<Drive>, PlatformError>;
    /// The groups that drives it sees are in.
    async fn groups(&self) -> Result<Vec<Group>, PlatformError>;
    /// The I/O modules of the shelves that it sees.
    async fn modules(&self) -> Result<Vec<ShelfIoModule>, PlatformError>;
    /// Its service processor; none where it has none.
    async fn processor(&self) -> Result<Option<Processor>, PlatformError>;

    /// Takes a drive out of its group for a while: what is written meanwhile is logged, and caught up on
    /// return. Changes nothing when it is out already. Refused unless this node serves the group and the
    /// drive is in it. **Whether the group can bear it the caller must know**: a tool such as `mdadm` does
    /// as it is told.
    async fn take_offline(&self, request: &OfflineRequest) -> Result<(), PlatformError>;
    /// Gives a drive back to its group, which then catches up. Changes nothing when it is in already.
    /// Unavailable while the drive does not answer.
    async fn bring_online(&self, request: &OfflineRequest) -> Result<(), PlatformError>;
    /// Reads from a drive, past every cache. Refused when what comes back is not what was asked for.
    async fn read_test(&self, drive: &DiskSerial) -> Result<(), PlatformError>;

    /// A way to send SCSI commands to a device.
    fn scsi(&self, target: &ScsiTarget) -> Box<dyn ScsiDevice + '_>;
    /// A way to send NVMe admin commands to a drive.
    fn nvme(&self, drive: &DiskSerial) -> Box<dyn NvmeAdmin + '_>;
    /// A way to this node's service processor.
    fn redfish(&self) -> Box<dyn Redfish + '_>;
}

/// A shared view of a node's devices.
pub type SharedDevices = Arc<dyn Devices>;
