//! The fold of one operation's stream.

mod apply;

use std::collections::BTreeMap;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::estimate::PlanEstimate;
use crate::event::{JobOutcome, OperationEnd, OperationKind, PauseCause, Request, UpdateRequest};
use crate::finding::{Finding, Problem};
use crate::id::{Digest, JobId, NodeName, OperationId, TransitionId, UserName, Version};
use crate::plan::{Action, Lane, Plan, Step, Task, TaskId};
use crate::task::{Before, How, TaskError};
use crate::time::{Monotonic, WallTime};

/// Tasks by number. A copy costs nothing, and a change of one as much as finding it: each event changes one, on
/// every node, and there are some twenty for each node.
pub type Tasks = RedBlackTreeMapSync<TaskId, Arc<TaskProgress>>;

/// An operation, from its events. What grows with the cluster is shared: every event makes a copy on every
/// node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What was asked.
    pub request: Request,
    /// By whom.
    pub by: UserName,
    /// When.
    pub requested_at: WallTime,
    /// Jobs of the API that belong to it, in order.
    pub jobs: Vec<Job>,
    /// Where it stands.
    pub state: OperationState,
    /// When that state began.
    pub state_since: WallTime,
    /// Who asked for the pause, resume or cancel that is under way.
    pub asked_by: Option<UserName>,
    /// A pause was asked for before there was a plan: it is pending from the moment there is one.
    pub pause_asked: bool,
    /// What a person asked for last, once it was begun.
    pub steered: Option<Steering>,
    /// A package get's package, once it is durable on the receiving node.
    pub staged: Option<(Digest, Version)>,
    /// What is remarkable about how that package came.
    pub remark: Option<String>,
    /// What the checks found, once they ran.
    pub findings: Option<Vec<Finding>>,
    /// How often they ran.
    pub validations: u32,
    /// When they ran.
    pub validated_at: Option<WallTime>,
    /// The estimate that was asked for, once it is made.
    pub estimate: Option<PlanEstimate>,
    /// The plan's newest revision; none while the cluster is validated again before the first effect.
    pub plan: Option<Arc<Plan>>,
    /// How many revisions of the plan there were.
    pub revisions: u32,
    /// Steps of the plan that is about to come, when it is too big for one event.
    pub plan_parts: Vec<Step>,
    /// When its first revision was made.
    pub planned_at: Option<WallTime>,
    /// Every task that was ever started, of all revisions.
    pub tasks: Tasks,
    /// Lanes of the present revision that were left early, and why.
    pub restoring: BTreeMap<NodeName, Problem>,
    /// The pauses at pause points that were resumed, in order.
    pub passed: Vec<PassedPoint>,
    /// The times it stood still, in order; the last one may go on.
    pub pauses: Vec<Pause>,
    /// Nodes that changed version.
    pub updated: BTreeMap<NodeName, Updated>,
    /// What the post-update checks found, once they ran since the last resume.
    pub post_checks: Option<Vec<Finding>>,
    /// When the post-update checks first ran.
    pub post_checks_at: Option<WallTime>,
    /// When it ended.
    pub ended_at: Option<WallTime>,
    /// The state in which it left the cluster, where that was said.
    pub left: Option<String>,
}

/// What a person asks of an update that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// To pause at the next pause point.
    Pause,
    /// To go on.
    Resume,
    /// To end it.
    Cancel,
}

/// A time during which an update stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub from: WallTime,
    /// Until when; none while it goes on.
    pub to: Option<WallTime>,
}

/// A pause at a pause point that was resumed: not paused at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedPoint {
    /// Number of tasks that were done: identifies the place, whatever was tried in vain since.
    pub done_tasks: usize,
}

/// A job of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Method and path.
    pub description: String,
    /// When it began.
    pub start: WallTime,
    /// When and how it ended.
    pub end: Option<(WallTime, JobOutcome)>,
}

/// Where an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// Not validated (or, for a package operation, not carried out) yet.
    Requested,
    /// Validated, not planned or refused yet.
    Validated,
    /// Executing its plan.
    Running,
    /// Executing until the next pause point.
    PausePending,
    /// Standing still.
    Paused {
        /// Why.
        cause: PauseCause,
    },
    /// Resumed after trouble: a new revision of the plan is due.
    Replanning,
    /// Bringing high availability back before it ends.
    CancelPending,
    /// Over.
    Ended {
        /// How.
        end: OperationEnd,
    },
}

impl OperationState {
    fn name(&self) -> &'static str {
        match self {
            Self::Requested => "the operation is requested",
            Self::Validated => "the operation is validated",
            Self::Running => "the operation runs",
            Self::PausePending => "a pause is pending",
            Self::Paused { .. } => "the operation is paused",
            Self::Replanning => "a new plan is due",
            Self::CancelPending => "a cancel is pending",
            Self::Ended { .. } => "the operation has ended",
        }
    }
}

/// A node that changed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// From.
    pub from: Version,
    /// To.
    pub to: Version,
    /// When its first task began.
    pub start: WallTime,
    /// When it was done.
    pub end: WallTime,
}

/// A task that was started at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskProgress {
    /// The task, also when a later revision of the plan no longer has it.
    pub task: Task,
    /// Attempts so far.
    pub attempt: u32,
    /// Attempts since a person last intervened: what the bound on attempts counts.
    pub tries: u32,
    /// When the first attempt began.
    pub first_start: WallTime,
    /// When the newest attempt began.
    pub start: WallTime,
    /// The same on the coordinator's clock.
    pub since: Monotonic,
    /// The takeover it makes or gives back.
    pub transition: Option<TransitionId>,
    /// Expected before-state.
    pub before: Before,
    /// State of the newest attempt.
    pub state: TaskState,
}

/// State of a task's newest attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Its intent is recorded, its end is not.
    Running,
    /// Verified.
    Done {
        /// How.
        how: How,
        /// When.
        at: WallTime,
    },
    /// Not reached.
    Failed {
        /// Why.
        error: TaskError,
        /// When.
        at: WallTime,
    },
}

impl Operation {
    /// Kind of its request.
    pub fn kind(&self) -> OperationKind {
        self.request.kind()
    }

    /// The update's options; none for other kinds.
    pub fn update(&self) -> Option<&UpdateRequest> {
        match &self.request {
            Request::Update(update) => Some(update),
            Request::Validate { .. }
            | Request::Estimate(_)
            | Request::Get { .. }
            | Request::Delete { .. }
            | Request::Sync { .. }
            | Request::Firmware { .. } => None,
        }
    }

    /// The version that the operation is about, where it is known.
    pub fn version(&self) -> Option<&Version> {
        match &self.request {
            Request::Update(update) | Request::Estimate(update) => Some(&update.version),
            Request::Validate { version }
            | Request::Delete { version, .. }
            | Request::Sync { version, .. } => Some(version),
            Request::Get { .. } => self.staged.as_ref().map(|(_, version)| version),
            Request::Firmware { .. } => None,
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, OperationState::Ended { .. })
    }

    /// Tasks whose goal was verified: grows with the update, over all revisions of its plan.
    pub fn done_tasks(&self) -> usize {
        let done = |task: &&Arc<TaskProgress>| matches!(task.state, TaskState::Done { .. });
        self.tasks.values().filter(done).count()
    }

    /// Whether the task's goal was verified.
    pub fn is_done(&self, task: TaskId) -> bool {
        matches!(
            self.tasks.get(&task).map(|t| &t.state),
            Some(TaskState::Done { .. })
        )
    }

    /// The newest takeover of `node` by this operation, of whatever revision.
    pub fn takeover_of(&self, node: &NodeName) -> Option<&TaskProgress> {
        let mut newest_first = self.tasks.values().map(Arc::as_ref).rev();
        newest_first.find(|t| t.task.node == *node && t.task.action == Action::Takeover)
    }

    /// The newest task of this operation that took `node` out of service: its takeover, or its reboot when
    /// nobody can take it over.
    pub fn taken_down(&self, node: &NodeName) -> Option<&TaskProgress> {
        let mut newest_first = self.tasks.values().map(Arc::as_ref).rev();
        newest_first.find(|t| {
            t.task.node == *node && matches!(t.task.action, Action::Takeover | Action::Reboot)
        })
    }

    /// Whether a takeover with this id is this operation's.
    pub fn is_ours(&self, transition: Option<TransitionId>) -> bool {
        transition.is_some()
            && self
                .tasks
                .values()
                .any(|task| task.transition == transition)
    }

    /// Whether the lane was left early, and its restore tasks take the place of its own.
    pub fn is_restoring(&self, lane: &Lane) -> bool {
        !lane.restore.is_empty() && self.restoring.contains_key(&lane.node)
    }

    /// The lane's first task that is not done.
    pub fn next_task<'a>(&self, lane: &'a Lane) -> Option<&'a Task> {
        let tasks = match self.is_restoring(lane) {
            true => &lane.restore,
            false => &lane.tasks,
        };
        tasks.iter().find(|task| !self.is_done(task.id))
    }

    /// Whether all tasks of the lane are done, or all of its restore tasks if it was left early.
    pub fn lane_over(&self, lane: &Lane) -> bool {
        self.next_task(lane).is_none()
    }

    /// Jobs that have not ended.
    pub fn open_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| job.end.is_none())
    }

    /// When the first task that changes `node` began, in whatever revision of the plan.
    pub fn node_start(&self, node: &NodeName) -> Option<WallTime> {
        let mut oldest_first = self.tasks.values();
        oldest_first
            .find(|task| task.task.node == *node)
            .map(|task| task.first_start)
    }
}
