//! What must never happen, looked for after every move.

use evenkeel_agent::{Memory, Stage};
use evenkeel_model::{
    Action, MemberHa, OperationEvent, OperationState, PauseCause, Slot, SlotHealth, TaskOrder,
    TaskState, TransitionStage,
};
use evenkeel_planner::Decision;
use evenkeel_platform::sim::Hardware;
use evenkeel_platform::wire::Command;

use super::state::{State, name};

/// Rules of the product that an exploration may break on purpose, to show that it would tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A takeover waits for the partner's consent.
    pub partners_consent: bool,
    /// The record refuses appends of an older generation.
    pub record_fences: bool,
    /// Nodes refuse orders of an older generation.
    pub nodes_fence: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            partners_consent: true,
            record_fences: true,
            nodes_fence: true,
        }
    }
}

/// I2: why the act that a node's work asks for must not even be tried.
pub(crate) fn without_intent(state: &State, node: usize, command: &Command) -> Option<String> {
    let by = name(node);
    let ordered = acting(&state.nodes[node].memory).find(|o| serves(command, &o.task.action));
    let Some(order) = ordered else {
        return Some(format!(
            "I2: {by} acts on what its journal does not hold: {command:?}"
        ));
    };
    let recorded = state.operation().tasks.get(&order.task.id);
    if recorded.is_none_or(|task| task.attempt < order.key.attempt) {
        return Some(format!(
            "I2: {by} acts without a recorded intent: {command:?}"
        ));
    }
    None
}

/// Whether the machine began a takeover at this command: it refuses what compares unequal.
pub(crate) fn stands(before: &State, command: &Command, after: &Hardware) -> bool {
    let Command::TakeOver(request) = command else {
        return false;
    };
    let newest = |hardware: &Hardware| hardware.pair_state(&name(0))?.transition?.id;
    let ours = Some(request.id);
    newest(after) == ours && newest(&before.hardware) != ours
}

/// The guard of I1, and I2: why a takeover must not begin.
pub(crate) fn without_right(state: &State, node: usize, command: &Command) -> Option<String> {
    let by = name(node);
    let Command::TakeOver(request) = command else {
        return None;
    };
    let given_back = |task: &evenkeel_model::TaskProgress| {
        task.task.action == Action::Giveback
            && task.transition == Some(request.id)
            && matches!(task.state, TaskState::Done { .. })
    };
    if state
        .operation()
        .tasks
        .values()
        .any(|task| given_back(task))
    {
        return Some(format!("I2: {by} makes a takeover a second time"));
    }
    let partner = &state.nodes[1 - node].memory;
    if !partner.given.iter().any(|c| c.transition == request.id) {
        return Some(format!(
            "I1: {by} takes its partner over without its consent"
        ));
    }
    let against = acting(partner).find(|order| {
        matches!(
            order.task.action,
            Action::Takeover
                | Action::Install { .. }
                | Action::Activate { .. }
                | Action::Deactivate
                | Action::Reboot
                | Action::Firmware { .. }
        )
    });
    against.map(|order| {
        let action = order.task.action.name();
        format!("I1: {by} takes its partner over, which is at {action}")
    })
}

/// I3: no takeover is begun that would leave the record without a majority.
pub(crate) fn loses_the_record(state: &State, decision: &Decision) -> Option<String> {
    let plan = state.operation().plan.as_ref()?;
    let newest = state.hardware.pair_state(&name(0))?.transition;
    let stands = newest.filter(|t| t.stage != TransitionStage::GivenBack);
    let lost = decision.events.iter().find_map(|event| match event {
        OperationEvent::TaskStarted {
            task, transition, ..
        } => {
            let task = plan.task(*task)?;
            let begins = stands.as_ref().is_none_or(|t| t.id != *transition);
            let takes = task.action == Action::Takeover && begins;
            let down = std::slice::from_ref(&task.node);
            takes.then(|| state.survives_without(down).err())?
        }
        _ => None,
    });
    lost.map(|why| format!("I3: a takeover is begun that loses the record: {why}"))
}

/// I5: a slot is written only while it is marked unbootable and does not run.
pub(crate) fn overwritten(state: &State, node: usize, slot: Slot) -> Option<String> {
    let slots = state.hardware.slots_state(&name(node))?;
    let fit = slots.booted != slot && slots.slot(slot).health == SlotHealth::Unbootable;
    (!fit).then(|| format!("I5: {} writes slot {slot} while it is in use", name(node)))
}

/// I4: what a node accepts or begins is not of an older generation than it has seen.
pub(crate) fn stale(before: &Memory, after: &Memory) -> Option<String> {
    let moved = after.orders.iter().find(|entry| {
        let known = before
            .orders
            .iter()
            .find(|e| e.order.key == entry.order.key);
        let stage = known.map(|known| known.stage);
        let begins = match entry.stage {
            Stage::Accepted => stage.is_none(),
            Stage::Acting => stage == Some(Stage::Accepted),
            Stage::Ended => false,
        };
        begins && entry.order.generation < before.generation
    });
    moved.map(|entry| {
        let (generation, action) = (entry.order.generation, entry.order.task.action.name());
        let highest = before.generation;
        format!("I4: {action} of generation {generation} begins on a node that has seen {highest}")
    })
}

/// What a move broke, seen from the two states.
pub(crate) fn broken(before: &State, after: &State) -> Option<String> {
    for node in 0..2 {
        let (old, new) = (&before.nodes[node].memory, &after.nodes[node].memory);
        if old.print == new.print {
            continue;
        }
        if let Some(stale) = stale(old, new) {
            return Some(stale);
        }
        if new.generation < old.generation {
            return Some(format!(
                "I4: {} forgot generation {}",
                name(node),
                old.generation
            ));
        }
    }
    if let Some((stream, quarantine)) = after.recorded.view.quarantined().iter().next() {
        return Some(format!("I3: {stream} cannot be folded: {}", quarantine.why));
    }
    if after.operation().is_ended() && !before.operation().is_ended() {
        return held_at_the_end(after);
    }
    None
}

/// An update ends with nobody with its partner by its doing.
fn held_at_the_end(state: &State) -> Option<String> {
    let pair = state.hardware.pair_state(&name(0))?;
    let transition = pair.transition?;
    let ours = state.operation().is_ours(transition.id);
    let stands = transition.stage != TransitionStage::GivenBack;
    (ours && stands).then(|| format!("the update ended while {} is taken over", transition.taken))
}

/// Whether a round of the node's guard could change anything.
pub(crate) fn guard_has_work(state: &State, node: usize) -> bool {
    let memory = &state.nodes[node].memory;
    let partner = state.hardware.ha(&name(1 - node));
    let waits = match state.hardware.ha(&name(node)) {
        Some(MemberHa::WaitingForGiveback | MemberHa::PartialGiveback) => true,
        Some(_) | None => false,
    };
    let alone = waits && partner == Some(MemberHa::Fenced);
    alone || !memory.given.is_empty() || !memory.held.is_empty() || !memory.small.is_empty()
}

/// Why a state may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// The update is over.
    Over,
    /// It stands for a person, and says what to do.
    Paused,
}

/// Whether the state may last.
pub(crate) fn lasts(state: &State) -> Option<Lasts> {
    match &state.operation().state {
        OperationState::Ended { .. } => Some(Lasts::Over),
        OperationState::Paused { cause } => match cause {
            PauseCause::User { .. } => Some(Lasts::Paused),
            PauseCause::Error { problem } => (!problem.action.is_empty()).then_some(Lasts::Paused),
        },
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Running
        | OperationState::PausePending
        | OperationState::Replanning
        | OperationState::CancelPending => None,
    }
}

/// What a node remembers, for the rules.
fn acting(memory: &Memory) -> impl Iterator<Item = &TaskOrder> {
    let acting = memory.orders.iter().filter(|e| e.stage == Stage::Acting);
    acting.map(|entry| &entry.order)
}

/// Whether the act is one that the order of a task makes.
fn serves(command: &Command, action: &Action) -> bool {
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
