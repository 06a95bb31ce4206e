//! Goes on with the plan, step by step.

use evenkeel_model::{
    Awaiting, Lane, OperationEvent, PauseCause, Problem, Task, TaskErrorKind, TaskProgress,
    TaskState, UpdateRequest,
};

use super::flight::{in_flight, is_anything_running, settle};
use super::pause::{pause_point, pauses};
use super::start::{Start, start};
use super::{finish, pause_on, problem_of};
use crate::explain::describe;
use crate::input::{Decision, Input};
use crate::next::awaiting;

pub(super) fn execute(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    let settled = settle(input);
    if !settled.is_empty() {
        return Decision::events(settled);
    }
    if is_anything_running(input) {
        return in_flight(input);
    }
    let operation = input.operation;
    let Some(plan) = &operation.plan else {
        let text = "the update runs without a plan";
        return pause_on(input, problem_of(None, text, "Cancel the update."));
    };
    if let Some(problem) = trouble(input, plan.tasks()) {
        return pause_on(input, problem);
    }
    // A lane that was left early is brought home; nothing new begins after it.
    let goes_on = !plan.lanes().any(|lane| operation.is_restoring(lane));
    let step = plan.steps.iter().position(|step| {
        let open = step.lanes.iter().any(|lane| !operation.lane_over(lane));
        let left = |lane: &Lane| operation.is_restoring(lane);
        open && (goes_on || step.lanes.iter().any(left))
    });
    if goes_on
        && let Some(point) = pause_point(operation, plan, step)
        && pauses(operation, request, point)
    {
        let (at, cause) = (input.wall, PauseCause::User { point });
        return Decision::events(vec![OperationEvent::Paused { at, cause }]);
    }
    let Some(step) = step else {
        return finish::finish(input);
    };
    let lanes = plan.steps[step].lanes.iter();
    advance(input, lanes.filter_map(|lane| operation.next_task(lane)))
}

/// A task that failed for good, if one did.
pub(super) fn trouble<'a>(
    input: &Input<'_>,
    mut tasks: impl Iterator<Item = &'a Task>,
) -> Option<Problem> {
    tasks.find_map(|task| {
        let progress = input.operation.tasks.get(&task.id)?;
        match &progress.state {
            TaskState::Failed { error, .. } if is_final(input, progress, error.kind) => {
                let node = Some(task.node.clone());
                Some(problem_of(node, &error.message, &error.action))
            }
            TaskState::Failed { .. } | TaskState::Running | TaskState::Done { .. } => None,
        }
    })
}

/// Whether a failure of that kind needs a person. What failed before a person last intervened does not.
fn is_final(input: &Input<'_>, progress: &TaskProgress, kind: TaskErrorKind) -> bool {
    match kind {
        TaskErrorKind::Permanent => progress.tries > 0,
        TaskErrorKind::FellBack => progress.tries > 0 && !is_left(input, progress),
        // A watched task fails in passing only because another coordinator starts its timer anew: that
        // says nothing against the task.
        TaskErrorKind::Transient if progress.task.is_watched() => false,
        TaskErrorKind::Transient => progress.tries >= input.tunables.attempts,
    }
}

/// Whether the task belongs to the part of a lane that was left for its restore tasks.
fn is_left(input: &Input<'_>, progress: &TaskProgress) -> bool {
    let operation = input.operation;
    let mut lanes = operation.plan.iter().flat_map(|plan| plan.lanes());
    lanes.any(|lane| operation.is_restoring(lane) && lane.tasks.contains(&progress.task))
}

/// Starts the given tasks, one of each lane, where they can be: the intent first, the order once it is
/// recorded.
pub(super) fn advance<'a>(input: &Input<'_>, tasks: impl Iterator<Item = &'a Task>) -> Decision {
    let mut decision = Decision::default();
    for task in tasks {
        match start(input, task) {
            Start::Intent(event) => decision.events.push(*event),
            Start::HandOver(to) => decision.hand_over = Some(to),
            Start::Trouble(problem) => return pause_on(input, problem),
            Start::Wait(why) if input.idle > input.tunables.gate() => {
                let action =
                    "See to what is named, then resume: the update looks again before it acts.";
                return pause_on(input, problem_of(Some(task.node.clone()), &why, action));
            }
            Start::Wait(why) => decision.awaiting.push(gated(input, task, why)),
        }
    }
    decision
}

fn gated(input: &Input<'_>, task: &Task, why: String) -> Awaiting {
    let described = describe(task);
    let mut wait = awaiting(
        input,
        format!("before the update can {}", described.what),
        "The pair becoming healthy; the update goes on by itself.",
    );
    wait.node = Some(task.node.clone());
    wait.seen = Some(why);
    wait.remaining = Some(input.tunables.gate().saturating_sub(input.idle));
    wait
}
