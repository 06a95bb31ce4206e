//! MarkGood: the slot that runs has proven itself.

use evenkeel_model::{How, SlotHealth, SlotsState, TaskError};

use super::run::{Acted, Run, permanent, transient};

pub(super) async fn run(run: &Run) -> Result<How, TaskError> {
    run.check_own_boot(run.order().before.node_boot)?;
    let slots = run.slots().await?;
    let (slot, node) = (slots.booted, &run.parts().node);
    check_image(run, &slots)?;
    if is_good(&slots) {
        return Ok(run.found());
    }
    run.begin()?;
    run.say("marking the slot good", 0, 0);
    let action = "Check the boot medium, then resume the update.";
    match run.act(run.parts().platform.mark_good(slot)).await {
        Ok(Acted::Yes | Acted::Unknown(_)) => {}
        Err(why) => {
            let message = format!("slot {slot} of {node} cannot be marked good: {why}");
            return Err(permanent(message, action));
        }
    }
    match is_good(&run.slots().await?) {
        true => Ok(run.reached()),
        false => Err(transient(
            format!("slot {slot} of {node} was not marked good"),
            action,
        )),
    }
}

fn is_good(slots: &SlotsState) -> bool {
    slots.slot(slots.booted).health == SlotHealth::Good
}

/// Another image than the update's is never declared good by it.
fn check_image(run: &Run, slots: &SlotsState) -> Result<(), TaskError> {
    let node = &run.parts().node;
    let found = match &slots.slot(slots.booted).image {
        Some(image) if image.digest == run.order().package => return Ok(()),
        Some(image) => format!("version {}", image.version),
        None => "an image without a readable manifest".to_owned(),
    };
    let message = format!("{node} runs {found}, not {}", run.order().target);
    Err(permanent(
        message,
        "Find out from the node's console why it left the new version.",
    ))
}
