//! Phases and tasks of an update or validation, per node.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{
    Action, Milestone, NodeName, Operation, OperationKind, OperationState, PauseCause, Problem,
    TaskError, TaskErrorKind, TaskProgress, TaskState, WallTime,
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

/// Codes that the original shows beside the texts of an image's installation.
const INSTALLING: (u32, &str) = (10_551_400, "Installing software image.");
const INSTALLED: (u32, &str) = (10_551_399, "Image update complete");

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

/// A task of one node that was begun. Name, node and start are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Its name.
    pub name: String,
    /// Where.
    pub node: NodeName,
    /// Its state.
    pub state: UpdateState,
    /// What is going on, or went wrong.
    pub issue: Issue,
    /// What to do about it.
    pub action: Option<String>,
    /// When its first attempt began.
    pub start: WallTime,
    /// When it ended.
    pub end: Option<WallTime>,
}

/// A text with its code, 0 when it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// For programs.
    pub code: u32,
    /// For people.
    pub message: String,
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
fn nodes_of(view: &View, operation: &Operation) -> Vec<NodeName> {
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

fn pre_update_state(view: &View, operation: &Operation) -> UpdateState {
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

fn end_of(task: &TaskProgress) -> Option<WallTime> {
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

/// What was begun: the checks, then the tasks in the order of the plan; and what the operation stands still
/// for, if no task says so.
pub fn tasks(view: &View, operation: &Operation) -> Vec<TaskRow> {
    let nodes = nodes_of(view, operation);
    let mut rows: Vec<_> = nodes
        .iter()
        .map(|node| initialize(view, operation, node))
        .collect();
    rows.extend(
        operation
            .tasks
            .values()
            .map(|task| task_row(operation, task)),
    );
    for (node, problem) in trouble(view, operation, &nodes) {
        let told = |row: &TaskRow| row.node == node && row.issue.message == problem.error;
        if !rows.iter().any(told) {
            rows.push(trouble_row(operation, node, &problem));
        }
    }
    rows
}

fn initialize(view: &View, operation: &Operation, node: &NodeName) -> TaskRow {
    let state = pre_update_state(view, operation);
    let message = match state {
        UpdateState::Completed => "Pre-update checks complete",
        UpdateState::Failed => "Pre-update checks found problems",
        UpdateState::InProgress
        | UpdateState::Waiting
        | UpdateState::PausedByUser
        | UpdateState::PausedOnError
        | UpdateState::Canceled
        | UpdateState::PausePending
        | UpdateState::CancelPending => "Pre-update checks",
    };
    TaskRow {
        name: "initialize".to_owned(),
        node: node.clone(),
        state,
        issue: Issue {
            code: 0,
            message: message.to_owned(),
        },
        action: None,
        start: operation.requested_at,
        end: operation.validated_at.or(operation.ended_at),
    }
}

fn task_row(operation: &Operation, task: &TaskProgress) -> TaskRow {
    let (state, issue, action) = match &task.state {
        // Its result will not come any more.
        TaskState::Running if operation.is_ended() => {
            (UpdateState::Canceled, running_text(&task.task.action), None)
        }
        TaskState::Running => (
            UpdateState::InProgress,
            running_text(&task.task.action),
            None,
        ),
        TaskState::Done { .. } => (UpdateState::Completed, done_text(&task.task.action), None),
        // A gate that is left is looked at anew; nothing failed.
        TaskState::Failed { error, .. } if was_left(task, error) => {
            let state = gate_state(operation);
            (state, (0, error.message.as_str()), None)
        }
        TaskState::Failed { error, .. } => {
            let action = Some(error.action.clone()).filter(|action| !action.is_empty());
            (UpdateState::Failed, (0, error.message.as_str()), action)
        }
    };
    TaskRow {
        name: task.task.action.name().to_owned(),
        node: task.task.node.clone(),
        state,
        issue: Issue {
            code: issue.0,
            message: issue.1.to_owned(),
        },
        action,
        start: task.first_start,
        end: end_of(task),
    }
}

fn was_left(task: &TaskProgress, error: &TaskError) -> bool {
    task.task.action.is_gate() && error.kind == TaskErrorKind::Transient
}

/// How a gate stands that did not open before the update stood still.
fn gate_state(operation: &Operation) -> UpdateState {
    match &operation.state {
        OperationState::Paused {
            cause: PauseCause::User { .. },
        } => UpdateState::PausedByUser,
        OperationState::Ended { .. } => UpdateState::Canceled,
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Running
        | OperationState::PausePending
        | OperationState::Paused {
            cause: PauseCause::Error { .. },
        }
        | OperationState::Replanning
        | OperationState::CancelPending => UpdateState::Waiting,
    }
}

fn running_text(action: &Action) -> (u32, &'static str) {
    let text = match action {
        Action::Install { .. } => return INSTALLING,
        Action::Activate { .. } => "Making the new image the default.",
        Action::Deactivate => "Making the running image the default again.",
        Action::Takeover => "Takeover in progress.",
        Action::AwaitBoot { .. } => "Waiting for the node to boot.",
        Action::Stabilize {
            after: Milestone::Takeover,
            ..
        } => "Stabilizing after takeover.",
        Action::Stabilize {
            after: Milestone::Giveback,
            ..
        } => "Stabilizing after giveback.",
        Action::Giveback => "Giveback in progress.",
        Action::VerifyHome { .. } => "Verifying that the node serves.",
        Action::MarkGood => "Marking the new image good.",
        Action::Gate { .. } => "Waiting for the conditions between nodes.",
        Action::GateScript { .. } => "Running the operator's script between nodes.",
        Action::Reboot => "Rebooting the node.",
    };
    (0, text)
}

fn done_text(action: &Action) -> (u32, &'static str) {
    let text = match action {
        Action::Install { .. } => return INSTALLED,
        Action::Activate { .. } => "The new image is the default",
        Action::Deactivate => "The running image is the default again",
        Action::Takeover => "Takeover complete",
        Action::AwaitBoot { .. } => "The node is waiting for giveback",
        Action::Stabilize {
            after: Milestone::Takeover,
            ..
        } => "Stable after takeover",
        Action::Stabilize {
            after: Milestone::Giveback,
            ..
        } => "Stable after giveback",
        Action::Giveback => "Giveback complete",
        Action::VerifyHome { .. } => "The node serves",
        Action::MarkGood => "The new image is good",
        Action::Gate { .. } => "The conditions between nodes held",
        Action::GateScript { .. } => "The operator's script said to go on",
        Action::Reboot => "The node was rebooted",
    };
    (0, text)
}

/// What the operation stands still for, and on which nodes; on all when it is no single node's.
fn trouble(view: &View, operation: &Operation, nodes: &[NodeName]) -> Vec<(NodeName, Problem)> {
    let paused = match &operation.state {
        OperationState::Paused {
            cause: PauseCause::Error { problem },
        } => Some(problem.clone()),
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Running
        | OperationState::PausePending
        | OperationState::Paused {
            cause: PauseCause::User { .. },
        }
        | OperationState::Replanning
        | OperationState::CancelPending
        | OperationState::Ended { .. } => None,
    };
    let quarantined = view.quarantine_of(operation.id).map(|quarantine| Problem {
        node: None,
        error: format!(
            "Event {} of the operation cannot be read: {}",
            quarantine.seq, quarantine.why
        ),
        action: "Bring every node to the newest version that runs in the cluster.".to_owned(),
    });
    let on = |problem: Problem| -> Vec<(NodeName, Problem)> {
        match problem.node.clone() {
            Some(node) => vec![(node, problem)],
            None => nodes
                .iter()
                .map(|node| (node.clone(), problem.clone()))
                .collect(),
        }
    };
    paused.into_iter().chain(quarantined).flat_map(on).collect()
}

fn trouble_row(operation: &Operation, node: NodeName, problem: &Problem) -> TaskRow {
    TaskRow {
        name: "pause-on-error".to_owned(),
        node,
        state: UpdateState::PausedOnError,
        issue: Issue {
            code: 0,
            message: problem.error.clone(),
        },
        action: Some(problem.action.clone()),
        start: operation.state_since,
        end: None,
    }
}
