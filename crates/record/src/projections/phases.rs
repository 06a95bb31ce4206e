//! Phases of an update or validation, per node.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{
    NodeName, Operation, OperationKind, OperationState, PauseCause, TaskProgress, TaskState,
    WallTime,
};

use super::At;
use super::durations::{remaining, worked};
use super::software::{UpdateState, found_errors, update_state};
use crate::view::View;

/// The checks before and after an update count 10 minutes each, as in the original, in seconds.
pub(super) const CHECKS_ESTIMATE_S: u32 = 600;

const PRE_UPDATE: &str = "Pre-update checks";
const UPDATES: &str = "Data ONTAP updates";
const POST_UPDATE: &str = "Post-update checks";

/// A phase of one node. Phase and node are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseRow {
    /// `Pre-update checks`, `Data ONTAP updates` or `Post-update checks`.
    pub phase: &'static str,
    /// Where.
    pub node: NodeName,
    /// Its state.
    pub state: UpdateState,
    /// How long the phase takes on all nodes together, once that is planned.
    pub estimated: Option<Duration>,
    /// Since the phase began, until this node was done with it; none before it began.
    pub elapsed: Option<Duration>,
}

/// All phases that the operation has or will have, phase by phase.
pub fn phases(view: &View, operation: &Operation, at: At) -> Vec<PhaseRow> {
    let nodes = nodes_of(view, operation);
    let mut rows: Vec<_> = nodes
        .iter()
        .map(|node| pre_update(view, operation, node, at))
        .collect();
    // An update that was refused has no further phases.
    let goes_on = operation.plan.is_some() || !operation.is_ended();
    if operation.kind() == OperationKind::Update && goes_on {
        rows.extend(nodes.iter().map(|node| updates(view, operation, node, at)));
        rows.extend(
            nodes
                .iter()
                .map(|node| post_update(view, operation, node, at)),
        );
    }
    rows
}

/// The nodes that the operation is about: the plan's, or all.
pub(super) fn nodes_of(view: &View, operation: &Operation) -> Vec<NodeName> {
    match &operation.plan {
        Some(plan) => plan.from.keys().cloned().collect(),
        None => view
            .control()
            .topology
            .iter()
            .flat_map(|topology| topology.names())
            .cloned()
            .collect(),
    }
}

fn pre_update(view: &View, operation: &Operation, node: &NodeName, at: At) -> PhaseRow {
    let over = operation.validated_at.or(operation.ended_at);
    let elapsed = worked(operation, operation.requested_at, over, at);
    // A validation keeps what was expected of it, as the document's own examples do.
    let is_over = over.is_some() && operation.kind() == OperationKind::Update;
    PhaseRow {
        phase: PRE_UPDATE,
        node: node.clone(),
        state: pre_update_state(view, operation),
        estimated: Some(checks_estimate(elapsed, is_over, at)),
        elapsed: Some(elapsed),
    }
}

pub(super) fn pre_update_state(view: &View, operation: &Operation) -> UpdateState {
    match operation.kind() {
        OperationKind::Update if operation.plan.is_some() => UpdateState::Completed,
        OperationKind::Validation if operation.validated_at.is_some() => {
            match found_errors(operation) {
                true => UpdateState::Failed,
                false => UpdateState::Completed,
            }
        }
        OperationKind::Update
        | OperationKind::Validation
        | OperationKind::PackageGet
        | OperationKind::PackageDelete
        | OperationKind::PackageSync
        | OperationKind::Firmware
        | OperationKind::Estimate => update_state(view, operation),
    }
}

fn updates(view: &View, operation: &Operation, node: &NodeName, at: At) -> PhaseRow {
    let state = updates_state(view, operation, node);
    let over = match state {
        UpdateState::Completed => {
            let own = operation
                .tasks
                .values()
                .map(Arc::as_ref)
                .filter(|t| t.task.node == *node);
            // One that had nothing to be done was done with it at once.
            last_end(own).or(operation.planned_at)
        }
        UpdateState::InProgress
        | UpdateState::Waiting
        | UpdateState::PausedByUser
        | UpdateState::PausedOnError
        | UpdateState::Canceled
        | UpdateState::Failed
        | UpdateState::PausePending
        | UpdateState::CancelPending => operation.ended_at,
    };
    let begun = operation
        .planned_at
        .filter(|_| state != UpdateState::Waiting);
    let elapsed = begun.map(|start| worked(operation, start, over, at));
    // The phase's estimate stands in each row, as in the original, until its node is done.
    let estimated = match (over, elapsed) {
        (Some(_), Some(elapsed)) => Some(elapsed),
        (None, _) | (_, None) => updates_estimate(operation, at),
    };
    PhaseRow {
        phase: UPDATES,
        node: node.clone(),
        state,
        estimated,
        elapsed,
    }
}

fn updates_state(view: &View, operation: &Operation, node: &NodeName) -> UpdateState {
    let Some(plan) = &operation.plan else {
        return UpdateState::Waiting;
    };
    let mut lanes = plan.lanes().filter(|lane| lane.node == *node);
    if !operation.restoring.contains_key(node) && lanes.all(|lane| operation.lane_over(lane)) {
        return UpdateState::Completed;
    }
    let begun = operation.tasks.values().any(|task| task.task.node == *node);
    match (begun && is_concerned(operation, node)) || operation.is_ended() {
        true => update_state(view, operation),
        false => UpdateState::Waiting,
    }
}

/// Whether what the update stands still for is this node's: trouble of one node is no other's.
fn is_concerned(operation: &Operation, node: &NodeName) -> bool {
    match &operation.state {
        OperationState::Paused {
            cause: PauseCause::Error { problem },
        } => problem.node.as_ref().is_none_or(|named| named == node),
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Running
        | OperationState::PausePending
        | OperationState::Paused {
            cause: PauseCause::User { .. },
        }
        | OperationState::Replanning
        | OperationState::CancelPending
        | OperationState::Ended { .. } => true,
    }
}

fn post_update(view: &View, operation: &Operation, node: &NodeName, at: At) -> PhaseRow {
    let begun = updates_end(operation);
    let state = match begun {
        // What goes on now goes on in this phase.
        Some(_) => update_state(view, operation),
        None if operation.is_ended() => update_state(view, operation),
        None => UpdateState::Waiting,
    };
    let elapsed = begun.map(|start| worked(operation, start, operation.ended_at, at));
    let over = begun.is_some() && operation.is_ended();
    PhaseRow {
        phase: POST_UPDATE,
        node: node.clone(),
        state,
        estimated: Some(checks_estimate(elapsed.unwrap_or_default(), over, at)),
        elapsed,
    }
}

/// When the last task of the plan was done, if all are.
fn updates_end(operation: &Operation) -> Option<WallTime> {
    let plan = operation.plan.as_ref()?;
    let all_over = plan.lanes().all(|lane| operation.lane_over(lane));
    let all_over = all_over && operation.restoring.is_empty();
    all_over
        .then(|| last_end(operation.tasks.values().map(Arc::as_ref)).or(operation.planned_at))?
}

/// The last of the ends, as shown.
fn last_end<'a>(tasks: impl Iterator<Item = &'a TaskProgress>) -> Option<WallTime> {
    tasks.filter_map(end_of).max_by_key(|end| end.timestamp())
}

pub(super) fn end_of(task: &TaskProgress) -> Option<WallTime> {
    match &task.state {
        TaskState::Running => None,
        TaskState::Done { at, .. } | TaskState::Failed { at, .. } => Some(*at),
    }
}

/// What the updates have taken and what is left of them, once they are planned.
fn updates_estimate(operation: &Operation, at: At) -> Option<Duration> {
    let over = updates_end(operation).or(operation.ended_at);
    let elapsed = worked(operation, operation.planned_at?, over, at);
    Some(elapsed + remaining(operation, at))
}

/// What the whole has taken and what is left of it: without the checks afterwards, which are not in the
/// original's total.
pub(super) fn total_estimate(operation: &Operation, at: At) -> Option<Duration> {
    operation.plan.as_ref()?;
    let elapsed = worked(operation, operation.requested_at, operation.ended_at, at);
    Some(elapsed + remaining(operation, at))
}

/// Of checks: what is expected, until they have taken longer, or are over.
fn checks_estimate(elapsed: Duration, is_over: bool, at: At) -> Duration {
    match is_over {
        true => elapsed,
        false => elapsed.max(at.expected(CHECKS_ESTIMATE_S)),
    }
}
