//! Where an update pauses, and whether it does.

use evenkeel_model::{
    Action, Lane, Milestone, Operation, OperationState, PauseAfter, PausePoint, Plan, PlanMode,
    Task, UpdateRequest,
};

/// What of the step that is due holds still for a pause.
pub(super) struct Halt<'a> {
    operation: &'a Operation,
    /// A person asked for a pause: every lane goes on to its next pause point, one that has not begun stays.
    asked: bool,
    pause_after: PauseAfter,
    /// The point before the step, while nothing of it has begun.
    boundary: Option<PausePoint>,
    step_has_begun: bool,
    /// The point was paused at before.
    passed: bool,
}

impl<'a> Halt<'a> {
    pub(super) fn new(
        operation: &'a Operation,
        request: &UpdateRequest,
        plan: &Plan,
        step: usize,
    ) -> Self {
        let lanes = &plan.steps[step].lanes;
        Self {
            operation,
            asked: operation.state == OperationState::PausePending,
            pause_after: request.pause_after,
            boundary: boundary(operation, plan, step),
            step_has_begun: lanes.iter().any(|lane| has_begun(operation, lane)),
            passed: is_passed(operation),
        }
    }

    /// The point at which the lane holds still, if it does.
    pub(super) fn holds(&self, lane: &Lane) -> Option<PausePoint> {
        let operation = self.operation;
        if !has_begun(operation, lane) {
            let started = |task: &Task| operation.tasks.contains_key(&task.id);
            return match self.step_has_begun {
                // Others of the step were quicker.
                true => self.asked.then_some(PausePoint::Giveback),
                false => {
                    let gated = lane.tasks.iter().any(started);
                    self.boundary.filter(|point| self.pauses(*point, gated))
                }
            };
        }
        let giveback = after_takeover(operation, lane)?;
        let gone_on = operation.tasks.contains_key(&giveback.id);
        let point = PausePoint::Takeover;
        self.pauses(point, gone_on).then_some(point)
    }

    /// Whether the update pauses at `point`: because a person asked for it, or for pauses at such points. One
    /// that it has gone on from is not paused at again unasked.
    fn pauses(&self, point: PausePoint, gone_on: bool) -> bool {
        self.asked || (self.pause_after.pauses_at(point) && !gone_on && !self.passed)
    }
}

/// The point at which an update pauses whose steps are all over, if it does.
pub(super) fn at_the_end(
    operation: &Operation,
    request: &UpdateRequest,
    plan: &Plan,
) -> Option<PausePoint> {
    let point = boundary(operation, plan, plan.steps.len())?;
    let asked = operation.state == OperationState::PausePending;
    let due = request.pause_after.pauses_at(point) && !is_passed(operation);
    (asked || due).then_some(point)
}

/// Nothing was done since the last pause at a point.
fn is_passed(operation: &Operation) -> bool {
    let here = operation.done_tasks();
    let last = operation.passed.last();
    last.is_some_and(|passed| passed.done_tasks == here)
}

/// Whether the node's turn has begun. Waiting for the gates before it is none of it.
fn has_begun(operation: &Operation, lane: &Lane) -> bool {
    let mut turn = lane.tasks.iter().filter(|task| !task.action.is_gate());
    turn.any(|task| operation.tasks.contains_key(&task.id))
}

/// The pause point before a step. Steps that only confirm what came home before are none of their own.
fn boundary(operation: &Operation, plan: &Plan, step: usize) -> Option<PausePoint> {
    let confirms = |lane: &Lane| lane.tasks.iter().all(|task| !moves(task));
    let before = plan.steps[..step].iter().rev();
    let Some(before) = before
        .into_iter()
        .find(|step| !step.lanes.iter().all(confirms))
    else {
        // A revision after trouble was not validated again.
        return operation.tasks.is_empty().then_some(PausePoint::Validation);
    };
    let installs = |lane: &Lane| matches!(&lane.tasks[..], [task] if task.action.is_install());
    match before.lanes.iter().all(installs) {
        true => Some(PausePoint::Install),
        false => (plan.mode != PlanMode::SingleNode).then_some(PausePoint::Giveback),
    }
}

/// Whether the task brings its node on, rather than looking or saying that it is well.
fn moves(task: &Task) -> bool {
    !matches!(
        task.action,
        Action::VerifyHome { .. } | Action::Stabilize { .. } | Action::MarkGood
    )
}

/// The lane's giveback, if the last task that is done is the stabilize time after a takeover.
fn after_takeover<'a>(operation: &Operation, lane: &'a Lane) -> Option<&'a Task> {
    let next = operation.next_task(lane)?;
    let place = lane.tasks.iter().position(|task| task.id == next.id)?;
    let last = lane.tasks[..place].last()?;
    matches!(
        last.action,
        Action::Stabilize {
            after: Milestone::Takeover,
            ..
        }
    )
    .then_some(next)
}
