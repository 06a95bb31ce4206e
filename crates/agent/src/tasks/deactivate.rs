//! Deactivate: the slot that runs boots the next time too.

use evenkeel_model::{How, TaskError};

use super::activate::TRIES;
use super::run::{Acted, Run, permanent, transient};

pub(super) async fn run(run: &Run) -> Result<How, TaskError> {
    run.check_own_boot(run.order().before.node_boot)?;
    let (slots, node) = (run.slots().await?, &run.parts().node);
    let slot = slots.booted;
    if slots.default == slot {
        return Ok(run.found());
    }
    run.begin()?;
    run.say("making the running slot the default again", 0, 0);
    let action = "Check the boot medium, and set the default slot by hand.";
    match run.act(run.parts().platform.set_default(slot, TRIES)).await {
        Ok(Acted::Yes | Acted::Unknown(_)) => {}
        Err(why) => {
            let message = format!("slot {slot} of {node} cannot become the default: {why}");
            return Err(permanent(message, action));
        }
    }
    match run.slots().await?.default == slot {
        true => Ok(run.reached()),
        false => Err(transient(
            format!("slot {slot} of {node} did not become the default"),
            action,
        )),
    }
}
