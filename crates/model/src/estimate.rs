//! How long an update would take, and who would stand alone when.

use serde::{Deserialize, Serialize};

use crate::id::NodeName;
use crate::plan::PlanMode;

/// The estimate of a plan. Seconds are seconds of 60-second minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEstimate {
    /// How the nodes take turns.
    pub mode: PlanMode,
    /// The pre-update checks.
    pub pre_checks_s: u32,
    /// The updates, as they usually go.
    pub updates_s: u32,
    /// The updates, when things are slow: nine in ten take no longer.
    pub updates_p90_s: u32,
    /// The post-update checks.
    pub post_checks_s: u32,
    /// Data is not served for a part of the time.
    pub disruptive: bool,
    /// What happens when.
    pub moments: Vec<Moment>,
}

/// A span of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds from the beginning of the updates.
    pub start_s: u32,
    /// How long, usually.
    pub seconds: u32,
    /// How long when things are slow.
    pub p90_s: u32,
    /// What happens.
    pub what: String,
    /// The nodes it happens to.
    pub nodes: Vec<NodeName>,
    /// Pairs that stand on one controller meanwhile.
    pub alone: Vec<Alone>,
}

/// A pair on one controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alone {
    /// The one that serves for both.
    pub serving: NodeName,
    /// The one that is away.
    pub away: NodeName,
}
