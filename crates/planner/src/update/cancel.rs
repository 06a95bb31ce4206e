//! The way out: who is with its partner by this update's doing comes home, then the update ends.

use evenkeel_model::{
    Action, Awaiting, Lane, MemberHa, NodeName, OperationEnd, OperationEvent, PairState, Problem,
    Task, TaskState, Version,
};

use super::execute::{Advanced, each, trouble, with_flight};
use super::flight::{busy_nodes, cut_gates, settle};
use super::left::left_behind;
use super::{pause_on, problem_of};
use crate::input::{Decision, Input};
use crate::next::awaiting;
use crate::pair::{giveback_unproven, member, pair_of, standing};

pub(super) fn cancel(input: &Input<'_>) -> Decision {
    let mut events = settle(input);
    if events.is_empty() {
        events = cut_gates(input);
    }
    if !events.is_empty() {
        return Decision::events(events);
    }
    // Every node comes home for itself: none waits for another.
    let busy = busy_nodes(input);
    let (mut due, mut problem, mut unknown) = (Vec::new(), None, Vec::new());
    for lane in input.operation.plan.iter().flat_map(|plan| plan.lanes()) {
        if busy.contains(&lane.node) {
            continue;
        }
        match way_home(input, lane) {
            WayHome::Over => {}
            WayHome::Task(task) => match trouble(input, task) {
                Some(trouble) => problem = problem.or(Some(trouble)),
                None => due.push(task),
            },
            WayHome::Leave(event) => events.push(*event),
            WayHome::Unknown(what) => unknown.push(what),
        }
    }
    let Advanced {
        mut decision,
        problem: not_started,
    } = each(input, due);
    events.append(&mut decision.events);
    if !events.is_empty() {
        return Decision::events(events);
    }
    problem = problem.or(not_started);
    if busy.is_empty() && decision.awaiting.is_empty() {
        if let Some(problem) = problem {
            return pause_on(input, problem);
        }
        if unknown.is_empty() {
            let (at, end) = (input.wall, OperationEnd::Canceled);
            let left = Some(left_behind(input));
            return Decision::events(vec![OperationEvent::Ended { at, end, left }]);
        }
        if input.idle > input.tunables.silence {
            return pause_on(input, unknown.remove(0));
        }
    }
    let waits = unknown.into_iter().map(|problem| awaited(input, problem));
    decision.awaiting.extend(waits);
    with_flight(input, decision)
}

/// What is left to do for a lane's node.
enum WayHome<'a> {
    Over,
    Task(&'a Task),
    Leave(Box<OperationEvent>),
    Unknown(Problem),
}

fn way_home<'a>(input: &Input<'_>, lane: &'a Lane) -> WayHome<'a> {
    // Only a node that this update took over, and did not finish with, can be away by its doing.
    let node = &lane.node;
    if input.operation.updated.contains_key(node) {
        return WayHome::Over;
    }
    let Some(down) = input.operation.taken_down(node) else {
        return undo(input, lane);
    };
    if down.task.action == Action::Reboot {
        return confirm(input, lane);
    }
    let is_restoring = input.operation.is_restoring(lane);
    let pair = pair_of(input, &lane.node);
    if is_restoring
        && !pair.is_some_and(|pair| is_superseded(input, pair))
        && let Some(task) = input.operation.next_task(lane)
    {
        return WayHome::Task(task);
    }
    let Some(pair) = pair else {
        return WayHome::Unknown(unknown(input, lane));
    };
    // A takeover that is not ours is not ours to give back.
    let ours = standing(pair).filter(|t| t.taken == lane.node && input.operation.is_ours(t.id));
    let is_due = ours.is_some() || giveback_unproven(input, node);
    if is_due && !is_restoring && !lane.restore.is_empty() {
        return WayHome::Leave(Box::new(leave(input, lane)));
    }
    match member(pair, &lane.node).ha {
        MemberHa::Serving => confirm(input, lane),
        MemberHa::WaitingForGiveback
        | MemberHa::PartialGiveback
        | MemberHa::Booting
        | MemberHa::Down
        | MemberHa::Fenced => WayHome::Over,
    }
}

/// The pair's newest takeover is someone else's: ours can no longer be given back, and need not be.
fn is_superseded(input: &Input<'_>, pair: &PairState) -> bool {
    let newest = pair.transition.as_ref();
    newest.is_none_or(|t| !input.operation.is_ours(t.id))
}

fn leave(input: &Input<'_>, lane: &Lane) -> OperationEvent {
    let (at, node) = (input.wall, lane.node.clone());
    let error = "the update is being canceled";
    let problem = problem_of(Some(node.clone()), error, "Wait for its end.");
    OperationEvent::Restoring { at, node, problem }
}

/// A node that stays on the new version is said to be good, lest its next boot leaves it. That it cannot
/// be said does not hold the cancel up.
fn confirm<'a>(input: &Input<'_>, lane: &'a Lane) -> WayHome<'a> {
    let operation = input.operation;
    let Some(plan) = &operation.plan else {
        return WayHome::Over;
    };
    let is_new =
        |version: &Version| *version == plan.target && plan.from.get(&lane.node) != Some(version);
    match input.seen(&lane.node).map(|seen| seen.version.known()) {
        Some(Some(version)) if is_new(version) => {
            let good = lane.tasks.iter().find(|t| t.action == Action::MarkGood);
            once(input, good)
        }
        Some(Some(_)) => undo(input, lane),
        Some(None) | None => WayHome::Unknown(unknown(input, lane)),
    }
}

/// A node that stays on the old version boots it the next time too. That this cannot be arranged does not
/// hold the cancel up.
fn undo<'a>(input: &Input<'_>, lane: &'a Lane) -> WayHome<'a> {
    let began = |task: &Task| input.operation.tasks.contains_key(&task.id);
    let is_activate = |task: &&Task| matches!(task.action, Action::Activate { .. });
    match lane.tasks.iter().find(is_activate).is_some_and(began) {
        true => once(input, lane.undo.first()),
        false => WayHome::Over,
    }
}

/// Tries a task once since the cancel was asked for.
fn once<'a>(input: &Input<'_>, task: Option<&'a Task>) -> WayHome<'a> {
    let tried = |task: &&Task| {
        let progress = input.operation.tasks.get(&task.id);
        progress.is_some_and(|progress| match &progress.state {
            TaskState::Done { .. } => true,
            TaskState::Failed { .. } => progress.tries > 0,
            TaskState::Running => false,
        })
    };
    match task.filter(|task| !tried(task)) {
        Some(task) => WayHome::Task(task),
        None => WayHome::Over,
    }
}

fn unknown(input: &Input<'_>, lane: &Lane) -> Problem {
    let why = input.why_silent(&lane.node);
    let error = format!("whether it is home, and on which version, is not known: {why}");
    let action = "Bring evenkeeld of the pair back, then cancel again.";
    problem_of(Some(lane.node.clone()), &error, action)
}

fn awaited(input: &Input<'_>, problem: Problem) -> Awaiting {
    let node = problem.node.as_ref().map_or("", NodeName::as_str);
    let what = format!("the pair of node \"{node}\"");
    let mut wait = awaiting(input, what, &problem.action);
    wait.node = problem.node;
    wait.seen = Some(problem.error);
    wait.remaining = Some(input.tunables.silence.saturating_sub(input.idle));
    wait
}
