//! Where an update pauses, and whether it does.

use evenkeel_model::{
    Action, Lane, Milestone, Operation, OperationState, PausePoint, Plan, Task, UpdateRequest,
};

/// The pause point at which the update stands between two tasks, if it is one. `step` is the one that is
/// due; none when all are over.
pub(super) fn pause_point(
    operation: &Operation,
    plan: &Plan,
    step: Option<usize>,
) -> Option<PausePoint> {
    let Some(step) = step else {
        return boundary(operation, plan, plan.steps.len());
    };
    let lanes = &plan.steps[step].lanes;
    let mut begun = lanes.iter().flat_map(|lane| &lane.tasks);
    if !begun.any(|task| operation.is_done(task.id)) {
        return boundary(operation, plan, step);
    }
    let mut open = lanes.iter().filter(|lane| !operation.lane_over(lane));
    open.all(|lane| is_after_takeover(operation, lane))
        .then_some(PausePoint::Takeover)
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
        false => Some(PausePoint::Giveback),
    }
}

/// Whether the task brings its node on, rather than looking or saying that it is well.
fn moves(task: &Task) -> bool {
    !matches!(task.action, Action::VerifyHome { .. } | Action::MarkGood)
}

/// Whether the lane's last task that is done is the stabilize time after a takeover.
fn is_after_takeover(operation: &Operation, lane: &Lane) -> bool {
    let done = |task: &&Task| operation.is_done(task.id);
    let last = lane.tasks.iter().take_while(done).last();
    last.is_some_and(|task| {
        matches!(
            task.action,
            Action::Stabilize {
                after: Milestone::Takeover,
                ..
            }
        )
    })
}

/// Whether the update pauses at `point`: because a person asked for it, or for pauses at such points. One
/// that was resumed is not paused at again unasked.
pub(super) fn pauses(operation: &Operation, request: &UpdateRequest, point: PausePoint) -> bool {
    if operation.state == OperationState::PausePending {
        return true;
    }
    let here = operation.done_tasks();
    let resumed = operation
        .passed
        .last()
        .is_some_and(|p| p.done_tasks == here);
    request.pause_after.pauses_at(point) && !resumed
}
