//! The fold of one operation's stream.

use std::collections::BTreeMap;

use crate::event::{
    JobOutcome, OperationEnd, OperationEvent, OperationKind, PauseCause, Request, UpdateRequest,
};
use crate::finding::{Finding, Problem};
use crate::fold::Illegal;
use crate::id::{Digest, JobId, NodeName, OperationId, TransitionId, UserName, Version};
use crate::plan::{Action, Lane, Plan, Task, TaskId};
use crate::task::{Before, How, TaskEnd, TaskError};
use crate::time::{Monotonic, WallTime};

/// An operation, from its events.
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
    /// A package get's package, once it is durable on the receiving node.
    pub staged: Option<(Digest, Version)>,
    /// What the checks found, once they ran.
    pub findings: Option<Vec<Finding>>,
    /// When they ran.
    pub validated_at: Option<WallTime>,
    /// The plan's newest revision.
    pub plan: Option<Plan>,
    /// When its first revision was made.
    pub planned_at: Option<WallTime>,
    /// Every task that was ever started, of all revisions.
    pub tasks: BTreeMap<TaskId, TaskProgress>,
    /// Lanes of the present revision that were left early, and why.
    pub restoring: BTreeMap<NodeName, Problem>,
    /// The pauses at pause points that were resumed, in order.
    pub passed: Vec<PassedPoint>,
    /// Nodes that changed version.
    pub updated: BTreeMap<NodeName, Updated>,
    /// What the post-update checks found, once they ran since the last resume.
    pub post_checks: Option<Vec<Finding>>,
    /// When the post-update checks first ran.
    pub post_checks_at: Option<WallTime>,
    /// When it ended.
    pub ended_at: Option<WallTime>,
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
    /// The operation that begins with this event.
    pub fn begin(id: OperationId, event: &OperationEvent) -> Result<Self, Illegal> {
        let OperationEvent::Requested { at, by, request } = event else {
            return Err(Illegal::new(event_name(event), "the stream is empty"));
        };
        Ok(Self {
            id,
            request: request.clone(),
            by: by.clone(),
            requested_at: *at,
            jobs: Vec::new(),
            state: OperationState::Requested,
            state_since: *at,
            asked_by: None,
            staged: None,
            findings: None,
            validated_at: None,
            plan: None,
            planned_at: None,
            tasks: BTreeMap::new(),
            restoring: BTreeMap::new(),
            passed: Vec::new(),
            updated: BTreeMap::new(),
            post_checks: None,
            post_checks_at: None,
            ended_at: None,
        })
    }

    /// Applies the next event.
    pub fn apply(&mut self, event: &OperationEvent) -> Result<(), Illegal> {
        self.check(event)?;
        match event {
            OperationEvent::Requested { .. } => unreachable!("refused by check"),
            OperationEvent::JobOpened {
                at,
                job,
                description,
            } => self.jobs.push(Job {
                id: *job,
                description: description.clone(),
                start: *at,
                end: None,
            }),
            OperationEvent::JobClosed { at, job, outcome } => {
                let open = self
                    .jobs
                    .iter_mut()
                    .find(|j| j.id == *job && j.end.is_none());
                let Some(open) = open else {
                    return Err(Illegal::new("job_closed", format!("job {job} is not open")));
                };
                open.end = Some((*at, outcome.clone()));
            }
            OperationEvent::Staged {
                digest, version, ..
            } => {
                self.staged = Some((*digest, version.clone()));
            }
            OperationEvent::Validated { at, findings } => {
                self.findings = Some(findings.clone());
                self.validated_at = Some(*at);
                self.enter(OperationState::Validated, *at);
            }
            OperationEvent::Planned { at, plan } => self.planned(*at, plan)?,
            OperationEvent::TaskStarted {
                at,
                since,
                task,
                attempt,
                transition,
                before,
            } => {
                self.task_started(*at, *since, *task, *attempt, *transition, before)?;
            }
            OperationEvent::TaskEnded {
                at,
                task,
                attempt,
                end,
            } => {
                self.task_ended(*at, *task, *attempt, end)?;
            }
            OperationEvent::Restoring { node, problem, .. } => {
                self.restoring.insert(node.clone(), problem.clone());
            }
            OperationEvent::PauseRequested { at, by } => {
                self.asked_by = Some(by.clone());
                self.enter(OperationState::PausePending, *at);
            }
            OperationEvent::Paused { at, cause } => {
                self.enter(
                    OperationState::Paused {
                        cause: cause.clone(),
                    },
                    *at,
                );
            }
            OperationEvent::Resumed { at, by } => self.resumed(*at, by),
            OperationEvent::CancelRequested { at, by } => {
                self.asked_by = Some(by.clone());
                self.forget_tries();
                self.enter(OperationState::CancelPending, *at);
            }
            OperationEvent::NodeUpdated { at, node, from, to } => {
                let start = self.node_start(node).unwrap_or(self.requested_at);
                let row = Updated {
                    from: from.clone(),
                    to: to.clone(),
                    start,
                    end: *at,
                };
                self.updated.insert(node.clone(), row);
            }
            OperationEvent::PostChecked { at, findings } => {
                self.post_checks = Some(findings.clone());
                self.post_checks_at.get_or_insert(*at);
            }
            OperationEvent::Ended { at, end } => {
                self.ended_at = Some(*at);
                self.enter(OperationState::Ended { end: end.clone() }, *at);
            }
        }
        Ok(())
    }

    fn enter(&mut self, state: OperationState, at: WallTime) {
        self.state = state;
        self.state_since = at;
    }

    /// Which events a state takes.
    fn check(&self, event: &OperationEvent) -> Result<(), Illegal> {
        use OperationEvent as E;
        use OperationState as S;
        let legal = match event {
            // Only the first event is one, and `begin` reads that.
            E::Requested { .. } => false,
            E::JobOpened { .. } | E::JobClosed { .. } => true,
            E::Staged { .. } => {
                matches!(self.state, S::Requested) && self.kind() == OperationKind::PackageGet
            }
            E::Validated { .. } => {
                matches!(self.state, S::Requested)
                    && matches!(
                        self.kind(),
                        OperationKind::Update | OperationKind::Validation
                    )
            }
            E::Planned { .. } => {
                matches!(self.state, S::Validated | S::Replanning)
                    && self.kind() == OperationKind::Update
            }
            E::TaskStarted { .. } => {
                matches!(self.state, S::Running | S::PausePending | S::CancelPending)
            }
            // A result that arrives late is recorded in any state but the last.
            E::TaskEnded { .. } => !matches!(self.state, S::Ended { .. }),
            E::Restoring { .. } => {
                matches!(self.state, S::Running | S::PausePending | S::CancelPending)
            }
            E::PauseRequested { .. } => {
                matches!(self.state, S::Running) && self.kind() == OperationKind::Update
            }
            E::Paused { .. } => matches!(
                self.state,
                S::Running | S::PausePending | S::Replanning | S::CancelPending
            ),
            E::Resumed { .. } | E::CancelRequested { .. } => {
                matches!(self.state, S::Paused { .. })
            }
            E::NodeUpdated { .. } => !matches!(self.state, S::Ended { .. }),
            E::PostChecked { .. } => matches!(self.state, S::Running | S::PausePending),
            E::Ended { .. } => !matches!(self.state, S::Ended { .. } | S::Paused { .. }),
        };
        match legal {
            true => Ok(()),
            false => {
                let state = format!("{} ({})", self.state.name(), self.kind().as_str());
                Err(Illegal::new(event_name(event), state))
            }
        }
    }

    fn planned(&mut self, at: WallTime, plan: &Plan) -> Result<(), Illegal> {
        let due = self.plan.as_ref().map_or(1, |plan| plan.revision + 1);
        if plan.revision != due {
            let state = format!("revision {due} is due, not {}", plan.revision);
            return Err(Illegal::new("planned", state));
        }
        if let Some(task) = plan.tasks().find(|task| self.tasks.contains_key(&task.id)) {
            let state = format!("task {} was started in an earlier revision", task.id);
            return Err(Illegal::new("planned", state));
        }
        self.plan = Some(plan.clone());
        self.planned_at.get_or_insert(at);
        self.restoring.clear();
        self.enter(OperationState::Running, at);
        Ok(())
    }

    fn task_started(
        &mut self,
        at: WallTime,
        since: Monotonic,
        id: TaskId,
        attempt: u32,
        transition: Option<TransitionId>,
        before: &Before,
    ) -> Result<(), Illegal> {
        let Some(task) = self.plan.as_ref().and_then(|plan| plan.task(id)).cloned() else {
            return Err(Illegal::new(
                "task_started",
                format!("the plan has no task {id}"),
            ));
        };
        let earlier = self.tasks.get(&id);
        let due = earlier.map_or(1, |earlier| earlier.attempt + 1);
        let tries = earlier.map_or(1, |earlier| earlier.tries + 1);
        let done = self.is_done(id);
        if attempt != due || done {
            let state = format!("attempt {due} of task {id} is due, or it is done");
            return Err(Illegal::new("task_started", state));
        }
        let first_start = earlier.map_or(at, |earlier| earlier.first_start);
        let (before, state) = (before.clone(), TaskState::Running);
        let progress = TaskProgress {
            task,
            attempt,
            tries,
            first_start,
            start: at,
            since,
            transition,
            before,
            state,
        };
        self.tasks.insert(id, progress);
        Ok(())
    }

    fn task_ended(
        &mut self,
        at: WallTime,
        id: TaskId,
        attempt: u32,
        end: &TaskEnd,
    ) -> Result<(), Illegal> {
        let task = self
            .tasks
            .get_mut(&id)
            .filter(|task| task.attempt == attempt && matches!(task.state, TaskState::Running));
        let Some(task) = task else {
            let state = format!("attempt {attempt} of task {id} does not run");
            return Err(Illegal::new("task_ended", state));
        };
        task.state = match end {
            TaskEnd::Done { how } => TaskState::Done { how: *how, at },
            TaskEnd::Failed { error } => TaskState::Failed {
                error: error.clone(),
                at,
            },
        };
        Ok(())
    }

    fn resumed(&mut self, at: WallTime, by: &UserName) {
        self.asked_by = Some(by.clone());
        self.forget_tries();
        let trouble = matches!(
            self.state,
            OperationState::Paused {
                cause: PauseCause::Error { .. }
            }
        );
        if trouble {
            self.post_checks = None;
            self.enter(OperationState::Replanning, at);
        } else {
            let done_tasks = self.done_tasks();
            self.passed.push(PassedPoint { done_tasks });
            self.enter(OperationState::Running, at);
        }
    }

    /// A person intervened: the bound on attempts counts anew.
    fn forget_tries(&mut self) {
        self.tasks.values_mut().for_each(|task| task.tries = 0);
    }

    /// Kind of its request.
    pub fn kind(&self) -> OperationKind {
        self.request.kind()
    }

    /// The update's options; none for other kinds.
    pub fn update(&self) -> Option<&UpdateRequest> {
        match &self.request {
            Request::Update(update) => Some(update),
            Request::Validate { .. } | Request::Get { .. } | Request::Delete { .. } => None,
        }
    }

    /// The version that the operation is about, where it is known.
    pub fn version(&self) -> Option<&Version> {
        match &self.request {
            Request::Update(update) => Some(&update.version),
            Request::Validate { version } | Request::Delete { version, .. } => Some(version),
            Request::Get { .. } => self.staged.as_ref().map(|(_, version)| version),
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, OperationState::Ended { .. })
    }

    /// Tasks whose goal was verified: grows with the update, over all revisions of its plan.
    pub fn done_tasks(&self) -> usize {
        let done = |task: &&TaskProgress| matches!(task.state, TaskState::Done { .. });
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
        let mut newest_first = self.tasks.values().rev();
        newest_first.find(|t| t.task.node == *node && t.task.action == Action::Takeover)
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

fn event_name(event: &OperationEvent) -> &'static str {
    use OperationEvent as E;
    match event {
        E::Requested { .. } => "requested",
        E::JobOpened { .. } => "job_opened",
        E::JobClosed { .. } => "job_closed",
        E::Staged { .. } => "staged",
        E::Validated { .. } => "validated",
        E::Planned { .. } => "planned",
        E::TaskStarted { .. } => "task_started",
        E::TaskEnded { .. } => "task_ended",
        E::Restoring { .. } => "restoring",
        E::PauseRequested { .. } => "pause_requested",
        E::Paused { .. } => "paused",
        E::Resumed { .. } => "resumed",
        E::CancelRequested { .. } => "cancel_requested",
        E::NodeUpdated { .. } => "node_updated",
        E::PostChecked { .. } => "post_checked",
        E::Ended { .. } => "ended",
    }
}
