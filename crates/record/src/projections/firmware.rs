//! Firmware updates: how far each is, and how it went on each node.

use std::sync::Arc;

use evenkeel_model::{
    Action, Digest, JobId, NodeId, NodeName, Operation, OperationEnd, OperationId, OperationKind,
    OperationState, Request, TaskErrorKind, TaskProgress, TaskState, WallTime, code,
};

use crate::view::View;

/// One firmware update, with a worker on every node of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareRow {
    /// Which.
    pub operation: OperationId,
    /// Manifest digest of its package.
    pub package: Digest,
    /// Its job.
    pub job: Option<JobId>,
    /// The node that took its package in; none when the package has left the catalogue.
    pub origin: Option<(NodeName, Option<NodeId>)>,
    /// Name of the file that the package came in.
    pub file: String,
    /// How far it is.
    pub state: FirmwareState,
    /// When it began.
    pub start: WallTime,
    /// When it ended.
    pub end: Option<WallTime>,
    /// One for each node of its plan; none before there is one.
    pub workers: Vec<WorkerRow>,
}

/// How far a firmware update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwareState {
    /// Its package is carried to the nodes.
    Moving,
    /// It has a plan, and no node has begun.
    Starting,
    /// Nodes bring their devices up to date.
    Waiting,
    /// It is over, on some nodes with success at least.
    Completed,
    /// No node is up to date, or it was canceled.
    Failed,
}

impl FirmwareState {
    /// Whether nothing more comes of it.
    pub fn is_over(self) -> bool {
        match self {
            Self::Moving | Self::Starting | Self::Waiting => false,
            Self::Completed | Self::Failed => true,
        }
    }
}

/// A node's part in a firmware update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// The node.
    pub node: NodeName,
    /// Its id, unless it has left the cluster.
    pub node_id: Option<NodeId>,
    /// What it does.
    pub state: WorkerRowState,
    /// Tries so far.
    pub attempts: u32,
    /// The API's code: zero while nothing is wrong.
    pub code: u32,
    /// How it goes, in words.
    pub message: String,
}

/// What a node's worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerRowState {
    /// Its turn has not come.
    Idle,
    /// It works.
    Working,
    /// All of its devices are up to date that the package is for.
    Complete,
    /// Some are not.
    Failed,
    /// A try failed in passing, and another one follows.
    WaitingToRetry,
}

/// All firmware updates, oldest first.
pub fn firmware(view: &View) -> Vec<FirmwareRow> {
    let all = view.operations();
    let ours = all.filter(|operation| operation.kind() == OperationKind::Firmware);
    ours.filter_map(|operation| row(view, operation)).collect()
}

fn row(view: &View, operation: &Operation) -> Option<FirmwareRow> {
    let Request::Firmware { digest, file, .. } = &operation.request else {
        return None;
    };
    let entry = view.catalogue().firmware.get(digest);
    let origin = entry.map(|entry| entry.origin.clone());
    Some(FirmwareRow {
        operation: operation.id,
        package: *digest,
        job: operation.jobs.first().map(|job| job.id),
        origin: origin.map(|node| (node.clone(), id_of(view, &node))),
        file: file.clone(),
        state: state(operation),
        start: operation.requested_at,
        end: operation.ended_at,
        workers: workers(view, operation),
    })
}

fn id_of(view: &View, node: &NodeName) -> Option<NodeId> {
    let topology = view.control().topology.as_ref()?;
    Some(topology.node(node)?.id)
}

fn state(operation: &Operation) -> FirmwareState {
    match &operation.state {
        OperationState::Requested | OperationState::Validated => FirmwareState::Moving,
        OperationState::Ended {
            end: OperationEnd::Completed,
        } => FirmwareState::Completed,
        OperationState::Ended {
            end: OperationEnd::Canceled | OperationEnd::Failed { .. },
        } => FirmwareState::Failed,
        OperationState::Running
        | OperationState::PausePending
        | OperationState::Paused { .. }
        | OperationState::Replanning
        | OperationState::CancelPending => match operation.tasks.is_empty() {
            true => FirmwareState::Starting,
            false => FirmwareState::Waiting,
        },
    }
}

fn workers(view: &View, operation: &Operation) -> Vec<WorkerRow> {
    let Some(plan) = &operation.plan else {
        return Vec::new();
    };
    let mut nodes: Vec<&NodeName> = plan.lanes().map(|lane| &lane.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let worker = |node: &NodeName| {
        let tasks = plan.tasks().filter(|task| task.node == *node);
        let all: Vec<Option<&TaskProgress>> = tasks
            .map(|task| operation.tasks.get(&task.id).map(Arc::as_ref))
            .collect();
        worker(view, operation, node, &all)
    };
    nodes.into_iter().map(worker).collect()
}

/// A node with two tasks, of which the first is that of a single disk, is as far as the one that is not done.
fn worker(
    view: &View,
    operation: &Operation,
    node: &NodeName,
    tasks: &[Option<&TaskProgress>],
) -> WorkerRow {
    let begun = tasks.iter().copied().flatten();
    let is_done = |task: &&TaskProgress| matches!(task.state, TaskState::Done { .. });
    let unfinished = begun.clone().find(|task| !is_done(task));
    let (state, code, message) = match unfinished.map(|task| &task.state) {
        Some(TaskState::Running) => (WorkerRowState::Working, 0, "In progress.".to_owned()),
        Some(TaskState::Failed { error, .. }) => {
            let again = error.kind == TaskErrorKind::Transient && !operation.is_ended();
            let state = match again {
                true => WorkerRowState::WaitingToRetry,
                false => WorkerRowState::Failed,
            };
            let code = error.code.unwrap_or(code::FIRMWARE_OF_NODE_FAILED);
            (state, code, error.message.clone())
        }
        Some(TaskState::Done { .. }) | None if begun.clone().count() == tasks.len() => {
            let spares_only = tasks.iter().copied().flatten().any(is_for_spares_only);
            let text = match spares_only {
                false => "Firmware update completed.",
                true => {
                    "Firmware update completed: spares only, since firmware in the background is off."
                }
            };
            (WorkerRowState::Complete, 0, text.to_owned())
        }
        Some(TaskState::Done { .. }) | None if operation.is_ended() => {
            let text = match was_canceled(operation) {
                true => {
                    "Not all of it was begun: the update was canceled. Bring the firmware in again."
                }
                false => {
                    "Not all of it was begun: the update is over. Bring the firmware in again."
                }
            };
            (
                WorkerRowState::Failed,
                code::FIRMWARE_NOT_STARTED,
                text.to_owned(),
            )
        }
        Some(TaskState::Done { .. }) | None => {
            (WorkerRowState::Idle, 0, "Its turn has not come.".to_owned())
        }
    };
    WorkerRow {
        node: node.clone(),
        node_id: id_of(view, node),
        state,
        attempts: begun.map(|task| task.attempt).max().unwrap_or(0),
        code,
        message,
    }
}

fn is_for_spares_only(task: &TaskProgress) -> bool {
    matches!(
        task.task.action,
        Action::Firmware {
            spares_only: true,
            ..
        }
    )
}

fn was_canceled(operation: &Operation) -> bool {
    let canceled = OperationState::Ended {
        end: OperationEnd::Canceled,
    };
    operation.state == canceled
}
