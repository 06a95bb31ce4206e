//! Tasks under way: what is ordered, what is awaited, what ended and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{
    Action, Awaiting, Executor, NodeName, Operation, OperationEvent, OperationState, ReportState,
    Sabotage, Task, TaskEnd, TaskError, TaskErrorKind, TaskKey, TaskOrder, TaskProgress, TaskState,
};

use super::problem_of;
use crate::explain::describe;
use crate::gate;
use crate::input::{Decision, Input};
use crate::judge::{Verdict, judge, permanent};
use crate::pair::foreign;

/// Most events of one kind in a decision: the record bounds an append.
const MOST_AT_ONCE: usize = 800;
/// Most events that the end of one task makes.
const MOST_OF_A_TASK: usize = 2;

pub(super) fn is_anything_running(input: &Input<'_>) -> bool {
    running_tasks(input).next().is_some()
}

pub(super) fn is_running(operation: &Operation, task: &Task) -> bool {
    let progress = operation.tasks.get(&task.id);
    progress.is_some_and(|progress| matches!(progress.state, TaskState::Running))
}

/// Ends the waits for gates: what they wait for does not begin now.
pub(super) fn cut_gates(input: &Input<'_>) -> Vec<OperationEvent> {
    let gates = running_tasks(input).filter(|progress| progress.task.action.is_gate());
    let cut = gates.map(|progress| OperationEvent::TaskEnded {
        at: input.wall,
        task: progress.task.id,
        attempt: progress.attempt,
        end: TaskEnd::Failed {
            error: TaskError {
                kind: TaskErrorKind::Transient,
                message: cut_short(awaited(input, progress).seen),
                action: String::new(),
                code: None,
            },
        },
    });
    cut.take(MOST_AT_ONCE).collect()
}

/// What is said of a gate that is left before it opened.
fn cut_short(seen: Option<String>) -> String {
    let seen = seen.map_or_else(String::new, |seen| format!("; last seen: {seen}"));
    format!("the update does not go on now; its conditions are looked at anew when it does{seen}")
}

/// Nodes with a task under way.
pub(super) fn busy_nodes<'a>(input: &Input<'a>) -> BTreeSet<&'a NodeName> {
    running_tasks(input)
        .map(|progress| &progress.task.node)
        .collect()
}

pub(super) fn running_tasks<'a>(input: &Input<'a>) -> impl Iterator<Item = &'a TaskProgress> {
    input
        .operation
        .tasks
        .values()
        .map(Arc::as_ref)
        .filter(|task| matches!(task.state, TaskState::Running))
}

/// Records every result that is in.
pub(crate) fn settle(input: &Input<'_>) -> Vec<OperationEvent> {
    let settled = running_tasks(input).map(|task| settle_task(input, task));
    // A task's end and what follows from it are never parted: only a running task is settled, once.
    let ended = settled.filter(|events| !events.is_empty());
    ended
        .take(MOST_AT_ONCE / MOST_OF_A_TASK)
        .flatten()
        .collect()
}

fn settle_task(input: &Input<'_>, task: &TaskProgress) -> Vec<OperationEvent> {
    let end = match &task.task.executor {
        Executor::Coordinator => judge(input, task, quiet(input, task)).end(),
        Executor::Agent(agent) => match report(input, task) {
            Some(ReportState::Ended { end }) => Some(end.clone()),
            Some(ReportState::Running { .. }) | None => given_up(input, task, agent),
        },
    };
    end.map(|end| ended(input, task, end)).unwrap_or_default()
}

fn report<'a>(input: &Input<'a>, task: &TaskProgress) -> Option<&'a ReportState> {
    input.running.get(&task.task.id)?.report.as_ref()
}

/// How long nothing about a task has changed. While its agent has not accepted it, that is as long as
/// the operation stands still.
fn quiet(input: &Input<'_>, task: &TaskProgress) -> Duration {
    let known = input.running.get(&task.task.id);
    let quiet = known.map_or(Duration::ZERO, |known| known.quiet);
    match report(input, task).is_some() || task.task.is_watched() {
        true => quiet,
        false => quiet.max(input.idle),
    }
}

/// A task whose agent is silent, or makes no progress, for too long. Whatever it did is observed when
/// the update resumes.
fn given_up(input: &Input<'_>, task: &TaskProgress, agent: &NodeName) -> Option<TaskEnd> {
    let what = describe(&task.task).what;
    let (silence, quiet) = (input.silence(agent), quiet(input, task));
    let message = if silence > input.tunables.silence_of(&task.task.action) {
        let why = input.why_silent(agent);
        format!(
            "node \"{agent}\" has not answered for {} s: {why}; it should {what}",
            silence.as_secs()
        )
    } else if quiet > input.tunables.no_progress(&task.task.action) {
        format!(
            "node \"{agent}\" made no progress for {} s; it should {what}",
            quiet.as_secs()
        )
    } else {
        return None;
    };
    let action = match task.task.action {
        Action::Firmware { .. } => {
            "Bring the node and its evenkeeld back, then bring the firmware in again."
        }
        _ => "Bring the node and its evenkeeld back, then resume.",
    };
    let error = permanent(message, action);
    Some(TaskEnd::Failed { error })
}

/// The end of a task, and what follows from it.
fn ended(input: &Input<'_>, progress: &TaskProgress, end: TaskEnd) -> Vec<OperationEvent> {
    let (at, task, attempt) = (input.wall, &progress.task, progress.attempt);
    let follows = match &end {
        TaskEnd::Done { .. } if task.action == Action::MarkGood => node_updated(input, &task.node),
        TaskEnd::Failed { error } if error.kind == TaskErrorKind::FellBack => {
            can_leave(input, task).then(|| {
                let node = task.node.clone();
                let problem = problem_of(Some(node.clone()), &error.message, &error.action);
                OperationEvent::Restoring { at, node, problem }
            })
        }
        TaskEnd::Done { .. } | TaskEnd::Failed { .. } => None,
    };
    let task = task.id;
    let ended = OperationEvent::TaskEnded {
        at,
        task,
        attempt,
        end,
    };
    std::iter::once(ended).chain(follows).collect()
}

/// Whether the task's lane can be left for its restore tasks now: its node is seen to wait for giveback.
/// If not, its failure needs a person.
fn can_leave(input: &Input<'_>, task: &Task) -> bool {
    let executes = match input.operation.state {
        OperationState::Running | OperationState::PausePending => true,
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Paused { .. }
        | OperationState::Replanning
        | OperationState::CancelPending
        | OperationState::Ended { .. } => false,
    };
    let waits = matches!(task.action, Action::AwaitBoot { .. });
    let mut lanes = input.operation.plan.iter().flat_map(|plan| plan.lanes());
    executes && waits && lanes.any(|lane| !lane.restore.is_empty() && lane.tasks.contains(task))
}

fn node_updated(input: &Input<'_>, node: &NodeName) -> Option<OperationEvent> {
    let plan = input.operation.plan.as_ref()?;
    if Sabotage::HistoryLost.is_on() {
        return None;
    }
    // One that ran the version before is only said to be good.
    let from = plan.from.get(node).filter(|from| **from != plan.target)?;
    let from = from.clone();
    let (at, node, to) = (input.wall, node.clone(), plan.target.clone());
    Some(OperationEvent::NodeUpdated { at, node, from, to })
}

/// Orders for the agents that work, and what is awaited of each task.
pub(super) fn in_flight(input: &Input<'_>) -> Decision {
    let orders = running_tasks(input)
        .filter_map(|task| order(input, task))
        .collect();
    let awaiting = running_tasks(input)
        .map(|task| awaited(input, task))
        .collect();
    let mut decision = Decision {
        orders,
        awaiting,
        ..Decision::default()
    };
    gate::looks(input, &mut decision);
    decision
}

fn order(input: &Input<'_>, progress: &TaskProgress) -> Option<TaskOrder> {
    let plan = input.operation.plan.as_ref()?;
    if progress.task.executor == Executor::Coordinator {
        return None;
    }
    let bound = input.tunables.no_progress(&progress.task.action);
    Some(TaskOrder {
        key: TaskKey {
            operation: input.operation.id,
            task: progress.task.id,
            attempt: progress.attempt,
        },
        generation: input.control.generation,
        task: progress.task.clone(),
        partner: input.topology.partner_of(&progress.task.node).cloned(),
        transition: progress.transition,
        before: progress.before.clone(),
        package: plan.package,
        target: plan.target.clone(),
        no_progress_ms: u64::try_from(bound.as_millis()).ok(),
    })
}

fn awaited(input: &Input<'_>, progress: &TaskProgress) -> Awaiting {
    let described = describe(&progress.task);
    let quiet = quiet(input, progress);
    let seen = match &progress.task.executor {
        Executor::Coordinator => match judge(input, progress, quiet) {
            Verdict::Wait(seen) => Some(seen),
            Verdict::Done | Verdict::Failed(_) | Verdict::StartAnew => None,
        },
        Executor::Agent(agent) => match report(input, progress) {
            Some(ReportState::Running { progress }) => Some(match input.seen(agent) {
                Some(_) => with_quiet(&progress.text, quiet),
                None => format!(
                    "node \"{agent}\" does not answer: {}; it said last: {}",
                    input.why_silent(agent),
                    progress.text
                ),
            }),
            Some(ReportState::Ended { .. }) => None,
            None => Some(not_accepted(input, progress, agent)),
        },
    };
    Awaiting {
        operation: Some(input.operation.id),
        node: Some(progress.task.node.clone()),
        what: described.what,
        since: progress.start,
        seen,
        remaining: Some(remaining(input, progress, quiet)),
        unblock: described.unblock,
    }
}

/// What an agent said last, and how many minutes ago, if any.
fn with_quiet(text: &str, quiet: Duration) -> String {
    match quiet.as_secs() / 60 {
        0 => text.to_owned(),
        minutes => format!("{text}; no news for {minutes} min"),
    }
}

/// Why an agent may not have accepted its task yet.
fn not_accepted(input: &Input<'_>, progress: &TaskProgress, agent: &NodeName) -> String {
    if let Some(error) = foreign(input, &progress.task.node) {
        return error.message;
    }
    match input.seen(agent) {
        Some(_) => format!("node \"{agent}\" has not accepted it yet"),
        None => format!(
            "node \"{agent}\" does not answer: {}",
            input.why_silent(agent)
        ),
    }
}

/// How long until the task is given up, if things stay as they are.
fn remaining(input: &Input<'_>, progress: &TaskProgress, quiet: Duration) -> Duration {
    if let Action::Gate { gates } = &progress.task.action {
        return gate::remaining(input, progress, gates);
    }
    if let Some(to_go) = to_go(input, progress) {
        return to_go;
    }
    let left = input
        .tunables
        .no_progress(&progress.task.action)
        .saturating_sub(quiet);
    match &progress.task.executor {
        Executor::Agent(agent) if input.seen(agent).is_none() => {
            let patience = input.tunables.silence_of(&progress.task.action);
            left.min(patience.saturating_sub(input.silence(agent)))
        }
        Executor::Agent(_) | Executor::Coordinator => left,
    }
}

/// How long a timer still runs.
fn to_go(input: &Input<'_>, progress: &TaskProgress) -> Option<Duration> {
    let Action::Stabilize { minutes, .. } = &progress.task.action else {
        return None;
    };
    let elapsed = input.monotonic.since(progress.since)?;
    let to_go = input.tunables.minutes(*minutes).saturating_sub(elapsed);
    (!to_go.is_zero()).then_some(to_go)
}
