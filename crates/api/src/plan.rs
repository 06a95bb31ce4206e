//! What an update would do: `GET /evenkeel/v1/plan` and `GET /evenkeel/v1/estimates`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ValidationResult;

/// `GET /evenkeel/v1/plan?version=…`: an update as it would go now. Nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanPreview {
    /// The version it would bring.
    pub version: String,
    /// What would be done, unless there is no plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<PlanEstimate>,
    /// Why there is no plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<PlanRefusal>,
    /// What the checks find now.
    pub validation_results: Vec<ValidationResult>,
    /// The same one by one: with which code each would refuse the update, or who acknowledged it.
    #[serde(default)]
    pub findings: Vec<PlanFinding>,
    /// What they would answer to the update now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<PlanRefusal>,
}

/// A finding, and what it means for the update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanFinding {
    /// What was found.
    #[serde(flatten)]
    pub finding: ValidationResult,
    /// The API's code that it refuses the update with; none where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Who knows of it, if someone acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<PlanAcknowledged>,
}

/// Who acknowledged a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanAcknowledged {
    /// Who.
    pub by: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// Why.
    pub reason: String,
}

/// Why an update would not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRefusal {
    /// The API's code.
    pub code: String,
    /// In words.
    pub message: String,
}

/// How long an update takes, and who stands alone when. All durations are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanEstimate {
    /// `rolling`, `batch` or `single_node`.
    pub mode: String,
    /// Data is not served for a part of the time.
    pub disruptive: bool,
    /// Pre-update checks and updates: what `estimated_duration` would begin with.
    pub estimated_duration: u64,
    /// The pre-update checks.
    pub pre_checks_duration: u64,
    /// The updates, as they usually go.
    pub updates_duration: u64,
    /// The updates when things are slow: nine in ten take no longer.
    pub updates_duration_p90: u64,
    /// The post-update checks, which come on top.
    pub post_checks_duration: u64,
    /// What happens when. Empty where it is too much to be recorded: `GET /evenkeel/v1/plan` has it.
    pub moments: Vec<PlanMoment>,
}

/// A span of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanMoment {
    /// Seconds from the beginning of the updates.
    pub start: u64,
    /// How long, usually.
    pub duration: u64,
    /// How long when things are slow.
    pub duration_p90: u64,
    /// What happens.
    pub what: String,
    /// The nodes it happens to, side by side.
    pub nodes: Vec<String>,
    /// Pairs that stand on one controller meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alone: Vec<Alone>,
}

/// A pair on one controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alone {
    /// The one that serves for both.
    pub serving: String,
    /// The one that is away.
    pub away: String,
}

/// `GET /evenkeel/v1/estimates`: every estimate that was asked for, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Estimates {
    /// The estimates.
    pub records: Vec<EstimateRecord>,
    /// How many.
    pub num_records: usize,
}

/// An estimate that was asked for with `estimate_only`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EstimateRecord {
    /// Its operation.
    pub uuid: String,
    /// Its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The version it is about.
    pub version: String,
    /// When it was asked for.
    #[schemars(extend("format" = "date-time"))]
    pub requested_at: String,
    /// By whom.
    pub requested_by: String,
    /// What came out, once it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<PlanEstimate>,
}
