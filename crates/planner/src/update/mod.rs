//! The update, step by step.

mod admit;
mod cancel;
mod execute;
mod finish;
mod flight;
mod left;
mod pause;
mod start;
mod wind_down;

use evenkeel_model::{
    NodeName, OperationEvent, OperationState, PauseCause, Problem, Transition, TransitionStage,
    UpdateRequest,
};

pub(crate) use admit::{await_answers, close_jobs, look, refusal, validation};
pub(crate) use execute::{each, trouble, with_flight};
pub(crate) use flight::settle;

use crate::build::{self, NoPlan};
use crate::explain::or_cancel;
use crate::gate;
use crate::input::{Decision, Input};
use crate::next::awaiting;
use crate::pair::all_standing;
use crate::parts;
use flight::{cut_gates, in_flight, is_anything_running};

/// The next step of an update.
pub(crate) fn next(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    match &input.operation.state {
        OperationState::Requested => admit::validate(input, &request.version),
        OperationState::Validated => admit::admit(input, request),
        OperationState::Running | OperationState::PausePending => execute::execute(input, request),
        OperationState::Replanning => replan(input, request),
        OperationState::CancelPending => cancel::cancel(input),
        OperationState::Paused { cause } => paused(input, cause),
        OperationState::Ended { .. } => Decision::default(),
    }
}

fn replan(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    let settled = settle(input);
    if !settled.is_empty() {
        return Decision::events(settled);
    }
    let cut = cut_gates(input);
    if !cut.is_empty() {
        return Decision::events(cut);
    }
    if is_anything_running(input) {
        return in_flight(input);
    }
    match build::replan(input, request) {
        Ok(plan) => {
            let events = parts::planned(input.wall, plan);
            match parts::not_readable(input, &events) {
                None => Decision::events(events),
                Some(refusal) => {
                    let action = "Bring all nodes to one release, then resume; or cancel.";
                    pause_on(input, problem_of(None, &refusal.message, action))
                }
            }
        }
        Err(NoPlan::Unknown(problem)) if input.idle <= input.tunables.silence => {
            let mut wait = awaiting(
                input,
                format!("what is needed to plan anew: {}", problem.error),
                &problem.action,
            );
            wait.remaining = Some(input.tunables.silence.saturating_sub(input.idle));
            wait.node = problem.node;
            Decision::wait(wait)
        }
        Err(NoPlan::Unknown(problem) | NoPlan::Trouble(problem)) => pause_on(input, problem),
    }
}

fn pause_on(input: &Input<'_>, problem: Problem) -> Decision {
    let cause = PauseCause::Error { problem };
    Decision::events(vec![OperationEvent::Paused {
        at: input.wall,
        cause,
    }])
}

fn paused(input: &Input<'_>, cause: &PauseCause) -> Decision {
    let mut wait = awaiting(
        input,
        "an operator's decision".to_owned(),
        "Resume or cancel.",
    );
    if let PauseCause::Error { problem } = cause {
        wait.node = problem.node.clone();
        wait.seen = Some(problem.error.clone());
        wait.unblock = or_cancel(&problem.action);
    }
    let mut more = who_is_away(input, wait.node.as_ref());
    more.extend(gate::stood_at(input));
    if !more.is_empty() {
        let seen = wait.seen.iter().chain(&more).map(String::as_str);
        wait.seen = Some(seen.collect::<Vec<_>>().join("; "));
    }
    // Results that were on their way when the update paused are still recorded.
    Decision {
        events: settle(input),
        awaiting: vec![wait],
        ..Decision::default()
    }
}

/// Whose partner serves for two while the update stands still, and by whose doing. A takeover by another hand
/// of the node that the problem names is the problem.
fn who_is_away(input: &Input<'_>, named: Option<&NodeName>) -> Vec<String> {
    let ours = |takeover: &Transition| input.operation.is_ours(takeover.id);
    let told = |takeover: &Transition| !ours(takeover) && Some(&takeover.taken) == named;
    let standing = all_standing(input.topology, input.observations).into_iter();
    let text = |takeover: &Transition| {
        let whose = match ours(takeover) {
            true => "this update's",
            false => "another hand's",
        };
        let (node, by) = (&takeover.taken, &takeover.by);
        match &takeover.trouble {
            Some(why) if takeover.stage == TransitionStage::GivingBack => {
                format!("the HA engine undoes the takeover of node \"{node}\": {why}")
            }
            None => format!("node \"{by}\" serves for node \"{node}\", by {whose} doing"),
            Some(why) => format!(
                "node \"{by}\" has taken node \"{node}\" over, by {whose} doing, and does not serve everything: {why}"
            ),
        }
    };
    standing
        .filter(|takeover| !told(takeover))
        .map(text)
        .collect()
}

pub(crate) fn problem_of(node: Option<NodeName>, error: &str, action: &str) -> Problem {
    Problem {
        node,
        error: error.to_owned(),
        action: action.to_owned(),
    }
}
