//! How long an update has worked, and how long it will: kept true while it runs.
//!
//! An estimate is what has elapsed, what is left of the tasks that run, and what is still to come: a task that
//! overruns its own estimate extends it, one that was quicker shortens it. Pauses are no work, in neither.

use std::time::Duration;

use evenkeel_model::{Lane, Operation, OperationState, Step, Task, TaskState, WallTime};

use super::At;

/// Work between `start` and `end`, or until now: pauses do not count.
pub(super) fn worked(
    operation: &Operation,
    start: WallTime,
    end: Option<WallTime>,
    at: At,
) -> Duration {
    let end = end.unwrap_or(at.now);
    let paused: Duration = operation
        .pauses
        .iter()
        .map(|pause| {
            let from = later(pause.from, start);
            earlier(pause.to.unwrap_or(end), end).shown_since(from)
        })
        .sum();
    end.shown_since(start).saturating_sub(paused)
}

/// What is shown as the later: the shown times of one operation, whose order only their sum depends on.
fn later(a: WallTime, b: WallTime) -> WallTime {
    if a.timestamp() < b.timestamp() { b } else { a }
}

fn earlier(a: WallTime, b: WallTime) -> WallTime {
    if a.timestamp() < b.timestamp() { a } else { b }
}

/// What is left of the updates: of the lanes of a step that which has most left, and all steps after it.
pub(super) fn remaining(operation: &Operation, at: At) -> Duration {
    let Some(plan) = &operation.plan else {
        return Duration::ZERO;
    };
    if operation.is_ended() {
        return Duration::ZERO;
    }
    let step = |step: &Step| {
        let lanes = step.lanes.iter().map(|lane| of_lane(operation, lane, at));
        lanes.max().unwrap_or_default()
    };
    plan.steps.iter().map(step).sum()
}

fn of_lane(operation: &Operation, lane: &Lane, at: At) -> Duration {
    let tasks = match operation.is_restoring(lane) {
        true => &lane.restore,
        // Nothing new begins once it is cancelled.
        false if operation.state == OperationState::CancelPending => return Duration::ZERO,
        false => &lane.tasks,
    };
    tasks.iter().map(|task| of_task(operation, task, at)).sum()
}

fn of_task(operation: &Operation, task: &Task, at: At) -> Duration {
    let expected = at.expected(task.estimate_s);
    let Some(progress) = operation.tasks.get(&task.id) else {
        return expected;
    };
    match &progress.state {
        TaskState::Done { .. } => Duration::ZERO,
        TaskState::Running => expected.saturating_sub(at.elapsed(progress.start, None)),
        // It is tried again, from its beginning.
        TaskState::Failed { .. } => expected,
    }
}
