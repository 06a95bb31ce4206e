//! What a node knows of the firmware of its devices, and of the work on it.

use serde::{Deserialize, Serialize};

use crate::id::{DeviceModel, FirmwareRevision};
use crate::time::WallTime;

use super::{DeviceFirmware, RecordCounts};

/// The firmware of a node's devices. Asked for from time to time, not at every look; what did not answer is left
/// out of `devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareStatus {
    /// Devices that the node may bring up to date, and what they run.
    #[serde(default)]
    pub devices: Vec<DeviceFirmware>,
    /// An order is under way: something is written, or waits to be.
    #[serde(default)]
    pub at_work: bool,
    /// What is done just now, a line for each device: `disk a-D3: writing, 40 of 100`.
    #[serde(default)]
    pub work: Vec<String>,
    /// Disks that wait for their turn in the work under way.
    #[serde(default)]
    pub disks_waiting: u32,
    /// How long a disk took, on average since the daemon began, in seconds.
    #[serde(default)]
    pub seconds_per_disk: Option<u32>,
    /// Shelves that are worked on.
    #[serde(default)]
    pub shelves_in_progress: u32,
    /// The service processor; none where the node has none that answered yet.
    #[serde(default)]
    pub processor: Option<ProcessorFirmware>,
    /// The disk qualification package in place; none before the first.
    #[serde(default)]
    pub qualification: Option<QualificationInPlace>,
    /// Disks that it does not qualify as they are; none while none is in place.
    #[serde(default)]
    pub unqualified: Vec<UnqualifiedDisk>,
}

/// A disk that the disk qualification package does not know, or knows with a newer revision only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnqualifiedDisk {
    /// Its serial number.
    pub disk: String,
    /// Its model.
    pub model: DeviceModel,
    /// What it runs.
    pub runs: FirmwareRevision,
    /// The oldest revision that is qualified; none where the model is not known.
    pub minimum: Option<FirmwareRevision>,
}

/// A service processor's firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorFirmware {
    /// It is a baseboard management controller, not a service processor.
    pub is_bmc: bool,
    /// What it runs; none while it does not say.
    pub running: Option<FirmwareRevision>,
    /// How far the work on it is, while there is any.
    pub percent: Option<u8>,
    /// When the newest work on it began; none since the daemon began.
    pub started: Option<WallTime>,
    /// When that ended, and whether it runs the new firmware.
    pub ended: Option<(WallTime, bool)>,
}

/// A disk qualification package on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualificationInPlace {
    /// Name of its file in the package.
    pub file: String,
    /// Its version, as `3.18`.
    pub version: String,
    /// Its revision, a day.
    pub revision: FirmwareRevision,
    /// How many records it has.
    pub records: RecordCounts,
}
