//! Events of an operation's stream.

use serde::{Deserialize, Serialize};

use super::request::Request;
use crate::estimate::PlanEstimate;
use crate::finding::{Finding, Problem};
use crate::id::{Digest, JobId, NodeName, TransitionId, UserName, Version};
use crate::plan::{PausePoint, Plan, Step, TaskId};
use crate::task::{Before, TaskEnd};
use crate::time::{Monotonic, WallTime};

/// Events of an operation's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OperationEvent {
    /// The first: what was asked for.
    Requested {
        /// When.
        at: WallTime,
        /// By whom.
        by: UserName,
        /// What.
        request: Request,
    },
    /// A request of the API has its job.
    JobOpened {
        /// When.
        at: WallTime,
        /// Its id.
        job: JobId,
        /// `PATCH /api/cluster/software`, say.
        description: String,
    },
    /// A job ended.
    JobClosed {
        /// When.
        at: WallTime,
        /// Which.
        job: JobId,
        /// How.
        outcome: JobOutcome,
    },
    /// A package get has the package, verified and durable, on the node that received it.
    Staged {
        /// When.
        at: WallTime,
        /// Its manifest digest.
        digest: Digest,
        /// Its version.
        version: Version,
        /// What is remarkable about how it came, for its job's message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remark: Option<String>,
    },
    /// The checks ran.
    Validated {
        /// When.
        at: WallTime,
        /// What they found.
        findings: Vec<Finding>,
    },
    /// A part of a plan too big for one event. Parts come directly before the plan, in the same append.
    PlanPart {
        /// When.
        at: WallTime,
        /// Revision of the plan that it is part of.
        revision: u32,
        /// The next steps.
        steps: Vec<Step>,
        /// Its first step holds more lanes of the last step of the part before.
        #[serde(default)]
        continues: bool,
    },
    /// How long the update that was asked about would take.
    Estimated {
        /// When.
        at: WallTime,
        /// The estimate.
        estimate: PlanEstimate,
    },
    /// The plan, or a new revision of it. Its steps follow those of the parts before it.
    Planned {
        /// When.
        at: WallTime,
        /// All of it.
        plan: Plan,
    },
    /// The intent of an attempt, before its effect.
    TaskStarted {
        /// When.
        at: WallTime,
        /// The coordinator's clock.
        since: Monotonic,
        /// Which task.
        task: TaskId,
        /// Counts from 1.
        attempt: u32,
        /// The takeover it makes or gives back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transition: Option<TransitionId>,
        /// Expected before-state.
        #[serde(default)]
        before: Before,
    },
    /// An attempt ended.
    TaskEnded {
        /// When.
        at: WallTime,
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// How.
        end: TaskEnd,
    },
    /// A lane is left early; its restore tasks run.
    Restoring {
        /// When.
        at: WallTime,
        /// The lane's node.
        node: NodeName,
        /// Why.
        problem: Problem,
    },
    /// A person asked for a pause at the next pause point.
    PauseRequested {
        /// When.
        at: WallTime,
        /// Who.
        by: UserName,
    },
    /// The update stands still.
    Paused {
        /// When.
        at: WallTime,
        /// Why.
        cause: PauseCause,
    },
    /// A person asked to go on.
    Resumed {
        /// When.
        at: WallTime,
        /// Who.
        by: UserName,
        /// The plan is made anew: where it stood at the point after validation, the cluster is validated again
        /// first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anew: bool,
    },
    /// A person asked to end it.
    CancelRequested {
        /// When.
        at: WallTime,
        /// Who.
        by: UserName,
    },
    /// A node runs the new version at home and is marked good: a row of the history.
    NodeUpdated {
        /// When.
        at: WallTime,
        /// Who.
        node: NodeName,
        /// From which version.
        from: Version,
        /// To which.
        to: Version,
    },
    /// The post-update checks ran.
    PostChecked {
        /// When.
        at: WallTime,
        /// What they found.
        findings: Vec<Finding>,
    },
    /// The last.
    Ended {
        /// When.
        at: WallTime,
        /// How.
        end: OperationEnd,
        /// The state in which it leaves the cluster, in sentences, where that is not plain from its end: who
        /// runs what after a cancel, and who is in takeover.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<String>,
    },
}

impl OperationEvent {
    /// The end of an operation that leaves nothing more to say.
    pub fn ended(at: WallTime, end: OperationEnd) -> Self {
        let left = None;
        Self::Ended { at, end, left }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// What was asked for is done, or accepted.
    Success {
        /// A word to the user.
        message: String,
    },
    /// It is not.
    Failure {
        /// The API's code.
        code: u32,
        /// Never empty.
        message: String,
    },
}

/// Why an update stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// A person asked for it, or for a pause at such points; this one was reached.
    User {
        /// Where it stands.
        point: PausePoint,
    },
    /// Trouble.
    Error {
        /// What, where, what to do.
        problem: Problem,
    },
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationEnd {
    /// It did what was asked.
    Completed,
    /// A person ended it.
    Canceled,
    /// It was refused before any effect, or a package could not be taken in or removed.
    Failed {
        /// The API's code.
        code: u32,
        /// Why.
        message: String,
    },
}
