//! What comes of a move: elections, requests, and what coordinators append.

use evenkeel_model::{ControlEvent, Event, OperationEvent, StreamId, UserName, WallTime};
use evenkeel_record::{Append, AppendError, Fence};

use super::carry::Outcome;
use super::coordinate::writes;
use super::kept::Kept;
use super::rules::Rules;
use super::state::{Coordinator, Letter, Recorded, State, name, operation_id};
use crate::settings::{admin, epoch};

pub(super) fn elect(state: &mut State, node: usize) -> Outcome {
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

pub(super) fn append_held(rules: &Rules, state: &mut State, node: usize) -> Outcome {
    let letter = release(state, node)?;
    let (appended, broken) = append_letter(rules, state, &letter);
    if matches!(appended, Err(AppendError::Fenced { .. })) {
        state.nodes[node].coordinator = None;
    }
    Some(broken)
}

pub(super) fn stop_waiting(state: &mut State, node: usize) -> Outcome {
    let letter = release(state, node)?;
    state.late.insert(letter.print, letter);
    Some(None)
}

pub(super) fn late_append(rules: &Rules, state: &mut State, letter: u64, again: bool) -> Outcome {
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

pub(super) fn request(
    state: &mut State,
    event: impl FnOnce(WallTime, UserName) -> OperationEvent,
) -> Outcome {
    let event = Event::Operation(event(epoch(), admin()));
    let stream = StreamId::Operation(operation_id());
    let generation = state.recorded.view.control().generation;
    let writes = writes(state, generation, vec![(stream, vec![event])]);
    let fence = Fence::None;
    append(state, &Append { fence, writes }).ok()?;
    Some(None)
}
