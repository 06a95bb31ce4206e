//! Gates: what must hold, without a break, before the next node's turn.

use std::time::Duration;

use evenkeel_model::{
    Action, GateCondition, Gates, NodeName, NodeObservation, PoolHealth, Task, TaskId,
    TaskProgress, TaskState,
};

use crate::input::{Decision, GateLook, Input};
use crate::judge::{Verdict, permanent};
use crate::pair::{pair_of, standing};
use crate::sight::{sighted, untold};

/// What to do about conditions that do not come to hold.
const ACTION: &str = "Bring it about, or change the gates (\"evenkeel image gates\"), then resume.";

/// Judges a gate that the coordinator watches. What held before the coordinator changed is not counted.
pub(crate) fn judge(input: &Input<'_>, progress: &TaskProgress, gates: &Gates) -> Verdict {
    let Some(elapsed) = input.monotonic.since(progress.since) else {
        return Verdict::StartAnew;
    };
    let (hold, longest) = bounds(input, gates);
    let known = input.running.get(&progress.task.id);
    let memory = known.map(|known| known.gate.clone()).unwrap_or_default();
    let failing = failing(input, &progress.task.node, gates);
    let held = match &failing {
        None => memory.held.unwrap_or_default(),
        Some(_) => Duration::ZERO,
    };
    if failing.is_none() && held >= hold {
        return Verdict::Done;
    }
    let last = failing.clone().or(memory.failed);
    if elapsed > longest {
        let last = last.unwrap_or_else(|| "nothing did not hold".to_owned());
        let minutes = gates.longest_minutes;
        let message = format!(
            "the conditions between nodes did not hold for {} minutes within {minutes}: {last}",
            gates.hold_minutes
        );
        return Verdict::Failed(permanent(message, ACTION));
    }
    Verdict::Wait(match failing {
        Some(what) => what,
        None => {
            let before =
                last.map_or_else(String::new, |last| format!("; last seen failing: {last}"));
            let (held, hold) = (held.as_secs_f64(), hold.as_secs_f64());
            format!("every condition holds, for {held:.1} of {hold:.1} s{before}")
        }
    })
}

fn bounds(input: &Input<'_>, gates: &Gates) -> (Duration, Duration) {
    let minutes = |minutes| input.tunables.minutes(minutes);
    (minutes(gates.hold_minutes), minutes(gates.longest_minutes))
}

/// How long until a gate is given up.
pub(crate) fn remaining(input: &Input<'_>, progress: &TaskProgress, gates: &Gates) -> Duration {
    let (_, longest) = bounds(input, gates);
    let elapsed = input.monotonic.since(progress.since).unwrap_or_default();
    longest.saturating_sub(elapsed)
}

/// What is seen of every gate that is watched now: whoever asks measures by it how long they have held.
pub(crate) fn looks(input: &Input<'_>, decision: &mut Decision) {
    let running = input.operation.tasks.values();
    for progress in running.filter(|task| matches!(task.state, TaskState::Running)) {
        if let Action::Gate { gates } = &progress.task.action {
            let look = match failing(input, &progress.task.node, gates) {
                None => GateLook::Holds,
                Some(what) => GateLook::Fails(what),
            };
            let id: TaskId = progress.task.id;
            decision.gates.insert(id, look);
        }
    }
}

/// The gates at which an update stands still, as they are seen now.
pub(crate) fn stood_at(input: &Input<'_>) -> Vec<String> {
    let operation = input.operation;
    let lanes = operation.plan.iter().flat_map(|plan| plan.lanes());
    let due = lanes.filter_map(|lane| operation.next_task(lane));
    let begun = due.filter(|task| operation.tasks.contains_key(&task.id));
    let text = |task: &Task| {
        let Action::Gate { gates } = &task.action else {
            return None;
        };
        let seen = failing(input, &task.node, gates);
        let seen = seen.unwrap_or_else(|| "every condition holds now".to_owned());
        Some(format!("node \"{}\" stands at its gate: {seen}", task.node))
    };
    begun.filter_map(text).collect()
}

/// The first condition that does not hold, and where. What is not known does not hold.
fn failing(input: &Input<'_>, turn: &NodeName, gates: &Gates) -> Option<String> {
    let mut conditions = gates.conditions.iter();
    conditions.find_map(|condition| {
        let mut nodes = input.topology.names();
        nodes.find_map(|node| {
            let what = fails_on(input, turn, node, *condition)?;
            Some(format!("{}: node \"{node}\": {what}", title(*condition)))
        })
    })
}

fn title(condition: GateCondition) -> String {
    match condition {
        GateCondition::PathsBack => "paths back".to_owned(),
        GateCondition::ResyncDone => "resync done".to_owned(),
        GateCondition::LifsHome => "LIFs home".to_owned(),
        GateCondition::LoadBelow { percent } => format!("load below {percent} %"),
        GateCondition::Script => "script".to_owned(),
    }
}

fn fails_on(
    input: &Input<'_>,
    turn: &NodeName,
    node: &NodeName,
    condition: GateCondition,
) -> Option<String> {
    if condition == GateCondition::Script || is_away(input, turn, node) {
        return None;
    }
    let Some(seen) = input.seen(node) else {
        return Some(format!("it does not answer: {}", input.why_silent(node)));
    };
    match condition {
        GateCondition::PathsBack => paths(seen),
        GateCondition::ResyncDone => resync(input, seen),
        GateCondition::LifsHome => lifs(node, seen),
        GateCondition::LoadBelow { percent } => load(seen, percent),
        GateCondition::Script => None,
    }
}

/// Another pair of the same step, which this update has taken apart just now, is not what is waited for.
fn is_away(input: &Input<'_>, turn: &NodeName, node: &NodeName) -> bool {
    let partner = input.topology.partner_of(turn);
    if node == turn || Some(node) == partner {
        return false;
    }
    let standing = pair_of(input, node).and_then(standing);
    standing.is_some_and(|transition| input.operation.is_ours(transition.id))
}

fn paths(seen: &NodeObservation) -> Option<String> {
    match seen.disks.as_result() {
        Ok(disks) => {
            let lost = disks.iter().find(|disk| disk.paths < 2 && !disk.failed)?;
            Some(format!("disk {} has {} path(s)", lost.serial, lost.paths))
        }
        Err(why) => Some(format!("its disks are not known: {why}")),
    }
}

fn resync(input: &Input<'_>, seen: &NodeObservation) -> Option<String> {
    match seen.pools.as_result() {
        Ok(pools) => {
            // A rebuild that has not begun, or cannot, is not done either.
            pools.iter().find_map(|pool| {
                let Some(told) = sighted(pool, |owner| input.seen(owner)) else {
                    return Some(untold(pool));
                };
                let what = match told.health {
                    PoolHealth::Online => return None,
                    PoolHealth::Resyncing => "is rebuilding",
                    PoolHealth::Degraded => "is degraded",
                    PoolHealth::Offline => "is offline",
                };
                Some(format!("pool {} {what}", pool.name))
            })
        }
        Err(why) => Some(format!("its pools are not known: {why}")),
    }
}

fn lifs(node: &NodeName, seen: &NodeObservation) -> Option<String> {
    match seen.lifs.as_result() {
        Ok(lifs) => {
            let mut own = lifs.iter().filter(|lif| lif.home == *node);
            let away = own.find(|lif| lif.current.as_ref() != Some(node))?;
            Some(match &away.current {
                Some(current) => format!("LIF {} is on node \"{current}\"", away.name),
                None => format!("LIF {} is down", away.name),
            })
        }
        Err(why) => Some(format!("its LIFs are not known: {why}")),
    }
}

fn load(seen: &NodeObservation, percent: u8) -> Option<String> {
    match seen.load.as_result() {
        Ok(load) => {
            let busiest = load.cpu_percent.max(load.disk_percent);
            (busiest >= percent).then(|| format!("it is {busiest} % busy"))
        }
        Err(why) => Some(format!("its load is not known: {why}")),
    }
}
