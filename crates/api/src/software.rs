//! `GET /cluster/software` and what `PATCH` takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node_firmware::NodeFirmware;
use crate::resource::{Field, Identity, Resource, fields};

/// State of an update or validation, of one phase, or of one node's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the API's words, which say it")]
pub enum UpdateState {
    InProgress,
    Waiting,
    PausedByUser,
    PausedOnError,
    Completed,
    Canceled,
    Failed,
    PausePending,
    CancelPending,
}

impl UpdateState {
    /// The word, as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Waiting => "waiting",
            Self::PausedByUser => "paused_by_user",
            Self::PausedOnError => "paused_on_error",
            Self::Completed => "completed",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
            Self::PausePending => "pause_pending",
            Self::CancelPending => "cancel_pending",
        }
    }
}

impl std::fmt::Display for UpdateState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a user asks of a running update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Stop at the next pause point.
    Pause,
    /// Go on.
    Resume,
    /// End the update and go back where it can.
    Cancel,
}

/// The software of the cluster and the update in progress or last done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Software {
    /// The active version. During an update still the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version an update or validation in progress is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_version: Option<String>,
    /// The last action asked for by a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// State of the update or validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<UpdateState>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_duration: Option<u64>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration: Option<u64>,
    /// Every node; name and version always present.
    #[serde(default)]
    pub nodes: Vec<SoftwareNode>,
    /// Problems found before. Present and empty when a validation found none; absent before any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_results: Option<Vec<ValidationResult>>,
    /// Problems found after the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_update_checks: Option<Vec<ValidationResult>>,
    /// What each node is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<Vec<StatusDetails>>,
    /// Phases per node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_details: Option<Vec<UpdateDetails>>,
    /// Its sites, where the cluster spans some; absent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrocluster: Option<Metrocluster>,
}

/// The sites of a cluster that spans some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metrocluster {
    /// Every site.
    pub clusters: Vec<MetroclusterSite>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_summary: Option<ProgressText>,
    /// What goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_details: Option<ProgressText>,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetroclusterSite {
    /// Its name.
    pub name: String,
    /// State of the update or validation there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<UpdateState>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration: Option<u64>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_duration: Option<u64>,
}

/// A sentence about progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressText {
    /// For people.
    pub message: String,
}

/// One node's software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SoftwareNode {
    /// Its name.
    pub name: String,
    /// What its booted slot's manifest says.
    pub version: String,
    /// The firmware of its devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<NodeFirmware>,
    /// The packages it holds, or pulls as soon as it is up. An array of objects as in the document makes the Python clients fail the whole
    /// `GET`, so this is given only when asked for by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_images: Option<Vec<SoftwareImage>>,
}

/// An image on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SoftwareImage {
    /// File name: the version, and what such files end with.
    pub package: String,
}

/// How bad a check's finding is. What is fine is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Can be skipped with `skip_warnings`.
    Warning,
    /// Stops the update.
    Error,
}

/// A finding of a check. `update_check` and `status` together are unique in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValidationResult {
    /// Name of the check.
    pub update_check: String,
    /// How bad.
    pub status: CheckStatus,
    /// What was found.
    pub issue: Issue,
    /// What to do about it.
    pub action: Advice,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issue {
    /// For people.
    pub message: String,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// For people.
    pub message: String,
}

/// One step of one node. Name, state, node and start time together are unique in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusDetails {
    /// Name of the step.
    pub name: String,
    /// Its state.
    pub state: UpdateState,
    /// What is going on, or went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<StatusIssue>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<StatusAdvice>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub start_time: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// Where.
    pub node: NodeName,
}

/// What is going on, or went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusIssue {
    /// For people.
    pub message: String,
    /// For programs; 0 = success.
    pub code: u32,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusAdvice {
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
}

/// A node, by name only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeName {
    /// Its name. Monitoring skips entries without one.
    pub name: String,
}

/// One phase of one node. Phase, state and node together are unique in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpdateDetails {
    /// `Pre-update checks`, `Data ONTAP updates` or `Post-update checks`.
    pub phase: String,
    /// Its state.
    pub state: UpdateState,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration: Option<u64>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_duration: Option<u64>,
    /// Where.
    pub node: NodeName,
}

impl Resource for Software {
    const PATH: &'static str = "/api/cluster/software";
    const IDENTITY: Identity = Identity::Singleton;
    const FIELDS: &'static [Field] = fields![
        "version", "pending_version", "action", "state", "elapsed_duration", "estimated_duration",
        "nodes.name", "nodes.version",
        "validation_results.update_check", "validation_results.status",
        "validation_results.issue.message", "validation_results.action.message",
        "post_update_checks.update_check", "post_update_checks.status",
        "post_update_checks.issue.message", "post_update_checks.action.message",
        "status_details.name", "status_details.state", "status_details.issue.message",
        "status_details.issue.code", "status_details.action.message", "status_details.action.code",
        "status_details.start_time", "status_details.end_time", "status_details.node.name",
        "update_details.phase", "update_details.state", "update_details.estimated_duration",
        "update_details.elapsed_duration", "update_details.node.name",
        "metrocluster.clusters.name", "metrocluster.clusters.state",
        "metrocluster.clusters.estimated_duration", "metrocluster.clusters.elapsed_duration",
        "metrocluster.progress_summary.message", "metrocluster.progress_details.message",
        "nodes.firmware.cluster_fw_progress.job.uuid",
        "nodes.firmware.cluster_fw_progress.zip_file_name",
        "nodes.firmware.cluster_fw_progress.update_states.attempts",
        "nodes.firmware.cluster_fw_progress.update_states.code",
        "nodes.firmware.cluster_fw_progress.update_states.message",
        "nodes.firmware.cluster_fw_progress.update_states.status",
        "nodes.firmware.cluster_fw_progress.update_states.worker_node.name",
        "nodes.firmware.cluster_fw_progress.update_states.worker_node.uuid",
        "nodes.firmware.cluster_fw_progress.update_state.attempts",
        "nodes.firmware.cluster_fw_progress.update_state.code",
        "nodes.firmware.cluster_fw_progress.update_state.message",
        "nodes.firmware.cluster_fw_progress.update_state.status",
        "nodes.firmware.cluster_fw_progress.update_state.worker_node.name",
        "nodes.firmware.cluster_fw_progress.update_state.worker_node.uuid",
        "nodes.firmware.disk.average_duration_per_disk",
        "nodes.firmware.disk.num_waiting_download",
        "nodes.firmware.disk.total_completion_estimate",
        "nodes.firmware.disk.update_status",
        "nodes.firmware.dqp.file_name",
        "nodes.firmware.dqp.record_count.alias",
        "nodes.firmware.dqp.record_count.device",
        "nodes.firmware.dqp.record_count.drive",
        "nodes.firmware.dqp.record_count.system",
        "nodes.firmware.dqp.revision",
        "nodes.firmware.dqp.version",
        "nodes.firmware.shelf.in_progress_count",
        "nodes.firmware.shelf.update_status",
        "nodes.firmware.sp_bmc.autoupdte",
        "nodes.firmware.sp_bmc.end_time",
        "nodes.firmware.sp_bmc.fw_type",
        "nodes.firmware.sp_bmc.image",
        "nodes.firmware.sp_bmc.in_progress",
        "nodes.firmware.sp_bmc.is_current",
        "nodes.firmware.sp_bmc.last_update_state",
        "nodes.firmware.sp_bmc.percent_done",
        "nodes.firmware.sp_bmc.running_version",
        "nodes.firmware.sp_bmc.start_time",
        "nodes.firmware.sp_bmc.state";
        expensive "nodes.software_images.package";
        unset "nodes.firmware.cluster_fw_progress.update_state.attempts",
        "nodes.firmware.cluster_fw_progress.update_state.code",
        "nodes.firmware.cluster_fw_progress.update_state.message",
        "nodes.firmware.cluster_fw_progress.update_state.status",
        "nodes.firmware.cluster_fw_progress.update_state.worker_node.name",
        "nodes.firmware.cluster_fw_progress.update_state.worker_node.uuid",
        "nodes.firmware.sp_bmc.autoupdate"
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerState;
    use crate::node_firmware::*;

    #[test]
    fn states_are_shown_as_on_the_wire() {
        let shown = UpdateState::PausedOnError;
        assert_eq!(serde_json::to_value(shown).unwrap(), shown.as_str());
    }

    fn full_firmware() -> NodeFirmware {
        let working = FirmwareWorkerProgress {
            attempts: 1,
            code: 0,
            message: "m".into(),
            status: WorkerState::Working,
            worker_node: crate::NodeRef::new("n", "u"),
        };
        NodeFirmware {
            cluster_fw_progress: vec![FirmwareProgress {
                job: Some(crate::JobLink::new("j").job),
                zip_file_name: "f.zip".into(),
                update_states: vec![working.clone()],
                update_state: vec![working],
            }],
            disk: Some(DiskFirmware {
                average_duration_per_disk: 120,
                num_waiting_download: 1,
                total_completion_estimate: 2,
                update_status: UpdateStatus::Running,
            }),
            dqp: Some(Dqp {
                file_name: "qual_devices_v3".into(),
                record_count: DqpRecords {
                    alias: 1,
                    device: 1,
                    drive: 1,
                    system: 1,
                },
                revision: "20200117".into(),
                version: "3.18".into(),
            }),
            shelf: Some(ShelfFirmware {
                in_progress_count: 1,
                update_status: UpdateStatus::Idle,
            }),
            sp_bmc: Some(SpBmc {
                autoupdte: true,
                fw_type: ProcessorType::BMC,
                image: ProcessorImage::Primary,
                in_progress: false,
                is_current: true,
                last_update_state: Some(LastUpdateState::Passed),
                percent_done: 100,
                running_version: Some("1".into()),
                start_time: Some("t".into()),
                end_time: Some("t".into()),
                state: ProcessorImageState::Installed,
            }),
        }
    }

    #[test]
    fn every_field_is_listed() {
        let check = ValidationResult {
            update_check: "c".into(),
            status: CheckStatus::Warning,
            issue: Issue {
                message: "i".into(),
            },
            action: Advice {
                message: "a".into(),
            },
        };
        let full = Software {
            version: Some("1".into()),
            pending_version: Some("2".into()),
            action: Some(Action::Pause),
            state: Some(UpdateState::PausedOnError),
            elapsed_duration: Some(1),
            estimated_duration: Some(2),
            nodes: vec![SoftwareNode {
                name: "n".into(),
                version: "1".into(),
                firmware: Some(full_firmware()),
                software_images: Some(vec![SoftwareImage {
                    package: "p".into(),
                }]),
            }],
            validation_results: Some(vec![check.clone()]),
            post_update_checks: Some(vec![check]),
            status_details: Some(vec![StatusDetails {
                name: "initialize".into(),
                state: UpdateState::Failed,
                issue: Some(StatusIssue {
                    message: "i".into(),
                    code: 1,
                }),
                action: Some(StatusAdvice {
                    message: "a".into(),
                    code: Some(1),
                }),
                start_time: Some("t".into()),
                end_time: Some("t".into()),
                node: NodeName { name: "n".into() },
            }]),
            update_details: Some(vec![UpdateDetails {
                phase: "p".into(),
                state: UpdateState::Waiting,
                estimated_duration: Some(1),
                elapsed_duration: Some(1),
                node: NodeName { name: "n".into() },
            }]),
            metrocluster: Some(Metrocluster {
                clusters: vec![MetroclusterSite {
                    name: "a".into(),
                    state: Some(UpdateState::Waiting),
                    estimated_duration: Some(1),
                    elapsed_duration: Some(1),
                }],
                progress_summary: Some(ProgressText {
                    message: "s".into(),
                }),
                progress_details: Some(ProgressText {
                    message: "d".into(),
                }),
            }),
        };
        crate::resource::assert_fields_complete(&full);
    }
}
