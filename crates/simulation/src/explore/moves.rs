//! What may happen next.

use evenkeel_model::{MemberHa, OperationState};
use evenkeel_platform::sim::{Due, Fault};

use super::coordinate::Round;
use super::rules;
use super::stage::Ask;
use super::state::{State, Waits, name};

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
    /// The record's third voter is away, or back.
    LoseVoter,
    VoterBack,
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
            | Self::TakeOverByHand(_)
            | Self::LoseVoter => false,
            Self::Append(_)
            | Self::Work(_)
            | Self::Due(_)
            | Self::Guard(_)
            | Self::Start(_)
            | Self::PowerOn(_)
            | Self::GiveBackByHand(_)
            | Self::VoterBack
            | Self::Pause
            | Self::Resume
            | Self::Cancel => true,
        };
        u8::from(!free)
    }

    /// It may come and may never come: nothing may depend on it.
    pub(super) fn is_help(&self) -> bool {
        matches!(self, Self::VoterBack)
    }

    pub(super) fn requests(&self) -> u8 {
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
    match state.voter_away {
        true => moves.push(Move::VoterBack),
        false if !ended => moves.push(Move::LoseVoter),
        false => {}
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
