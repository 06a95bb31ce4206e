//! What comes of a move: an order's work in its daemon.

use std::sync::Arc;

use evenkeel_agent::InstallError;
use evenkeel_interconnect::{AgentRequest, AgentResponse, CallError, Consent};
use evenkeel_model::SlotImage;
use evenkeel_platform::PlatformError;

use super::carry::{Outcome, follow, machine};
use super::moves::Fate;
use super::rules::{self, Rules};
use super::stage::{Answer, Ask, CameTo, Stepper, keep};
use super::state::{State, Waits, Work, name};
use crate::settings::{NEW, digest, version};

/// Lets the work on a node's order go on.
pub(super) fn go_on(stepper: &Stepper, state: &mut State, node: usize) -> Option<()> {
    let work = state.nodes[node].work.clone()?;
    let (came_to, script, memory) =
        stepper.carry_out(node, &state.scenery(), &work.entry, (*work.script).clone());
    let waits = match came_to {
        CameTo::Asks(ask) => Waits::For(ask),
        CameTo::Sleeps => Waits::Sleeps,
        CameTo::End => {
            (state.nodes[node].memory, state.nodes[node].work) = (memory, None);
            return Some(());
        }
    };
    state.nodes[node].memory = memory;
    state.nodes[node].work = Some(Work {
        entry: work.entry,
        script: Arc::new(script),
        waits,
    });
    Some(())
}

pub(super) fn wake(stepper: &Stepper, state: &mut State, node: usize, impatient: bool) -> Outcome {
    for _ in 0..if impatient { 8 } else { 1 } {
        answer(state, node, Answer::Slept)?;
        go_on(stepper, state, node)?;
        let slept_again = state.nodes[node].work.as_ref();
        let slept_again = slept_again.filter(|work| work.waits == Waits::Sleeps);
        match slept_again {
            None => return Some(None),
            Some(work) if !impatient => return (!repeats(work)).then_some(None),
            Some(_) => {}
        }
    }
    None
}

/// Whether the last two looks between sleeps showed the same: the second tells nothing.
fn repeats(work: &Work) -> bool {
    let mut looks = work
        .script
        .rsplit(|answer| matches!(**answer, Answer::Slept))
        .map(|look| look.iter().map(|answer| answer.print).collect::<Vec<_>>());
    let (newest, before) = (looks.next(), looks.next());
    looks.next().is_some() && newest == before
}

/// Answers what the work on a node's order waits for.
fn answer(state: &mut State, node: usize, answer: Answer) -> Option<()> {
    let work = state.nodes[node].work.as_mut()?;
    let mut script = (*work.script).clone();
    script.push(keep(answer));
    (work.script, work.waits) = (Arc::new(script), Waits::Turn);
    Some(())
}

pub(super) fn act(state: &mut State, node: usize, fate: Fate) -> Outcome {
    let Waits::For(Ask::Act(command)) = state.nodes[node].work.as_ref()?.waits.clone() else {
        return None;
    };
    let unheard = || PlatformError::Unavailable("no answer".to_owned());
    if fate == Fate::Lost {
        answer(state, node, Answer::Reply(Err(unheard())))?;
        return Some(None);
    }
    let without_intent = rules::without_intent(state, node, &command);
    let without_right = rules::without_right(state, node, &command);
    let mut reply = Err(unheard());
    let mut hardware = (*state.hardware).clone();
    let done = hardware.handle(&name(node), &command, 0);
    if fate == Fate::Answered {
        reply = done;
    }
    // The machine may end the daemon that asked.
    answer(state, node, Answer::Reply(reply))?;
    let began = rules::stands(state, &command, &hardware);
    let broken = follow(state, hardware);
    let without_right = without_right.filter(|_| began);
    Some(without_intent.or(without_right).or(broken))
}

pub(super) fn write(state: &mut State, node: usize, fate: Fate) -> Outcome {
    let Waits::For(Ask::Write(slot)) = state.nodes[node].work.as_ref()?.waits.clone() else {
        return None;
    };
    if fate != Fate::Answered {
        let failed = InstallError::Failed("a write failed".to_owned());
        answer(state, node, Answer::Written(Err(failed)))?;
        return Some(None);
    }
    let broken = rules::overwritten(state, node, slot);
    let image = SlotImage {
        digest: digest(NEW),
        version: version(NEW),
    };
    let damaged = machine(state, |hardware| {
        let set = hardware.set_image(&name(node), slot, Some(image));
        set.expect("it is a node");
    });
    answer(state, node, Answer::Written(Ok(())))?;
    Some(broken.or(damaged))
}

pub(super) fn call(
    stepper: &Stepper,
    rules: &Rules,
    state: &mut State,
    node: usize,
    fate: Fate,
) -> Outcome {
    let Waits::For(Ask::Call(request)) = state.nodes[node].work.as_ref()?.waits.clone() else {
        return None;
    };
    let partner = 1 - node;
    let unreached = CallError::Unreachable {
        node: name(partner),
        why: "it is not reached".to_owned(),
    };
    let silent = CallError::NoAnswer {
        node: name(partner),
        why: "the answer is lost".to_owned(),
    };
    if fate == Fate::Lost || state.nodes[partner].up.is_none() {
        // Only one of the three is not the same as the others then.
        (fate != Fate::Unheard).then_some(())?;
        answer(state, node, Answer::Response(Err(unreached)))?;
        return Some(None);
    }
    let consented = match &request {
        AgentRequest::Consent { request } if !rules.partners_consent => {
            let request = request.clone();
            Some(AgentResponse::Consented {
                consent: Consent { request },
            })
        }
        _ => None,
    };
    let response = match consented {
        Some(response) => response,
        None => {
            let (response, memory) = stepper.answer(partner, node, &state.scenery(), request);
            state.nodes[partner].memory = memory;
            response
        }
    };
    let heard = match fate {
        Fate::Answered => Ok(response),
        Fate::Unheard | Fate::Lost => Err(silent),
    };
    answer(state, node, Answer::Response(heard))?;
    Some(None)
}
