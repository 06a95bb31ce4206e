//! Trouble in one lane: nothing new is taken over, whoever is away comes home, then the update pauses.

use evenkeel_model::{Action, Lane, Plan, Problem};

use super::execute::{each, trouble, with_flight};
use super::flight::{cut_gates, is_running};
use super::pause_on;
use crate::builder::takes_down;
use crate::input::{Decision, Input};
use crate::next::awaiting;
use crate::pair::stands;

pub(super) fn wind_down(input: &Input<'_>, plan: &Plan, problem: Problem) -> Decision {
    let cut = cut_gates(input);
    if !cut.is_empty() {
        return Decision::events(cut);
    }
    let operation = input.operation;
    let (mut due, mut runs) = (Vec::new(), false);
    for lane in plan.lanes() {
        match operation.next_task(lane) {
            Some(task) if is_running(operation, task) => runs = true,
            Some(task) if is_on_its_way_home(input, lane) && trouble(input, task).is_none() => {
                due.push(task);
            }
            Some(_) | None => {}
        }
    }
    let advanced = each(input, due).decision;
    if !advanced.events.is_empty() {
        return advanced;
    }
    if !runs && advanced.awaiting.is_empty() {
        return pause_on(input, problem);
    }
    let mut decision = with_flight(input, advanced);
    let mut wait = awaiting(
        input,
        "what is under way to come to its end, before the update pauses".to_owned(),
        "Whoever is away being home; nothing new is begun.",
    );
    wait.node.clone_from(&problem.node);
    wait.seen = Some(problem.error);
    wait.remaining = decision
        .awaiting
        .iter()
        .filter_map(|other| other.remaining)
        .max();
    decision.awaiting.push(wait);
    decision
}

/// Whether the lane's node is out of service by this update's doing, or comes home early.
fn is_on_its_way_home(input: &Input<'_>, lane: &Lane) -> bool {
    let operation = input.operation;
    if operation.is_restoring(lane) {
        return true;
    }
    match lane.tasks.iter().find(|task| takes_down(task)) {
        Some(task) if operation.is_done(task.id) => true,
        // An attempt that failed may have taken it over in part.
        Some(task) => (operation.tasks.get(&task.id))
            .is_some_and(|takeover| stands(input, &lane.node, takeover.transition)),
        // What an earlier revision took over.
        None => lane.tasks.iter().any(|t| t.action == Action::Giveback),
    }
}
