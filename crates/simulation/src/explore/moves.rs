//! What may happen next, and what comes of it.

use std::fmt;
use std::sync::Arc;

use evenkeel_agent::{InstallError, Memory, Stage};
use evenkeel_interconnect::{AgentRequest, AgentResponse, CallError, Consent};
use evenkeel_model::{
    ControlEvent, Event, MemberHa, OperationEvent, OperationState, SlotImage, StreamId,
};
use evenkeel_platform::PlatformError;
use evenkeel_platform::sim::{Command, Due, Effect, Fault, Hardware};
use evenkeel_record::{Append, AppendError, Fence};

use super::coordinate::{Round, round, writes};
use super::kept::Kept;
use super::rules::{self, Rules};
use super::stage::{Answer, Ask, CameTo, Stepper, keep};
use super::state::{Coordinator, Letter, Recorded, State, Waits, Work, name, operation_id};
use crate::settings::{NEW, admin, digest, epoch, version};

/// What becomes of an act of the machine, or of a call to the partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It was done, and the answer is lost.
    Unheard,
    /// It never arrived.
    Lost,
}

/// A step of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// A coordinator looks and decides.
    Round(usize, Round),
    /// What it decided reaches the record, and the answer reaches it.
    Append(usize),
    /// It stops waiting for the record's answer; what it sent may still arrive.
    StopWaiting(usize),
    /// Such an append arrives; perhaps it arrives again.
    LateAppend {
        letter: u64,
        again: bool,
    },
    /// A node stands for election, and is elected.
    Elect(usize),
    /// An order arrives; perhaps it arrives again.
    Deliver {
        mail: u64,
        again: bool,
    },
    LoseOrder(u64),
    /// An order's work goes on in its daemon until it asks for something.
    Work(usize),
    Act(usize, Fate),
    Call(usize, Fate),
    Write(usize, Fate),
    /// Work that slept looks again; impatient work has slept through its whole bound.
    Wake {
        node: usize,
        impatient: bool,
    },
    /// The machine does what was due.
    Due(Due),
    /// The node's own guard looks.
    Guard(usize),
    /// A daemon starts.
    Start(usize),
    /// A daemon is killed.
    Kill(usize),
    PowerOff(usize),
    PowerOn(usize),
    /// The new image does not boot there.
    BadImage(usize),
    /// An admin has the node taken over, or given back.
    TakeOverByHand(usize),
    GiveBackByHand(usize),
    Pause,
    Resume,
    Cancel,
}

impl Move {
    /// How many faults it costs.
    pub(crate) fn faults(&self, state: &State) -> u8 {
        let free = match self {
            Self::Round(_, round) => round.misses.is_none() && !round.impatient,
            Self::Act(_, fate) | Self::Call(_, fate) | Self::Write(_, fate) => {
                *fate == Fate::Answered
            }
            Self::LateAppend { again, .. } | Self::Deliver { again, .. } => !again,
            Self::Wake { impatient, .. } => !impatient,
            Self::Elect(node) => may_stand(state, *node),
            Self::StopWaiting(_)
            | Self::LoseOrder(_)
            | Self::Kill(_)
            | Self::PowerOff(_)
            | Self::BadImage(_)
            | Self::TakeOverByHand(_) => false,
            Self::Append(_)
            | Self::Work(_)
            | Self::Due(_)
            | Self::Guard(_)
            | Self::Start(_)
            | Self::PowerOn(_)
            | Self::GiveBackByHand(_)
            | Self::Pause
            | Self::Resume
            | Self::Cancel => true,
        };
        u8::from(!free)
    }

    fn requests(&self) -> u8 {
        u8::from(matches!(self, Self::Pause | Self::Resume | Self::Cancel))
    }
}

/// Whether a node may stand without anyone losing a lease that is kept.
fn may_stand(state: &State, node: usize) -> bool {
    let heir = state.recorded.view.control().handed_to.as_ref();
    let first = heir.is_none_or(|heir| {
        *heir == name(node) || state.nodes[usize::from(*heir == name(1))].up.is_none()
    });
    first && !state.is_led()
}

/// All that may happen in a state, time's passing aside.
pub(crate) fn moves(state: &State) -> Vec<Move> {
    let mut moves = Vec::new();
    let ended = state.operation().is_ended();
    for node in 0..2 {
        if state.nodes[node].up.is_some() {
            daemon_moves(state, node, ended, &mut moves);
        } else if state.hardware.boot_of(&name(node)).is_some() {
            moves.push(Move::Start(node));
        }
        machine_moves(state, node, &mut moves);
    }
    moves.extend(state.hardware.pending().into_iter().map(Move::Due));
    for mail in state.mail.keys() {
        let mail = *mail;
        moves.extend([false, true].map(|again| Move::Deliver { mail, again }));
        moves.push(Move::LoseOrder(mail));
    }
    for letter in state.late.keys() {
        let letter = *letter;
        moves.extend([false, true].map(|again| Move::LateAppend { letter, again }));
    }
    match &state.operation().state {
        OperationState::Paused { .. } => moves.extend([Move::Resume, Move::Cancel]),
        OperationState::Running => moves.push(Move::Pause),
        OperationState::Requested
        | OperationState::Validated
        | OperationState::PausePending
        | OperationState::Replanning
        | OperationState::CancelPending
        | OperationState::Ended { .. } => {}
    }
    moves.retain(|step| {
        step.faults(state) <= state.budget.faults && step.requests() <= state.budget.requests
    });
    moves
}

fn daemon_moves(state: &State, node: usize, ended: bool, moves: &mut Vec<Move>) {
    let fates = [Fate::Answered, Fate::Unheard, Fate::Lost];
    match state.nodes[node].work.as_ref().map(|work| &work.waits) {
        None => {}
        Some(Waits::Turn) => moves.push(Move::Work(node)),
        Some(Waits::For(Ask::Act(_))) => moves.extend(fates.map(|fate| Move::Act(node, fate))),
        Some(Waits::For(Ask::Call(_))) => moves.extend(fates.map(|fate| Move::Call(node, fate))),
        Some(Waits::For(Ask::Write(_))) => {
            moves.extend([Fate::Answered, Fate::Lost].map(|fate| Move::Write(node, fate)));
        }
        Some(Waits::Sleeps) => {
            moves.extend([false, true].map(|impatient| Move::Wake { node, impatient }));
        }
    }
    match &state.nodes[node].coordinator {
        Some(coordinator) if coordinator.holds.is_some() => {
            moves.extend([Move::Append(node), Move::StopWaiting(node)]);
        }
        Some(_) => {
            let rounds = [
                (None, false),
                (Some(0), false),
                (Some(1), false),
                (None, true),
            ];
            let rounds = rounds.map(|(misses, impatient)| Round { misses, impatient });
            moves.extend(rounds.map(|round| Move::Round(node, round)));
        }
        None if !ended => moves.push(Move::Elect(node)),
        None => {}
    }
    moves.push(Move::Kill(node));
    if rules::guard_has_work(state, node) {
        moves.push(Move::Guard(node));
    }
}

fn machine_moves(state: &State, node: usize, moves: &mut Vec<Move>) {
    let faults = state.hardware.faults(&name(node));
    if faults.contains(&Fault::PowerOff) {
        return moves.push(Move::PowerOn(node));
    }
    moves.push(Move::PowerOff(node));
    if !faults.contains(&Fault::BadImage) {
        moves.push(Move::BadImage(node));
    }
    let pair = state.hardware.pair_state(&name(node));
    let by_hand = pair.and_then(|pair| pair.transition);
    let by_hand = by_hand.is_some_and(|t| t.id.is_none() && t.taken == name(node));
    match state.hardware.ha(&name(node)) {
        Some(MemberHa::WaitingForGiveback | MemberHa::PartialGiveback) if by_hand => {
            moves.push(Move::GiveBackByHand(node));
        }
        Some(MemberHa::Serving) => moves.push(Move::TakeOverByHand(node)),
        Some(_) | None => {}
    }
}

/// What time's passing brings, where nothing else happens.
pub(crate) fn patience(state: &State) -> Vec<Move> {
    let mut moves = Vec::new();
    for node in 0..2 {
        let asleep = state.nodes[node].work.as_ref();
        if asleep.is_some_and(|work| work.waits == Waits::Sleeps) {
            let impatient = true;
            moves.push(Move::Wake { node, impatient });
        }
        let coordinator = state.nodes[node].coordinator.as_ref();
        if coordinator.is_some_and(|c| c.holds.is_none()) {
            let impatient = true;
            let misses = None;
            moves.push(Move::Round(node, Round { misses, impatient }));
        }
    }
    moves
}

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

type Outcome = Option<Option<String>>;

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
fn machine(state: &mut State, change: impl FnOnce(&mut Hardware)) -> Option<String> {
    let mut hardware = (*state.hardware).clone();
    change(&mut hardware);
    follow(state, hardware)
}

fn follow(state: &mut State, mut hardware: Hardware) -> Option<String> {
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

/// Lets the work on a node's order go on.
fn go_on(stepper: &Stepper, state: &mut State, node: usize) -> Option<()> {
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

fn wake(stepper: &Stepper, state: &mut State, node: usize, impatient: bool) -> Outcome {
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

fn act(state: &mut State, node: usize, fate: Fate) -> Outcome {
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

fn write(state: &mut State, node: usize, fate: Fate) -> Outcome {
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

fn call(stepper: &Stepper, rules: &Rules, state: &mut State, node: usize, fate: Fate) -> Outcome {
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

fn elect(state: &mut State, node: usize) -> Outcome {
    let from = state.recorded.view.control().generation;
    let generation = from.next();
    let event = ControlEvent::CoordinatorElected {
        at: epoch(),
        generation,
        node: name(node),
    };
    let events = vec![(StreamId::Control, vec![Event::Control(event)])];
    let fence = Fence::Advance {
        from,
        to: generation,
    };
    let writes = writes(state, generation, events);
    append(state, &Append { fence, writes }).ok()?;
    state.nodes[node].coordinator = Some(Kept::new(Coordinator {
        generation,
        installed: [false; 2],
        reports: std::collections::BTreeMap::new(),
        holds: None,
    }));
    Some(None)
}

fn release(state: &mut State, node: usize) -> Option<Kept<Letter>> {
    let coordinator = state.nodes[node].coordinator.as_ref()?;
    let mut coordinator = (**coordinator).clone();
    let letter = coordinator.holds.take()?;
    state.nodes[node].coordinator = Some(Kept::new(coordinator));
    Some(letter)
}

fn append_held(rules: &Rules, state: &mut State, node: usize) -> Outcome {
    let letter = release(state, node)?;
    let (appended, broken) = append_letter(rules, state, &letter);
    if matches!(appended, Err(AppendError::Fenced { .. })) {
        state.nodes[node].coordinator = None;
    }
    Some(broken)
}

fn stop_waiting(state: &mut State, node: usize) -> Outcome {
    let letter = release(state, node)?;
    state.late.insert(letter.print, letter);
    Some(None)
}

fn late_append(rules: &Rules, state: &mut State, letter: u64, again: bool) -> Outcome {
    let letter = match again {
        true => state.late.get(&letter).cloned()?,
        false => state.late.remove(&letter)?,
    };
    Some(append_letter(rules, state, &letter).1)
}

/// I4: only what the present coordinator decided is appended.
fn append_letter(
    rules: &Rules,
    state: &mut State,
    letter: &Letter,
) -> (Result<(), AppendError>, Option<String>) {
    let now = state.recorded.view.control().generation;
    let mut letter_append = letter.append.clone();
    if !rules.record_fences {
        letter_append.fence = Fence::None;
    }
    let before = state.recorded.view.position();
    let appended = append(state, &letter_append);
    let grew = state.recorded.view.position() > before;
    let broken = (grew && now != letter.generation).then(|| {
        let (by, generation) = (name(letter.by), letter.generation);
        format!("I4: {by} of generation {generation} appended while it is {now}")
    });
    (appended, broken)
}

fn append(state: &mut State, append: &Append) -> Result<(), AppendError> {
    let hub = state.recorded.hub.fork();
    hub.append(append)?;
    let mut view = state.recorded.view.clone();
    let news = hub.entries_after(view.position());
    for entry in &news {
        view.apply(entry).expect("the record has no gaps");
    }
    state.recorded = Kept::with(Recorded::print(&view), Recorded { hub, view });
    Ok(())
}

fn request(
    state: &mut State,
    event: impl FnOnce(evenkeel_model::WallTime, evenkeel_model::UserName) -> OperationEvent,
) -> Outcome {
    let event = Event::Operation(event(epoch(), admin()));
    let stream = StreamId::Operation(operation_id());
    let generation = state.recorded.view.control().generation;
    let writes = writes(state, generation, vec![(stream, vec![event])]);
    let fence = Fence::None;
    append(state, &Append { fence, writes }).ok()?;
    Some(None)
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Round(node, round) => {
                let how = match (round.misses, round.impatient) {
                    (Some(missed), _) => format!(", without an answer of {}", name(missed)),
                    (None, true) => ", after all its bounds have passed".to_owned(),
                    (None, false) => String::new(),
                };
                write!(f, "{} coordinates: it looks and decides{how}", name(*node))
            }
            Self::Append(node) => write!(f, "the decision of {} reaches the record", name(*node)),
            Self::StopWaiting(node) => write!(f, "{} stops waiting for the record", name(*node)),
            Self::LateAppend { again, .. } => {
                let again = if *again {
                    ", not for the last time"
                } else {
                    ""
                };
                write!(f, "a late append arrives at the record{again}")
            }
            Self::Elect(node) => write!(f, "{} is elected", name(*node)),
            Self::Deliver { again, .. } => {
                let again = if *again {
                    ", not for the last time"
                } else {
                    ""
                };
                write!(f, "an order arrives{again}")
            }
            Self::LoseOrder(_) => write!(f, "an order is lost"),
            Self::Work(node) => write!(f, "{} works on its order", name(*node)),
            Self::Act(node, fate) => write!(f, "{} acts on its machine: {fate:?}", name(*node)),
            Self::Call(node, fate) => write!(f, "{} asks its partner: {fate:?}", name(*node)),
            Self::Write(node, fate) => write!(f, "{} writes its slot: {fate:?}", name(*node)),
            Self::Wake { node, impatient } => match impatient {
                true => write!(f, "{} has waited for too long", name(*node)),
                false => write!(f, "{} looks again", name(*node)),
            },
            Self::Due(Due::Takeover(node)) => write!(f, "{node} is taken over"),
            Self::Due(Due::Loss(node)) => write!(f, "the partner of {node} has proof of its loss"),
            Self::Due(Due::Boot(node)) => write!(f, "{node} comes to the end of its boot"),
            Self::Guard(node) => write!(f, "the guard of {} looks", name(*node)),
            Self::Start(node) => write!(f, "the daemon of {} starts", name(*node)),
            Self::Kill(node) => write!(f, "the daemon of {} is killed", name(*node)),
            Self::PowerOff(node) => write!(f, "{} loses its power", name(*node)),
            Self::PowerOn(node) => write!(f, "{} gets its power back", name(*node)),
            Self::BadImage(node) => write!(f, "the new image of {} is bad", name(*node)),
            Self::TakeOverByHand(node) => write!(f, "an admin has {} taken over", name(*node)),
            Self::GiveBackByHand(node) => write!(f, "an admin has {} given back", name(*node)),
            Self::Pause => write!(f, "an operator asks for a pause"),
            Self::Resume => write!(f, "an operator resumes"),
            Self::Cancel => write!(f, "an operator cancels"),
        }
    }
}

/// What a node remembers, for the rules.
pub(crate) fn acting(memory: &Memory) -> impl Iterator<Item = &evenkeel_model::TaskOrder> {
    let acting = memory.orders.iter().filter(|e| e.stage == Stage::Acting);
    acting.map(|entry| &entry.order)
}

/// Whether the act is one that the order of a task makes.
pub(crate) fn serves(command: &Command, action: &evenkeel_model::Action) -> bool {
    use evenkeel_model::Action;
    match command {
        Command::TakeOver(_) => *action == Action::Takeover,
        Command::GiveBack(_) | Command::SendHome { .. } => *action == Action::Giveback,
        Command::MarkUnbootable { .. } => matches!(action, Action::Install { .. }),
        Command::SetDefault { .. } => {
            matches!(action, Action::Activate { .. } | Action::Deactivate)
        }
        Command::MarkGood { .. } => *action == Action::MarkGood,
        _ => false,
    }
}
