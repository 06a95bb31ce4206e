//! The firmware of a node's devices, as `nodes.firmware` of `GET /cluster/software` shows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::firmware::WorkerState;
use crate::{JobRef, NodeRef};

/// What is known of the firmware of a node's devices. What the node has not said is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeFirmware {
    /// Firmware updates of the cluster: the newest of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_fw_progress: Vec<FirmwareProgress>,
    /// Its disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskFirmware>,
    /// The disk qualification package in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dqp: Option<Dqp>,
    /// The modules of its shelves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf: Option<ShelfFirmware>,
    /// Its service processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sp_bmc: Option<SpBmc>,
}

/// A firmware update of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareProgress {
    /// Its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRef>,
    /// The file that it came in.
    pub zip_file_name: String,
    /// The workers, one on each node.
    pub update_states: Vec<FirmwareWorkerProgress>,
    /// The same, under the name that the document's examples and later clients have for it.
    pub update_state: Vec<FirmwareWorkerProgress>,
}

/// How far a node's worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareWorkerProgress {
    /// Tries so far.
    pub attempts: u32,
    /// For programs; 0 while nothing is wrong.
    pub code: u32,
    /// For people.
    pub message: String,
    /// What it does.
    pub status: WorkerState,
    /// Where.
    pub worker_node: NodeRef,
}

/// Whether devices of a kind are being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum UpdateStatus {
    Running,
    Idle,
}

/// The disks of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskFirmware {
    /// Seconds.
    pub average_duration_per_disk: u32,
    /// Disks that wait for their turn.
    pub num_waiting_download: u32,
    /// Minutes until all of them are done.
    pub total_completion_estimate: u32,
    /// Whether one is being written.
    pub update_status: UpdateStatus,
}

/// The modules of a node's shelves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShelfFirmware {
    /// Shelves that are being worked on.
    pub in_progress_count: u32,
    /// Whether any is.
    pub update_status: UpdateStatus,
}

/// A disk qualification package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dqp {
    /// Name of its file.
    pub file_name: String,
    /// How many records it has.
    pub record_count: DqpRecords,
    /// A day.
    pub revision: String,
    /// Its version.
    pub version: String,
}

/// Numbers of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub struct DqpRecords {
    pub alias: u32,
    pub device: u32,
    pub drive: u32,
    pub system: u32,
}

/// What a service processor is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum ProcessorType {
    SP,
    BMC,
}

/// Which of its images a service processor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum ProcessorImage {
    Primary,
    Backup,
}

/// How the last update of a service processor went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum LastUpdateState {
    Passed,
    Failed,
}

/// What a service processor's image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum ProcessorImageState {
    Installed,
    Corrupt,
    Updating,
    Autoupdating,
    None,
}

/// A service processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpBmc {
    /// The document's spelling. Packages that come in update it.
    pub autoupdte: bool,
    /// What it is called.
    pub fw_type: ProcessorType,
    /// Which image it runs.
    pub image: ProcessorImage,
    /// Whether it is being written.
    pub in_progress: bool,
    /// Whether the image is the one that it runs.
    pub is_current: bool,
    /// How the last update went; absent before any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_state: Option<LastUpdateState>,
    /// How far it is; 100 when nothing is under way.
    pub percent_done: u8,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_version: Option<String>,
    /// When the last update began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub start_time: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// What its image is.
    pub state: ProcessorImageState,
}
