//! Tasks of an update or validation, per node, and what it stands still for.

use evenkeel_model::{
    Action, Milestone, NodeName, Operation, OperationState, PauseCause, Problem, TaskError,
    TaskErrorKind, TaskProgress, TaskState, WallTime,
};

use super::phases::{end_of, nodes_of, pre_update_state};
use super::software::UpdateState;
use crate::view::View;

/// Codes that the original shows beside the texts of an image's installation.
const INSTALLING: (u32, &str) = (10_551_400, "Installing software image.");
const INSTALLED: (u32, &str) = (10_551_399, "Image update complete");

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
        // What stands still has not ended.
        end: end_of(task).filter(|_| !stands(state)),
    }
}

fn was_left(task: &TaskProgress, error: &TaskError) -> bool {
    task.task.action.is_gate() && error.kind == TaskErrorKind::Transient
}

/// Whether a task in this state is still to be done.
fn stands(state: UpdateState) -> bool {
    match state {
        UpdateState::InProgress
        | UpdateState::Waiting
        | UpdateState::PausedByUser
        | UpdateState::PausedOnError
        | UpdateState::PausePending
        | UpdateState::CancelPending => true,
        UpdateState::Completed | UpdateState::Canceled | UpdateState::Failed => false,
    }
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
        Action::Firmware { .. } => "Bringing devices up to date.",
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
        Action::Firmware { .. } => "Devices are up to date",
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
