//! What of the API's answer is shown.

use evenkeel_api::{Awaiting, Explain, Software, StatusDetails, UpdateDetails, UpdateState};

/// The update at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) state: Option<UpdateState>,
    /// Phases of nodes, in the API's order.
    pub(crate) parts: Vec<Part>,
    /// What is awaited, in words.
    pub(crate) awaiting: Vec<String>,
    /// What went wrong, in words.
    pub(crate) trouble: Vec<String>,
}

/// One phase of one node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) phase: String,
    pub(crate) node: String,
    pub(crate) state: UpdateState,
    /// 0 to 100.
    pub(crate) percent: u64,
    /// The step under way.
    pub(crate) step: Option<String>,
}

/// The phase that a node's steps belong to; the others have none.
const STEPS_OF: &str = "Data ONTAP updates";

impl Snapshot {
    pub(crate) fn of(software: &Software, explain: &Explain) -> Self {
        let steps = software.status_details.as_deref().unwrap_or_default();
        let details = software.update_details.as_deref().unwrap_or_default();
        let update = explain
            .operations
            .iter()
            .filter(|operation| operation.kind == "update");
        let awaiting = update
            .flat_map(|operation| &operation.waiting)
            .map(wait)
            .collect();
        Self {
            state: software.state,
            parts: details.iter().map(|detail| part(detail, steps)).collect(),
            awaiting,
            trouble: trouble(software, steps),
        }
    }
}

fn part(detail: &UpdateDetails, steps: &[StatusDetails]) -> Part {
    let of_node = |step: &&StatusDetails| step.node.name == detail.node.name;
    let steps: Vec<&StatusDetails> = match detail.phase == STEPS_OF {
        true => steps.iter().filter(of_node).collect(),
        false => Vec::new(),
    };
    let running = steps
        .iter()
        .find(|step| step.state == UpdateState::InProgress);
    let step = running.map(|step| match &step.issue {
        Some(issue) if !issue.message.is_empty() => format!("{}: {}", step.name, issue.message),
        Some(_) | None => step.name.clone(),
    });
    Part {
        phase: detail.phase.clone(),
        node: detail.node.name.clone(),
        state: detail.state,
        percent: percent(detail, &steps),
        step,
    }
}

/// Steps done where there are steps, time passed of time estimated otherwise. 100 only when over.
fn percent(detail: &UpdateDetails, steps: &[&StatusDetails]) -> u64 {
    match detail.state {
        UpdateState::Completed => return 100,
        UpdateState::Waiting => return 0,
        UpdateState::InProgress
        | UpdateState::PausedByUser
        | UpdateState::PausedOnError
        | UpdateState::Canceled
        | UpdateState::Failed
        | UpdateState::PausePending
        | UpdateState::CancelPending => {}
    }
    let done = steps
        .iter()
        .filter(|step| step.state == UpdateState::Completed)
        .count() as u64;
    let by_steps = (done * 100).checked_div(steps.len() as u64).unwrap_or(0);
    let elapsed = detail.elapsed_duration.unwrap_or(0) * 100;
    let by_time = elapsed
        .checked_div(detail.estimated_duration.unwrap_or(0))
        .unwrap_or(0);
    match steps.is_empty() {
        true => by_time.min(99),
        false => by_steps.min(99),
    }
}

fn wait(wait: &Awaiting) -> String {
    match &wait.node {
        Some(node) => format!("{node}: {}", wait.awaiting),
        None => wait.awaiting.clone(),
    }
}

fn trouble(software: &Software, steps: &[StatusDetails]) -> Vec<String> {
    let failed = steps.iter().filter(|step| match step.state {
        UpdateState::PausedOnError | UpdateState::Failed => true,
        UpdateState::InProgress
        | UpdateState::Waiting
        | UpdateState::PausedByUser
        | UpdateState::Completed
        | UpdateState::Canceled
        | UpdateState::PausePending
        | UpdateState::CancelPending => false,
    });
    let of_steps = failed.filter_map(|step| {
        let issue = step.issue.as_ref()?;
        Some(format!("{}: {}", step.node.name, issue.message))
    });
    let before = software.validation_results.as_deref().unwrap_or_default();
    let after = software.post_update_checks.as_deref().unwrap_or_default();
    let errors = before
        .iter()
        .chain(after)
        .filter(|finding| match finding.status {
            evenkeel_api::CheckStatus::Error => true,
            evenkeel_api::CheckStatus::Warning => false,
        });
    of_steps
        .chain(errors.map(|f| format!("{}: {}", f.update_check, f.issue.message)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn software(step: &str) -> Software {
        let node = json!({"name": "n1"});
        serde_json::from_value(json!({
            "state": "in_progress",
            "nodes": [],
            "update_details": [
                {"phase": "Pre-update checks", "state": "completed", "node": node},
                {"phase": "Data ONTAP updates", "state": "in_progress", "node": node,
                 "estimated_duration": 100, "elapsed_duration": 500},
                {"phase": "Post-update checks", "state": "in_progress", "node": node,
                 "estimated_duration": 100, "elapsed_duration": 500},
            ],
            "status_details": [
                {"name": "do-download-job", "state": "completed", "node": node},
                {"name": "do-failover-job", "state": step, "node": node,
                 "issue": {"message": "vetoed", "code": 7}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_phase_is_whole_only_when_it_is_over() {
        let snapshot = Snapshot::of(&software("in_progress"), &Explain::default());
        let percent: Vec<u64> = snapshot.parts.iter().map(|part| part.percent).collect();
        assert_eq!(percent, [100, 50, 99]);
        assert_eq!(
            snapshot.parts[1].step.as_deref(),
            Some("do-failover-job: vetoed")
        );
        assert!(snapshot.trouble.is_empty());
    }

    #[test]
    fn trouble_is_named_with_its_node() {
        let snapshot = Snapshot::of(&software("paused_on_error"), &Explain::default());
        assert_eq!(snapshot.trouble, ["n1: vetoed"]);
    }
}
