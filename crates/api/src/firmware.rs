//! Updates of firmware, as far as they are over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::{Field, Identity, Resource, fields};
use crate::{JobRef, NodeRef};

/// How far a firmware update of one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum FirmwareUpdateState {
    Downloading,
    MovingFirmware,
    StartingWorkers,
    WaitingOnWorkers,
    Completed,
    Failed,
}

/// What a worker of a firmware update does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum WorkerState {
    Idle,
    Working,
    Complete,
    Failed,
    WaitingToRetry,
}

/// One file of firmware that was brought in by one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareHistory {
    /// Its job.
    pub job: JobRef,
    /// The node that took the file in.
    pub node: NodeRef,
    /// The file.
    pub fw_file_name: String,
    /// How far it is.
    pub fw_update_state: FirmwareUpdateState,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    pub start_time: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// The workers, one on each node.
    pub update_status: Vec<FirmwareWorkerStatus>,
}

/// An element of `update_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareWorkerStatus {
    /// The worker.
    pub worker: FirmwareWorker,
}

/// A worker of a firmware update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareWorker {
    /// Where.
    pub node: NodeRef,
    /// What it does.
    pub state: WorkerState,
    /// How it went; code 0 is success.
    pub error: FirmwareWorkerError,
}

/// How a worker's work went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareWorkerError {
    /// For programs.
    pub code: u32,
    /// For people.
    pub message: String,
}

impl Resource for FirmwareHistory {
    const PATH: &'static str = "/api/cluster/firmware/history";
    const IDENTITY: Identity = Identity::Fields(&["node.name", "start_time"]);
    const FIELDS: &'static [Field] = fields![
        "job.uuid",
        "node.name",
        "node.uuid",
        "fw_file_name",
        "fw_update_state",
        "start_time",
        "end_time",
        "update_status.worker.node.name",
        "update_status.worker.node.uuid",
        "update_status.worker.state",
        "update_status.worker.error.code",
        "update_status.worker.error.message",
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobLink;

    #[test]
    fn every_field_is_listed() {
        crate::resource::assert_fields_complete(&FirmwareHistory {
            job: JobLink::new("j").job,
            node: NodeRef::new("n", "u"),
            fw_file_name: "f.zip".into(),
            fw_update_state: FirmwareUpdateState::WaitingOnWorkers,
            start_time: "t".into(),
            end_time: Some("t".into()),
            update_status: vec![FirmwareWorkerStatus {
                worker: FirmwareWorker {
                    node: NodeRef::new("n", "u"),
                    state: WorkerState::WaitingToRetry,
                    error: FirmwareWorkerError {
                        code: 0,
                        message: "Success".into(),
                    },
                },
            }],
        });
    }
}
