//! How long things are expected to take. The constants reproduce the published examples: 600 s of
//! checks, 780 s of install, and for each node 960 s plus twice the stabilize time.

use std::time::Duration;

use evenkeel_model::{Action, Plan};

use crate::bounds::Tunables;

/// Expected seconds of the pre-update checks, in 60-second minutes.
pub const PRE_CHECKS_S: u32 = 600;
/// Expected seconds of the post-update checks, in 60-second minutes.
pub const POST_CHECKS_S: u32 = 600;

/// Expected seconds of a task, in 60-second minutes.
pub(crate) fn task_seconds(action: &Action) -> u32 {
    match action {
        Action::Install { .. } => 780,
        Action::Activate { .. } | Action::Deactivate | Action::MarkGood => 10,
        Action::Takeover => 120,
        Action::AwaitBoot { .. } => 640,
        Action::Stabilize { minutes, .. } => minutes * 60,
        Action::Giveback => 120,
        Action::VerifyHome { .. } => 60,
        // A clean shutdown; the boot is awaited for itself.
        Action::Reboot => 120,
        Action::Gate { gates } => gates.hold_minutes * 60,
        Action::GateScript { .. } => 10,
        // A disk takes two minutes on average; how many a node has is not known here.
        Action::Firmware { .. } => 600,
    }
}

/// Expected durations of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Pre-update checks.
    pub pre_checks: Duration,
    /// Data ONTAP updates: lanes side by side, steps one after the other.
    pub updates: Duration,
    /// Post-update checks.
    pub post_checks: Duration,
}

/// Estimates a plan; `minute` scales it.
pub fn estimate(plan: &Plan, tunables: &Tunables) -> Estimate {
    let scale = |seconds: u32| tunables.minute * seconds / 60;
    let lane = |lane: &evenkeel_model::Lane| lane.tasks.iter().map(|t| t.estimate_s).sum::<u32>();
    let steps = plan
        .steps
        .iter()
        .map(|step| step.lanes.iter().map(lane).max().unwrap_or(0));
    Estimate {
        pre_checks: scale(PRE_CHECKS_S),
        updates: scale(steps.sum()),
        post_checks: scale(POST_CHECKS_S),
    }
}
