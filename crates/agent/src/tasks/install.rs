//! Install: the package into the slot that does not run.

use evenkeel_model::{Digest, How, Sabotage, SlotsState, TaskError};

use super::package::{Advice, have_package};
use super::patience::Patience;
use super::run::{Acted, Run, permanent, transient};
use crate::parts::{InstallError, InstallRequest};

/// What to do when the package is not had.
const ADVICE: Advice = Advice {
    passing: "then resume the update.",
    refused: "Cancel the update, upload the package again, then update anew.",
    code: None,
};

pub(super) async fn run(run: &Run, package: Digest) -> Result<How, TaskError> {
    run.check_own_boot(run.order().before.node_boot)?;
    let slots = run.slots().await?;
    if holds(&slots, package) {
        return Ok(run.found());
    }
    if !slots.writable {
        let message = format!("the boot medium of {} is read-only", run.parts().node);
        return Err(permanent(
            message,
            "Make the boot medium writable, or replace it; then resume the update.",
        ));
    }
    have_package(run, package, &ADVICE).await?;
    run.begin()?;
    if !Sabotage::BootableWhileWritten.is_on() {
        mark_unbootable(run, &slots).await?;
    }
    extract(run, &slots, package).await?;
    verify(run, package).await?;
    Ok(run.reached())
}

/// The boot loader must see the image too: what it has read of the slot may lag behind the files.
async fn verify(run: &Run, package: Digest) -> Result<(), TaskError> {
    let mut patience = Patience::new(run.bounds().look);
    loop {
        let slots = run.slots().await?;
        if holds(&slots, package) {
            return Ok(());
        }
        if patience.wait((), run.bounds().poll).await.is_err() {
            let (slot, node) = (slots.alternate(), &run.parts().node);
            let message = format!("slot {slot} of {node} does not hold the package");
            return Err(transient(
                message,
                "Check the boot medium, then resume the update.",
            ));
        }
    }
}

fn holds(slots: &SlotsState, package: Digest) -> bool {
    let image = &slots.slot(slots.alternate()).image;
    image.as_ref().is_some_and(|image| image.digest == package)
}

/// Before the first byte changes, the boot loader must know to stay away.
async fn mark_unbootable(run: &Run, slots: &SlotsState) -> Result<(), TaskError> {
    let (slot, node) = (slots.alternate(), &run.parts().node);
    let action = "Check the boot medium, then resume the update.";
    match run.act(run.parts().platform.mark_unbootable(slot)).await {
        Ok(Acted::Yes) => Ok(()),
        Ok(Acted::Unknown(why)) => Err(transient(
            format!("slot {slot} of {node} cannot be marked: {why}"),
            action,
        )),
        Err(why) => Err(permanent(
            format!("slot {slot} of {node} cannot be marked: {why}"),
            action,
        )),
    }
}

async fn extract(run: &Run, slots: &SlotsState, package: Digest) -> Result<(), TaskError> {
    let (mut slot, parts) = (slots.alternate(), run.parts());
    if Sabotage::RunningSlot.is_on() {
        slot = slots.booted;
    }
    let request = InstallRequest {
        package,
        slot,
        path: parts.platform.path(slot),
        running: parts.platform.path(slots.booted),
    };
    run.say("extracting", 0, 0);
    let mut progress = run.progress().subscribe();
    progress.mark_unchanged();
    let mut install = parts.installer.install(&request, run.progress());
    loop {
        let changed = tokio::time::timeout(run.no_progress(), progress.changed());
        tokio::select! {
            biased;
            installed = &mut install => return installed.map_err(|e| failed(run, &e)),
            changed = changed => if changed.is_err() {
                let bound = run.no_progress();
                let message = format!("extracting on {} has stood still for {bound:?}", parts.node);
                return Err(transient(message, "Check the boot medium, then resume the update."));
            },
        }
    }
}

fn failed(run: &Run, error: &InstallError) -> TaskError {
    let message = format!("{} cannot install the package: {error}", run.parts().node);
    match error {
        InstallError::Failed(_) => transient(
            message,
            format!(
                "Free space on the boot medium of {}, or mend it; then resume the update.",
                run.parts().node
            ),
        ),
        InstallError::Refused(_) => permanent(
            message,
            "Cancel the update, upload the package again, then update anew.",
        ),
    }
}
