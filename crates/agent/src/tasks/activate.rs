//! Activate: the slot that holds the package becomes the one that boots next.

use evenkeel_model::{Digest, How, SlotsState, TaskError};

use super::run::{Acted, Run, permanent, transient};

/// Boots that a new slot gets before the old one runs again.
pub(super) const TRIES: u8 = 3;

pub(super) async fn run(run: &Run, package: Digest) -> Result<How, TaskError> {
    run.check_own_boot(run.order().before.node_boot)?;
    let slots = run.slots().await?;
    let (slot, node) = (slots.alternate(), &run.parts().node);
    check_image(run, &slots, package)?;
    if is_default(&slots) {
        return Ok(run.found());
    }
    run.begin()?;
    run.say("making the new slot the default", 0, 0);
    let action = "Check the boot medium, then resume the update.";
    match run.act(run.parts().platform.set_default(slot, TRIES)).await {
        Ok(Acted::Yes | Acted::Unknown(_)) => {}
        Err(why) => {
            let message = format!("slot {slot} of {node} cannot become the default: {why}");
            return Err(permanent(message, action));
        }
    }
    let after = run.slots().await?;
    check_image(run, &after, package)?;
    match is_default(&after) {
        true => Ok(run.reached()),
        false => Err(transient(
            format!("slot {slot} of {node} did not become the default"),
            action,
        )),
    }
}

fn is_default(slots: &SlotsState) -> bool {
    let slot = slots.alternate();
    slots.default == slot && slots.slot(slot).health.is_bootable()
}

fn check_image(run: &Run, slots: &SlotsState, package: Digest) -> Result<(), TaskError> {
    let (slot, node) = (slots.alternate(), &run.parts().node);
    let found = match &slots.slot(slot).image {
        Some(image) if image.digest == package => return Ok(()),
        Some(image) => format!("version {}", image.version),
        None => "no whole image".to_owned(),
    };
    let message = format!(
        "slot {slot} of {node} holds {found}, not {}",
        run.order().target
    );
    Err(permanent(
        message,
        "Cancel the update and start it again: it installs the package anew.",
    ))
}
