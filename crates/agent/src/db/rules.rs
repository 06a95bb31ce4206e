//! What a node accepts, promises and begins: the rules of its memory, each judged and written down in one
//! transaction, so that two things which exclude each other cannot both be said yes to.

use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{Action, Generation, Sabotage, TaskEnd, TaskKey, TaskOrder};

use super::tables::Tables;
use super::{Accepted, Promised, Side, Stage};

/// Remembers a generation unless a higher one was seen. Returns the highest.
pub(super) fn raise(tables: &mut dyn Tables, to: Generation) -> rusqlite::Result<Generation> {
    let seen = tables.generation()?;
    if to <= seen {
        return Ok(seen);
    }
    if !Sabotage::GenerationForgotten.is_on() {
        tables.set_generation(to)?;
    }
    Ok(to)
}

pub(super) fn accept(tables: &mut dyn Tables, order: &TaskOrder) -> rusqlite::Result<Accepted> {
    if let Some(known) = tables.order(order.key)? {
        return Ok(Accepted::Known(Box::new(known)));
    }
    let highest = raise(tables, order.generation)?;
    if highest > order.generation && !Sabotage::StaleOrder.is_on() {
        return Ok(Accepted::Stale(highest));
    }
    if let Some(running) = tables.open()?.into_iter().next() {
        return Ok(Accepted::Busy(Box::new(running.order)));
    }
    if waits_for_release(&order.task.action)
        && let Some(given) = tables.consents(Side::Given)?.into_iter().next()
    {
        return Ok(Accepted::Consented(Box::new(given)));
    }
    if !Sabotage::OrderNotDurable.is_on() {
        tables.add(order)?;
    }
    Ok(Accepted::New)
}

pub(super) fn begin_acting(
    tables: &mut dyn Tables,
    key: TaskKey,
    generation: Generation,
) -> rusqlite::Result<bool> {
    if tables.generation()? > generation && !Sabotage::StaleAct.is_on() {
        return Ok(false);
    }
    let Some(mut entry) = tables.order(key)? else {
        return Ok(Sabotage::OrderNotDurable.is_on());
    };
    match entry.stage {
        Stage::Accepted => {
            entry.stage = Stage::Acting;
            tables.change(&entry)?;
            Ok(true)
        }
        Stage::Acting => Ok(true),
        // Its end may have been reported: whoever asked counts on nothing being done for it any more.
        Stage::Ended => Ok(false),
    }
}

pub(super) fn resume(tables: &mut dyn Tables, key: TaskKey) -> rusqlite::Result<u32> {
    let entry = tables.order(key)?;
    let mut entry = entry.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    entry.resumed += 1;
    tables.change(&entry)?;
    Ok(entry.resumed)
}

pub(super) fn end(tables: &mut dyn Tables, key: TaskKey, end: &TaskEnd) -> rusqlite::Result<()> {
    if let Some(mut entry) = tables.order(key)?.filter(|e| e.stage != Stage::Ended) {
        (entry.stage, entry.end) = (Stage::Ended, Some(end.clone()));
        tables.change(&entry)?;
    }
    Ok(())
}

pub(super) fn give(
    tables: &mut dyn Tables,
    request: &ConsentRequest,
) -> rusqlite::Result<Promised> {
    let highest = raise(tables, request.generation)?;
    if highest > request.generation {
        return Ok(Promised::Stale(highest));
    }
    let given = tables.consents(Side::Given)?;
    if given.contains(request) {
        return Ok(Promised::Yes);
    }
    // The same takeover under a newer generation replaces what was promised before.
    let other = given
        .into_iter()
        .find(|c| c.transition != request.transition);
    if let Some(other) = other {
        return Ok(Promised::Given(Box::new(other)));
    }
    if let Some(held) = tables.consents(Side::Held)?.into_iter().next() {
        return Ok(Promised::Held(Box::new(held)));
    }
    if let Some(running) = tables.open()?.into_iter().next() {
        return Ok(Promised::Busy(Box::new(running.order)));
    }
    if !Sabotage::ConsentNotDurable.is_on() {
        tables.put_consent(Side::Given, request)?;
    }
    Ok(Promised::Yes)
}

pub(super) fn ask(tables: &mut dyn Tables, request: &ConsentRequest) -> rusqlite::Result<Promised> {
    if let Some(given) = tables.consents(Side::Given)?.into_iter().next() {
        return Ok(Promised::Given(Box::new(given)));
    }
    tables.put_consent(Side::Held, request)?;
    Ok(Promised::Yes)
}

/// What a node that is about to be taken over does not begin: taking its partner over, changing
/// the slot that it is about to boot, and taking disks out of groups that are about to move. Giving back and marking good are allowed: they come after.
fn waits_for_release(action: &Action) -> bool {
    match action {
        Action::Takeover
        | Action::Install { .. }
        | Action::Activate { .. }
        | Action::Deactivate
        | Action::GateScript { .. }
        | Action::Reboot
        | Action::Firmware { .. } => true,
        Action::Giveback
        | Action::MarkGood
        | Action::AwaitBoot { .. }
        | Action::Stabilize { .. }
        | Action::VerifyHome { .. }
        | Action::Gate { .. } => false,
    }
}
