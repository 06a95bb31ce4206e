//! What comes of a move: the machines, the daemons and the orders between them.

use std::sync::Arc;

use evenkeel_agent::Stage;
use evenkeel_interconnect::AgentRequest;
use evenkeel_model::OperationEvent;
use evenkeel_platform::sim::{Effect, Fault, Hardware};

use super::append::{append_held, elect, late_append, request, stop_waiting};
use super::coordinate::round;
use super::kept::Kept;
use super::moves::Move;
use super::rules::{self, Rules};
use super::stage::Stepper;
use super::state::{State, Work, name};
use super::work::{act, call, go_on, wake, write};

/// What a move leads to: a state, and what it breaks. None when the move changes nothing that counts.
pub(crate) fn apply(
    stepper: &Stepper,
    rules: &Rules,
    before: &State,
    step: &Move,
    free: bool,
) -> Option<(State, Option<String>)> {
    let mut state = before.clone();
    if !free {
        state.budget.faults -= step.faults(before);
        state.budget.requests -= step.requests();
    }
    let broken = carry(stepper, rules, &mut state, step)?;
    let broken = broken.or_else(|| rules::broken(before, &state));
    Some((state, broken))
}

/// None when nothing that counts changes, else what was broken, if anything was.
pub(super) type Outcome = Option<Option<String>>;

fn carry(stepper: &Stepper, rules: &Rules, state: &mut State, step: &Move) -> Outcome {
    match step {
        Move::Round(node, how) => Some(round(stepper, state, *node, *how)),
        Move::Append(node) => append_held(rules, state, *node),
        Move::StopWaiting(node) => stop_waiting(state, *node),
        Move::LateAppend { letter, again } => late_append(rules, state, *letter, *again),
        Move::Elect(node) => elect(state, *node),
        Move::Deliver { mail, again } => deliver(stepper, state, *mail, *again),
        Move::LoseOrder(mail) => state.mail.remove(mail).map(|_| None),
        Move::Work(node) => go_on(stepper, state, *node).map(|()| None),
        Move::Act(node, fate) => act(state, *node, *fate),
        Move::Call(node, fate) => call(stepper, rules, state, *node, *fate),
        Move::Write(node, fate) => write(state, *node, *fate),
        Move::Wake { node, impatient } => wake(stepper, state, *node, *impatient),
        Move::Due(due) => Some(machine(state, |hardware| hardware.bring(due))),
        Move::Guard(node) => guard(stepper, state, *node),
        Move::Start(node) => start(stepper, state, *node),
        Move::Kill(node) => {
            kill(state, *node);
            Some(None)
        }
        Move::PowerOff(node) => Some(fault(state, *node, Fault::PowerOff, true)),
        Move::PowerOn(node) => Some(fault(state, *node, Fault::PowerOff, false)),
        Move::BadImage(node) => Some(fault(state, *node, Fault::BadImage, true)),
        Move::TakeOverByHand(node) => Some(machine(state, |hardware| {
            let _refused = hardware.take_over_by_hand(&name(*node), 0);
        })),
        Move::GiveBackByHand(node) => Some(machine(state, |hardware| {
            let _refused = hardware.give_back_by_hand(&name(*node), 0);
        })),
        Move::LoseVoter | Move::VoterBack => {
            state.voter_away = *step == Move::LoseVoter;
            Some(None)
        }
        Move::Pause => request(state, |at, by| OperationEvent::PauseRequested { at, by }),
        Move::Resume => request(state, |at, by| OperationEvent::Resumed {
            at,
            by,
            anew: false,
        }),
        Move::Cancel => request(state, |at, by| OperationEvent::CancelRequested { at, by }),
    }
}

fn fault(state: &mut State, node: usize, fault: Fault, on: bool) -> Option<String> {
    machine(state, |hardware| {
        let set = hardware.set_fault(&name(node), fault, on, 0);
        set.expect("it is a node");
    })
}

/// Changes the hardware, and carries what follows to the daemons.
pub(super) fn machine(state: &mut State, change: impl FnOnce(&mut Hardware)) -> Option<String> {
    let mut hardware = (*state.hardware).clone();
    change(&mut hardware);
    follow(state, hardware)
}

pub(super) fn follow(state: &mut State, mut hardware: Hardware) -> Option<String> {
    let effects = hardware.advance(0);
    let broken = hardware.check().into_iter().next();
    hardware.forget_past();
    state.hardware = Kept::new(hardware);
    for effect in effects {
        match effect {
            Effect::PowerLost { node } | Effect::Shutdown { node } => {
                kill(state, usize::from(node == name(1)));
            }
            Effect::Boot { .. } | Effect::Daemon { .. } | Effect::Lifs { .. } => {}
        }
    }
    broken.map(|what| format!("I1: {what}"))
}

fn kill(state: &mut State, node: usize) {
    let node = &mut state.nodes[node];
    (node.up, node.work, node.coordinator) = (None, None, None);
}

fn start(stepper: &Stepper, state: &mut State, node: usize) -> Outcome {
    state.nodes[node].up = Some(state.hardware.boot_of(&name(node))?);
    state.nodes[node].memory = stepper.recover(node, &state.scenery());
    take_up(state, node);
    Some(None)
}

/// An open order that is not worked on is taken up.
fn take_up(state: &mut State, node: usize) {
    let node = &mut state.nodes[node];
    let open = node.memory.orders.iter().find(|e| e.stage != Stage::Ended);
    if node.work.is_none() {
        node.work = open.map(|entry| Work::new(Arc::clone(entry)));
    }
}

fn guard(stepper: &Stepper, state: &mut State, node: usize) -> Outcome {
    let (hardware, memory) = stepper.guard(node, &state.scenery());
    state.nodes[node].memory = memory;
    Some(follow(state, hardware))
}

fn deliver(stepper: &Stepper, state: &mut State, mail: u64, again: bool) -> Outcome {
    let letter = match again {
        true => state.mail.get(&mail).cloned()?,
        false => state.mail.remove(&mail)?,
    };
    let to = letter.to;
    // Who is not there is not reached: the order is lost with the connection.
    if state.nodes[to].up.is_none() {
        return (!again).then_some(None);
    }
    let request = AgentRequest::Start {
        order: Box::new(letter.order.clone()),
    };
    let (_, memory) = stepper.answer(to, letter.from, &state.scenery(), request);
    let broken = rules::stale(&state.nodes[to].memory, &memory);
    state.nodes[to].memory = memory;
    take_up(state, to);
    Some(broken)
}
