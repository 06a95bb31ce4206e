//! The end of a plan: the post-update checks.

use evenkeel_model::{OperationEnd, OperationEvent, PauseCause};

use super::problem_of;
use crate::checks::post_check;
use crate::input::{Decision, Input};
use crate::next::awaiting;

/// Everything of the plan is done.
pub(super) fn finish(input: &Input<'_>) -> Decision {
    let at = input.wall;
    let findings = post_check(input.topology, input.observations);
    if findings.is_empty() {
        return Decision::events(vec![
            OperationEvent::PostChecked { at, findings },
            OperationEvent::Ended {
                at,
                end: OperationEnd::Completed,
            },
        ]);
    }
    if input.idle <= input.tunables.settle() {
        let issues: Vec<&str> = findings
            .iter()
            .map(|finding| finding.issue.as_str())
            .collect();
        let mut wait = awaiting(
            input,
            "the post-update checks to come clean".to_owned(),
            "The cluster settling after the last giveback.",
        );
        wait.seen = Some(issues.join(" "));
        wait.remaining = Some(input.tunables.settle().saturating_sub(input.idle));
        return Decision::wait(wait);
    }
    let failed: Vec<&str> = findings
        .iter()
        .map(|finding| finding.check.as_str())
        .collect();
    let error = format!("post-update checks failed: {}", failed.join("; "));
    let action = "See post_update_checks; mend what they name, then resume: they run again.";
    let cause = PauseCause::Error {
        problem: problem_of(None, &error, action),
    };
    Decision::events(vec![
        OperationEvent::PostChecked { at, findings },
        OperationEvent::Paused { at, cause },
    ])
}
