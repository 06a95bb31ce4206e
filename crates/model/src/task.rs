//! Orders to agents, and what agents report back.

use serde::{Deserialize, Serialize};

use crate::id::{BootId, Digest, Generation, NodeName, OperationId, TransitionId, Version};
use crate::plan::{Task, TaskId};

/// Names one attempt of one task, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    /// The update.
    pub operation: OperationId,
    /// The task of its plan.
    pub task: TaskId,
    /// Counts from 1.
    pub attempt: u32,
}

/// What must be true of the target before a task acts; checked again immediately before acting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The boot of the node that changes, when the task was decided.
    pub node_boot: Option<BootId>,
    /// The boot of its partner.
    pub partner_boot: Option<BootId>,
}

/// A coordinator's order to an agent. Its intent is in the record before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOrder {
    /// Identity; the same key is the same order, however often it arrives.
    pub key: TaskKey,
    /// The sender's generation: an agent that has seen a higher one refuses.
    pub generation: Generation,
    /// What to do.
    pub task: Task,
    /// Partner of the node that changes.
    pub partner: Option<NodeName>,
    /// Id of the takeover that this task makes or gives back.
    pub transition: Option<TransitionId>,
    /// Expected before-state.
    pub before: Before,
    /// Package of the update.
    pub package: Digest,
    /// Its version.
    pub target: Version,
    /// How long nothing of it may change before its agent gives it up, in milliseconds: the bound that
    /// operators are shown. A coordinator of an older release does not say; agents then have one of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_progress_ms: Option<u64>,
}

/// How far an agent is with an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Which order.
    pub key: TaskKey,
    /// Its state.
    pub state: ReportState,
}

/// State of an order on its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportState {
    /// Journaled and under way.
    Running {
        /// What it is doing.
        progress: Progress,
    },
    /// Over.
    Ended {
        /// How.
        end: TaskEnd,
    },
}

/// Progress of a task. Never an event: it lives with whoever works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// In words.
    pub text: String,
    /// Units done; what the unit is, the text says.
    pub done: u64,
    /// Units in all; zero when unknown.
    pub total: u64,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEnd {
    /// Its goal was verified.
    Done {
        /// How it was reached.
        how: How,
    },
    /// It was not reached.
    Failed {
        /// Why.
        error: TaskError,
    },
}

/// How a task's goal was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By this attempt.
    Completed,
    /// By an earlier attempt of ours, which this one found.
    AlreadyDone,
    /// This attempt adopted work that a daemon before a restart had begun.
    Resumed,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct TaskError {
    /// What kind of trouble: decides what happens next.
    pub kind: TaskErrorKind,
    /// What went wrong, where.
    pub message: String,
    /// What an operator should do.
    pub action: String,
    /// The API's code, where it has one for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
}

/// What a failure means for the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskErrorKind {
    /// Worth another attempt, within the bound on attempts.
    Transient,
    /// Needs a person: the update pauses.
    Permanent,
    /// The node is back on its old slot: high availability is restored, then the update pauses.
    FellBack,
}
