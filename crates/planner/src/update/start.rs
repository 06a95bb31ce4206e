//! Starts a task: the intent, what it expects, and what must come first.

use std::collections::BTreeSet;

use evenkeel_model::{
    Action, Before, Lane, NodeName, OperationEvent, Problem, Sabotage, Step, Task, TransitionId,
};

use super::flight::running_tasks;
use super::problem_of;
use crate::builder::takes_down;
use crate::input::Input;
use crate::order::named;
use crate::pair::{fit_for_takeover, foreign, giveback_held, not_writing, pair_of, stands};

pub(super) enum Start {
    Intent(Box<OperationEvent>),
    HandOver(NodeName),
    Wait(String),
    Trouble(Problem),
}

/// Who is out of service, or about to be; found out when the first task asks.
#[derive(Default)]
pub(super) struct Absent(Option<Vec<NodeName>>);

impl Absent {
    fn nodes(&mut self, input: &Input<'_>) -> &mut Vec<NodeName> {
        self.0.get_or_insert_with(|| {
            let tasks = running_tasks(input).map(|progress| &progress.task);
            let leaving = tasks.filter(|task| takes_down(task));
            let leaving: BTreeSet<&NodeName> = leaving.map(|task| &task.node).collect();
            let away = |name: &&NodeName| !serves(input, name) || leaving.contains(name);
            input.topology.names().filter(away).cloned().collect()
        })
    }
}

pub(super) fn start(input: &Input<'_>, task: &Task, absent: &mut Absent) -> Start {
    let earlier = input.operation.tasks.get(&task.id);
    let attempt = earlier.map_or(1, |earlier| earlier.attempt + 1);
    let transition = transition_of(input, task);
    let standing = stands(input, &task.node, transition);
    if !standing && let Some(not_yet) = before_task(input, task, absent) {
        return not_yet;
    }
    // A veto that passes is waited for, also when some of the pools are home already.
    if task.action == Action::Giveback
        && let Some(why) = giveback_held(input, &task.node)
    {
        return Start::Wait(why);
    }
    let before = match earlier.filter(|_| standing) {
        Some(earlier) => earlier.before.clone(),
        None => before(input, &task.node),
    };
    Start::Intent(Box::new(OperationEvent::TaskStarted {
        at: input.wall,
        since: input.monotonic,
        task: task.id,
        attempt,
        transition,
        before,
    }))
}

/// What comes before the task, if anything does.
fn before_task(input: &Input<'_>, task: &Task, absent: &mut Absent) -> Option<Start> {
    match &task.action {
        Action::Takeover => before_takeover(input, &task.node, absent),
        // The first task of a node's turn, which would go nowhere: its takeover could not follow, and a
        // node that lost its power cannot even answer.
        Action::Activate { .. } => not_ours(input, &task.node),
        Action::Reboot => {
            let written = not_writing(&task.node, input.seen(&task.node)?);
            written.err().map(Start::Wait)
        }
        Action::Install { .. }
        | Action::Deactivate
        | Action::AwaitBoot { .. }
        | Action::Stabilize { .. }
        | Action::Giveback
        | Action::VerifyHome { .. }
        | Action::Gate { .. }
        | Action::GateScript { .. }
        | Action::Firmware { .. }
        | Action::MarkGood => None,
    }
}

/// A takeover in the pair that this update did not make.
fn not_ours(input: &Input<'_>, node: &NodeName) -> Option<Start> {
    let error = foreign(input, node)?;
    let problem = problem_of(Some(node.clone()), &error.message, &error.action);
    Some(Start::Trouble(problem))
}

/// What comes before the takeover of `node`, if anything does. The coordinator hands over only when
/// its pair is fit: another one would only wait for the same.
fn before_takeover(input: &Input<'_>, node: &NodeName, absent: &mut Absent) -> Option<Start> {
    if Sabotage::PartnerAway.is_on() && node != input.me {
        return None;
    }
    if let Some(trouble) = not_ours(input, node) {
        return Some(trouble);
    }
    if let Err(why) = fit_for_takeover(input, node) {
        return Some(Start::Wait(why));
    }
    let absent = absent.nodes(input);
    if let Err(why) = can_be_absent(input, node, absent) {
        return Some(Start::Wait(why));
    }
    if node != input.me {
        absent.push(node.clone());
        return None;
    }
    Some(match heir(input) {
        Some(to) => Start::HandOver(to),
        None => Start::Wait("no other node can coordinate meanwhile".to_owned()),
    })
}

/// Whether the cluster goes on without `node` and all that are absent.
fn can_be_absent(input: &Input<'_>, node: &NodeName, absent: &[NodeName]) -> Result<(), String> {
    let partner = input.topology.partner_of(node);
    if let Some(partner) = partner.filter(|partner| absent.contains(partner)) {
        return Err(format!(
            "before the takeover of node \"{node}\": its partner \"{partner}\" is out of service"
        ));
    }
    let mut all = absent.to_vec();
    all.push(node.clone());
    (input.survives_without)(&all).map_err(|why| {
        format!(
            "the record would not survive without {}: {why}",
            named(&all)
        )
    })
}

fn before(input: &Input<'_>, node: &NodeName) -> Before {
    let boot = |name: &NodeName| input.seen(name).map(|seen| seen.boot_id);
    let partner = input.topology.partner_of(node);
    Before {
        node_boot: boot(node),
        partner_boot: partner.and_then(boot),
    }
}

/// The takeover that a task makes or undoes. Its id follows from the operation and the task that makes
/// it, so that every attempt of it is the same takeover to the HA engine.
fn transition_of(input: &Input<'_>, task: &Task) -> Option<TransitionId> {
    match task.action {
        Action::Takeover => {
            let mut bytes = *input.operation.id.0.as_bytes();
            for (byte, id) in bytes[12..].iter_mut().zip(task.id.0.to_be_bytes()) {
                *byte ^= id;
            }
            if Sabotage::NewTransition.is_on() {
                let earlier = input.operation.tasks.get(&task.id);
                bytes[0] ^= earlier.map_or(0, |earlier| earlier.attempt as u8);
            }
            Some(TransitionId(uuid::Uuid::from_bytes(bytes)))
        }
        Action::Giveback => {
            let pair = pair_of(input, &task.node);
            let standing = pair.and_then(|pair| pair.transition.as_ref());
            let ours = standing.filter(|t| t.taken == task.node && input.operation.is_ours(t.id));
            let newest = input
                .operation
                .takeover_of(&task.node)
                .and_then(|t| t.transition);
            ours.map_or(newest, |t| t.id)
        }
        Action::Install { .. }
        | Action::Activate { .. }
        | Action::Deactivate
        | Action::AwaitBoot { .. }
        | Action::Stabilize { .. }
        | Action::VerifyHome { .. }
        | Action::Gate { .. }
        | Action::GateScript { .. }
        | Action::Reboot
        | Action::Firmware { .. }
        | Action::MarkGood => None,
    }
}

/// Who coordinates while this node is taken over: one that answers, updated ones first, the partner late
/// since it has a takeover to carry out, and those last that are about to be taken over themselves.
fn heir(input: &Input<'_>) -> Option<NodeName> {
    let partner = input.topology.partner_of(input.me);
    let able = input
        .topology
        .names()
        .filter(|name| *name != input.me && serves(input, name));
    let plan = input.operation.plan.iter();
    let mut steps = plan.flat_map(|plan| &plan.steps);
    let turn = |step: &&Step| {
        let mine = |lane: &&Lane| lane.node == *input.me && lane.tasks.iter().any(takes_down);
        let lane = step.lanes.iter().find(mine);
        lane.is_some_and(|lane| !input.operation.lane_over(lane))
    };
    let lanes = steps.find(turn).map_or(&[][..], |step| &step.lanes);
    let same_turn = |name: &NodeName| lanes.iter().any(|lane| lane.node == *name);
    let rank = |name: &&NodeName| {
        (
            same_turn(name) && !input.operation.updated.contains_key(*name),
            Some(*name) == partner,
            !input.operation.updated.contains_key(*name),
        )
    };
    able.min_by_key(rank).cloned()
}

fn serves(input: &Input<'_>, name: &NodeName) -> bool {
    let pair = input.seen(name).and_then(|seen| seen.pair.known());
    pair.is_some_and(|pair| pair.as_ref().is_none_or(|pair| pair.local.ha.serves()))
}
