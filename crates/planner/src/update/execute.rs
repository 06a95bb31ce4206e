//! Goes on with the plan, step by step. The lanes of a step go on for themselves: none waits for another,
//! but for a pause.

use evenkeel_model::{
    Awaiting, Lane, Operation, OperationEvent, OperationState, PauseCause, PausePoint, Plan,
    Problem, Task, TaskError, TaskErrorKind, TaskProgress, TaskState, UpdateRequest,
};

use super::flight::{cut_gates, in_flight, is_running, settle};
use super::pause::{self, Halt};
use super::start::{Absent, Start, start};
use super::wind_down::wind_down;
use super::{finish, pause_on, problem_of};
use crate::explain::describe;
use crate::input::{Decision, Input};
use crate::next::awaiting;

/// How often, for each attempt that a task has, a timer may start anew because another coordinator carries on.
const TIMERS_OF_AN_ATTEMPT: u32 = 10;

pub(super) fn execute(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    let settled = settle(input);
    if !settled.is_empty() {
        return Decision::events(settled);
    }
    let operation = input.operation;
    let Some(plan) = &operation.plan else {
        let text = "the update runs without a plan";
        return pause_on(input, problem_of(None, text, "Cancel the update."));
    };
    // A lane that was left early is brought home; nothing new begins after it.
    let left = || operation.restoring.values().next().cloned();
    if let Some(problem) = failure(input).or_else(left) {
        return wind_down(input, plan, problem);
    }
    let is_open = |lane: &&Lane| !operation.lane_over(lane);
    let step = (plan.steps.iter()).position(|step| step.lanes.iter().any(|lane| is_open(&lane)));
    let Some(step) = step else {
        return match pause::at_the_end(operation, request, plan) {
            Some(point) => pause_at(input, point),
            None => finish::finish(input, request),
        };
    };
    let halt = Halt::new(operation, request, plan, step);
    let (mut held, mut due, mut runs) = (None, Vec::new(), false);
    for lane in plan.steps[step].lanes.iter().filter(is_open) {
        let Some(task) = operation.next_task(lane) else {
            continue;
        };
        match halt.holds(lane) {
            Some(point) if !is_running(operation, task) || task.action.is_gate() => {
                held = Some(stronger(held, point));
            }
            _ if is_running(operation, task) => runs = true,
            _ => due.push(task),
        }
    }
    if let Some(point) = held
        && !runs
        && due.is_empty()
    {
        let mut events = cut_gates(input);
        events.extend(pause_at(input, point).events);
        return Decision::events(events);
    }
    go_on(input, plan, due)
}

/// Starts what is due, beside what is under way.
fn go_on(input: &Input<'_>, plan: &Plan, due: Vec<&Task>) -> Decision {
    let Advanced { decision, problem } = advance(input, due);
    if !decision.events.is_empty() {
        return decision;
    }
    if let Some(problem) = problem {
        return wind_down(input, plan, problem);
    }
    with_flight(input, decision)
}

/// A decision that appends nothing, and what is under way meanwhile.
pub(crate) fn with_flight(input: &Input<'_>, decision: Decision) -> Decision {
    let mut flight = in_flight(input);
    flight.hand_over = decision.hand_over;
    flight.awaiting.extend(decision.awaiting);
    flight
}

fn pause_at(input: &Input<'_>, point: PausePoint) -> Decision {
    let (at, cause) = (input.wall, PauseCause::User { point });
    Decision::events(vec![OperationEvent::Paused { at, cause }])
}

/// Where an update stands whose lanes stand at different points: what matters most is a partner that serves
/// for two.
fn stronger(held: Option<PausePoint>, point: PausePoint) -> PausePoint {
    match held {
        Some(PausePoint::Takeover) => PausePoint::Takeover,
        Some(_) | None => point,
    }
}

/// A task of the plan that failed for good, if one did.
fn failure(input: &Input<'_>) -> Option<Problem> {
    let operation = input.operation;
    let mut failed = (operation.tasks.values()).filter_map(|progress| problem(input, progress));
    failed.find_map(|(task, problem)| {
        // Tasks of earlier revisions are history.
        operation.plan.as_ref()?.task(task.id)?;
        Some(problem)
    })
}

/// What is wrong with a task that failed for good.
fn problem<'a>(input: &Input<'_>, progress: &'a TaskProgress) -> Option<(&'a Task, Problem)> {
    match &progress.state {
        TaskState::Failed { error, .. } if is_final(input, progress, error.kind) => {
            Some((&progress.task, told(input, progress, error)))
        }
        TaskState::Failed { .. } | TaskState::Running | TaskState::Done { .. } => None,
    }
}

/// A failure as a person is told of it. What a lane was left for is not forgotten when its node cannot be
/// brought home either.
fn told(input: &Input<'_>, progress: &TaskProgress, error: &TaskError) -> Problem {
    let node = &progress.task.node;
    let (mut message, mut action) = (error.message.clone(), error.action.clone());
    let first = input.operation.restoring.get(node);
    if let Some(first) = first.filter(|first| first.error != message)
        && input.operation.state != OperationState::CancelPending
    {
        message = format!("{}; and it is not home: {message}", first.error);
        action = format!("{action} Then: {}", first.action);
    }
    problem_of(Some(node.clone()), &message, &action)
}

/// The same, of a task of the plan.
pub(crate) fn trouble(input: &Input<'_>, task: &Task) -> Option<Problem> {
    let progress = input.operation.tasks.get(&task.id)?;
    problem(input, progress).map(|(_, problem)| problem)
}

/// Whether a failure of that kind needs a person. What failed before a person last intervened does not.
fn is_final(input: &Input<'_>, progress: &TaskProgress, kind: TaskErrorKind) -> bool {
    match kind {
        TaskErrorKind::Permanent => progress.tries > 0,
        TaskErrorKind::FellBack => progress.tries > 0 && !is_left(input.operation, progress),
        // A watched task fails in passing only because another coordinator starts its timer anew: that says nothing
        // against the task, until coordinators follow each other so fast that no timer runs out.
        TaskErrorKind::Transient if progress.task.is_watched() => {
            progress.tries >= input.tunables.attempts * TIMERS_OF_AN_ATTEMPT
        }
        TaskErrorKind::Transient => progress.tries >= input.tunables.attempts,
    }
}

/// Whether the task belongs to the part of a lane that was left for its restore tasks.
fn is_left(operation: &Operation, progress: &TaskProgress) -> bool {
    let mut lanes = operation.plan.iter().flat_map(|plan| plan.lanes());
    lanes.any(|lane| operation.is_restoring(lane) && lane.tasks.contains(&progress.task))
}

/// What came of starting some tasks.
#[derive(Default)]
pub(crate) struct Advanced {
    pub(crate) decision: Decision,
    /// Why one of them cannot be started, not even later.
    pub(crate) problem: Option<Problem>,
}

/// Starts the given tasks, one of each lane, where they can be: the intent first, the order once it is
/// recorded.
fn advance(input: &Input<'_>, tasks: Vec<&Task>) -> Advanced {
    let mut advanced = each(input, tasks);
    // Nothing new begins beside trouble.
    if advanced.problem.is_some() {
        advanced.decision = Decision::default();
    }
    advanced
}

/// The same, where one that cannot be started does not keep the others.
pub(crate) fn each<'a>(input: &Input<'_>, tasks: impl IntoIterator<Item = &'a Task>) -> Advanced {
    let mut advanced = Advanced::default();
    let mut absent = Absent::default();
    for task in tasks {
        let decision = &mut advanced.decision;
        if let Some(wait) = before_another_try(input, task) {
            decision.awaiting.push(wait);
            continue;
        }
        match start(input, task, &mut absent) {
            Start::Intent(event) => decision.events.push(*event),
            Start::HandOver(to) => decision.hand_over = Some(to),
            Start::Trouble(problem) => {
                advanced.problem.get_or_insert(problem);
            }
            Start::Wait(why) if input.idle > input.tunables.gate() => {
                let action =
                    "See to what is named, then resume: the update looks again before it acts.";
                let problem = problem_of(Some(task.node.clone()), &why, action);
                advanced.problem.get_or_insert(problem);
            }
            Start::Wait(why) => decision.awaiting.push(gated(input, task, why)),
        }
    }
    advanced
}

/// What failed in passing is given a moment before it is tried again. What a coordinator watches is not: its
/// timer only starts anew.
fn before_another_try(input: &Input<'_>, task: &Task) -> Option<Awaiting> {
    let progress = input.operation.tasks.get(&task.id)?;
    let TaskState::Failed { error, .. } = &progress.state else {
        return None;
    };
    if task.is_watched() || progress.tries == 0 {
        return None;
    }
    let left = input.tunables.another_try().checked_sub(input.idle)?;
    if left.is_zero() {
        return None;
    }
    let what = format!("another try to {}", describe(task).what);
    let mut wait = awaiting(
        input,
        what,
        "The time passing; the update tries again by itself.",
    );
    wait.node = Some(task.node.clone());
    wait.seen = Some(error.message.clone());
    wait.remaining = Some(left);
    Some(wait)
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
