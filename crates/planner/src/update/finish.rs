//! The end of a plan: the post-update checks.

use std::collections::BTreeSet;

use evenkeel_model::{Awaiting, NodeName, OperationEnd, OperationEvent, PauseCause, UpdateRequest};

use super::problem_of;
use crate::checks::{NAMED, PostInput, post_check};
use crate::input::{Decision, Input};
use crate::next::awaiting;
use crate::words;

/// Everything of the plan is done.
pub(super) fn finish(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    let at = input.wall;
    let findings = post_check(&PostInput {
        topology: input.topology,
        observations: input.observations,
        target: &request.version,
        nodes: &planned(input),
    });
    let unsaid = unsaid(input);
    let settles = input.idle <= input.tunables.settle();
    if findings.is_empty() && !unsaid.is_empty() && settles {
        return Decision::wait(unrecorded(input, &unsaid));
    }
    if findings.is_empty() {
        return Decision::events(vec![
            OperationEvent::PostChecked { at, findings },
            OperationEvent::ended(at, OperationEnd::Completed),
        ]);
    }
    if settles {
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

/// The nodes of which the record still tells an earlier boot: clients are told by it who runs what.
fn unsaid(input: &Input<'_>) -> BTreeSet<NodeName> {
    let is_unsaid = |node: &NodeName| {
        let (said, seen) = (input.control.booted.get(node), input.seen(node));
        said.zip(seen)
            .is_some_and(|(said, seen)| said.boot_id != seen.boot_id)
    };
    planned(input).into_iter().filter(is_unsaid).collect()
}

fn unrecorded(input: &Input<'_>, nodes: &BTreeSet<NodeName>) -> Awaiting {
    let what = format!(
        "what {} now runs to be recorded",
        words::nodes(nodes, NAMED)
    );
    let unblock = "A node records it by itself as soon as it reaches the record.";
    let mut wait = awaiting(input, what, unblock);
    wait.remaining = Some(input.tunables.settle().saturating_sub(input.idle));
    wait
}

/// The nodes that the update was to bring to the version, by this plan or one before it.
fn planned(input: &Input<'_>) -> BTreeSet<NodeName> {
    let plan = input.operation.plan.iter();
    let lanes = plan
        .flat_map(|plan| &plan.steps)
        .flat_map(|step| &step.lanes);
    let planned = lanes.map(|lane| &lane.node);
    planned
        .chain(input.operation.updated.keys())
        .cloned()
        .collect()
}
