//! The fold itself: which event a state takes, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Job, Operation, OperationState, PassedPoint, Pause, Steering, TaskProgress, TaskState, Tasks,
    Updated,
};
use crate::event::{OperationEvent, OperationKind, PauseCause};
use crate::fold::Illegal;
use crate::id::{OperationId, TransitionId, UserName};
use crate::plan::{PausePoint, Plan, Step, TaskId};
use crate::task::{Before, TaskEnd};
use crate::time::{Monotonic, WallTime};

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
            pause_asked: false,
            steered: None,
            staged: None,
            remark: None,
            findings: None,
            validations: 0,
            validated_at: None,
            estimate: None,
            plan: None,
            revisions: 0,
            plan_parts: Vec::new(),
            planned_at: None,
            tasks: Tasks::default(),
            restoring: BTreeMap::new(),
            passed: Vec::new(),
            pauses: Vec::new(),
            updated: BTreeMap::new(),
            post_checks: None,
            post_checks_at: None,
            ended_at: None,
            left: None,
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
                digest,
                version,
                remark,
                ..
            } => {
                self.remark.clone_from(remark);
                self.staged = Some((*digest, version.clone()));
            }
            OperationEvent::Validated { at, findings } => {
                self.findings = Some(findings.clone());
                self.validated_at = Some(*at);
                self.validations += 1;
                self.enter(OperationState::Validated, *at);
            }
            OperationEvent::PlanPart {
                revision,
                steps,
                continues,
                ..
            } => self.plan_part(*revision, steps, *continues)?,
            OperationEvent::Estimated { estimate, .. } => self.estimate = Some(estimate.clone()),
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
                self.steered = Some(Steering::Pause);
                match self.state {
                    OperationState::Requested | OperationState::Validated => {
                        self.pause_asked = true;
                    }
                    OperationState::Running
                    | OperationState::PausePending
                    | OperationState::Paused { .. }
                    | OperationState::Replanning
                    | OperationState::CancelPending
                    | OperationState::Ended { .. } => self.enter(OperationState::PausePending, *at),
                }
            }
            OperationEvent::Paused { at, cause } => {
                self.enter(
                    OperationState::Paused {
                        cause: cause.clone(),
                    },
                    *at,
                );
            }
            OperationEvent::Resumed { at, by, anew } => self.resumed(*at, by, *anew),
            OperationEvent::CancelRequested { at, by } => {
                self.asked_by = Some(by.clone());
                self.steered = Some(Steering::Cancel);
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
            OperationEvent::Ended { at, end, left } => {
                self.left.clone_from(left);
                self.ended_at = Some(*at);
                self.enter(OperationState::Ended { end: end.clone() }, *at);
            }
        }
        Ok(())
    }

    fn enter(&mut self, state: OperationState, at: WallTime) {
        if let Some(open) = self.pauses.last_mut().filter(|pause| pause.to.is_none()) {
            open.to = Some(at);
        }
        if matches!(state, OperationState::Paused { .. }) {
            self.pauses.push(Pause { from: at, to: None });
        }
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
            E::PlanPart { .. } | E::Planned { .. } => {
                match self.kind() {
                    OperationKind::Update => matches!(self.state, S::Validated | S::Replanning),
                    // Nothing is validated: the devices are asked as it goes.
                    OperationKind::Firmware => matches!(self.state, S::Requested),
                    OperationKind::Validation
                    | OperationKind::PackageGet
                    | OperationKind::PackageDelete
                    | OperationKind::PackageSync
                    | OperationKind::Estimate => false,
                }
            }
            E::Estimated { .. } => {
                matches!(self.state, S::Requested) && self.kind() == OperationKind::Estimate
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
                let before = matches!(self.state, S::Requested | S::Validated);
                let can_pause = matches!(self.state, S::Running) || (before && !self.pause_asked);
                can_pause && self.kind() == OperationKind::Update
            }
            E::Paused { .. } => matches!(
                self.state,
                S::Running | S::PausePending | S::Replanning | S::CancelPending
            ),
            E::Resumed { .. } => matches!(self.state, S::Paused { .. }),
            // A firmware update has no pauses.
            E::CancelRequested { .. } => match self.kind() {
                OperationKind::Firmware => matches!(self.state, S::Requested | S::Running),
                OperationKind::Update
                | OperationKind::Validation
                | OperationKind::PackageGet
                | OperationKind::PackageDelete
                | OperationKind::PackageSync
                | OperationKind::Estimate => matches!(self.state, S::Paused { .. }),
            },
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

    fn is_due(&self, event: &str, revision: u32) -> Result<(), Illegal> {
        let due = self.revisions + 1;
        match revision == due {
            true => Ok(()),
            false => {
                let state = format!("revision {due} is due, not {revision}");
                Err(Illegal::new(event, state))
            }
        }
    }

    fn plan_part(&mut self, revision: u32, steps: &[Step], continues: bool) -> Result<(), Illegal> {
        self.is_due("plan_part", revision)?;
        let mut steps = steps.iter().cloned();
        if continues {
            let more = steps.next().into_iter().flat_map(|step| step.lanes);
            let Some(last) = self.plan_parts.last_mut() else {
                let state = "no part came before that it could continue";
                return Err(Illegal::new("plan_part", state));
            };
            last.lanes.extend(more);
        }
        self.plan_parts.extend(steps);
        Ok(())
    }

    fn planned(&mut self, at: WallTime, plan: &Plan) -> Result<(), Illegal> {
        self.is_due("planned", plan.revision)?;
        let mut plan = plan.clone();
        let parts = std::mem::take(&mut self.plan_parts);
        plan.steps.splice(..0, parts);
        if let Some(task) = plan.tasks().find(|task| self.tasks.contains_key(&task.id)) {
            let state = format!("task {} was started in an earlier revision", task.id);
            return Err(Illegal::new("planned", state));
        }
        self.revisions = plan.revision;
        self.plan = Some(Arc::new(plan));
        self.planned_at.get_or_insert(at);
        self.restoring.clear();
        let state = match std::mem::take(&mut self.pause_asked) {
            true => OperationState::PausePending,
            false => OperationState::Running,
        };
        self.enter(state, at);
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
        self.tasks.insert_mut(id, Arc::new(progress));
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
        Arc::make_mut(task).state = match end {
            TaskEnd::Done { how } => TaskState::Done { how: *how, at },
            TaskEnd::Failed { error } => TaskState::Failed {
                error: error.clone(),
                at,
            },
        };
        Ok(())
    }

    fn resumed(&mut self, at: WallTime, by: &UserName, anew: bool) {
        self.steered = Some(Steering::Resume);
        self.asked_by = Some(by.clone());
        self.forget_tries();
        let cause = match &self.state {
            OperationState::Paused { cause } => Some(cause.clone()),
            OperationState::Requested
            | OperationState::Validated
            | OperationState::Running
            | OperationState::PausePending
            | OperationState::Replanning
            | OperationState::CancelPending
            | OperationState::Ended { .. } => None,
        };
        if let Some(PauseCause::Error { .. }) = cause {
            self.post_checks = None;
            self.enter(OperationState::Replanning, at);
            return;
        }
        let done_tasks = self.done_tasks();
        self.passed.push(PassedPoint { done_tasks });
        let point = PausePoint::Validation;
        // A record of an older release goes on without.
        if !anew {
            self.enter(OperationState::Running, at);
        } else if cause == Some(PauseCause::User { point }) && self.tasks.is_empty() {
            (self.findings, self.validated_at) = (None, None);
            (self.plan, self.planned_at) = (None, None);
            self.enter(OperationState::Requested, at);
        } else {
            self.enter(OperationState::Replanning, at);
        }
    }

    /// A person intervened: the bound on attempts counts anew.
    fn forget_tries(&mut self) {
        let tried = self.tasks.values().filter(|task| task.tries > 0);
        let ids: Vec<TaskId> = tried.map(|task| task.task.id).collect();
        for id in ids {
            if let Some(task) = self.tasks.get_mut(&id) {
                Arc::make_mut(task).tries = 0;
            }
        }
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
        E::PlanPart { .. } => "plan_part",
        E::Estimated { .. } => "estimated",
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
