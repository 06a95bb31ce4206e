//! Reboot: a node that nobody can take over boots the slot that holds the package. The order outlives the boot:
//! the next daemon finds it in the journal, and ends it.

use evenkeel_model::{BootId, How, SlotsState, TaskError, TaskErrorKind};
use evenkeel_platform::RebootRequest;
use tokio::time::sleep;

use super::run::{Acted, REPORT, Run, permanent, transient};

pub(super) async fn run(run: &Run) -> Result<How, TaskError> {
    let expected = run.order().before.node_boot;
    let expected = expected.ok_or_else(|| permanent("the order names no boot", REPORT))?;
    if run.parts().boot_id != expected {
        return booted(run).await;
    }
    let slots = run.slots().await?;
    let booted = &slots.slot(slots.booted).image;
    if booted
        .as_ref()
        .is_some_and(|image| image.digest == run.order().package)
    {
        // Someone else has rebooted it: once more would only cost its clients another gap.
        return Ok(run.found());
    }
    conditions(run, &slots).await?;
    reboot(run, expected).await
}

/// The node runs in another boot than the order began in.
async fn booted(run: &Run) -> Result<How, TaskError> {
    if !run.has_acted() {
        // Not our doing: nothing had begun.
        run.check_own_boot(run.order().before.node_boot)?;
    }
    let slots = run.slots().await?;
    let (node, target) = (&run.parts().node, &run.order().target);
    let found = match &slots.slot(slots.booted).image {
        Some(image) if image.digest == run.order().package => return Ok(run.reached()),
        Some(image) => image.version.to_string(),
        None => "an image without a readable manifest".to_owned(),
    };
    Err(TaskError {
        kind: TaskErrorKind::FellBack,
        message: format!("{node} did not come up on {target} and fell back to {found}"),
        action: "See the node's console log for why the new image did not boot. If it was the node, \
                  mend it, then resume: it is tried again. If it was the package, cancel, then update \
                  with another one."
            .to_owned(), code: None })
}

/// A node that could be taken over never goes by itself, and only the package's slot is booted.
async fn conditions(run: &Run, slots: &SlotsState) -> Result<(), TaskError> {
    let node = &run.parts().node;
    let pair = run.inner().pair().await;
    if let Some(pair) = pair.map_err(|e| run.unseen("the HA pair", &e))? {
        let message = format!(
            "{node} has an HA partner, {}: it is taken over, not rebooted",
            pair.partner.node
        );
        return Err(permanent(message, REPORT));
    }
    match holds(run, slots) {
        true => Ok(()),
        false => {
            let message = format!("the default slot of {node} does not hold the package");
            let action = "Cancel the update and start it again: it installs the package anew.";
            Err(permanent(message, action))
        }
    }
}

fn holds(run: &Run, slots: &SlotsState) -> bool {
    let slot = slots.slot(slots.default);
    let image = slot.image.as_ref();
    slot.health.is_bootable() && image.is_some_and(|image| image.digest == run.order().package)
}

/// The daemon ends with the boot: what comes after the machine's yes is up to the next one.
async fn reboot(run: &Run, boot: BootId) -> Result<How, TaskError> {
    let node = &run.parts().node;
    run.begin_strictly()?;
    run.say("shutting down and booting the new slot", 0, 0);
    let request = RebootRequest { boot };
    let message = match run.act(run.parts().platform.reboot(&request)).await {
        Err(why) => {
            let action = "See to the node's hardware services, then resume the update.";
            return Err(permanent(
                format!("{node} cannot be rebooted: {why}"),
                action,
            ));
        }
        Ok(Acted::Yes) => "it goes on running".to_owned(),
        Ok(Acted::Unknown(why)) => why,
    };
    sleep(run.no_progress()).await;
    Err(transient(
        format!("{node} was told to reboot, and runs in the same boot: {message}"),
        "See to the node's hardware services.",
    ))
}
