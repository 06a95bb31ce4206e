//! What holds for every boot loader: what is refused, what is repeated without effect, what is looked at again.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_model::{BootSettings, Slot, SlotHealth, SlotState, SlotsState};
use tokio::sync::Mutex;

use super::image::Images;
use super::trees::Trees;
use super::{Loader, Seen, on_medium};
use crate::host::Host;
use crate::look::{refused, unavailable};
use evenkeel_platform::{BootSlots, PlatformError};

/// A loader under the rules.
pub(super) struct Slots<L> {
    loader: L,
    host: Host,
    trees: Arc<Trees>,
    images: Arc<Images>,
    /// One act at a time: what was compared must hold while it is acted on.
    turn: Mutex<()>,
}

impl<L: Loader> Slots<L> {
    pub(super) fn new(loader: L, host: &Host, trees: Trees) -> Self {
        Self {
            loader,
            host: host.clone(),
            trees: Arc::new(trees),
            images: Arc::default(),
            turn: Mutex::default(),
        }
    }

    async fn look(&self) -> Result<(Seen, SlotsState), PlatformError> {
        let seen = self.loader.look().await?;
        let (trees, images) = (Arc::clone(&self.trees), Arc::clone(&self.images));
        let shown = seen.clone();
        let look = move || state_of(&shown, &trees, &images);
        let state = on_medium(&self.host, look).await?;
        Ok((seen, state))
    }
}

/// What the loader keeps is what is changed; the tree is the installer's.
fn check_writable(seen: &Seen) -> Result<(), PlatformError> {
    match &seen.unwritable {
        None => Ok(()),
        Some(why) => Err(refused(why.as_str())),
    }
}

fn state_of(seen: &Seen, trees: &Trees, images: &Images) -> Result<SlotsState, PlatformError> {
    let tree_writable = trees.check(seen.booted)?;
    let state = |slot: Slot| {
        Ok(SlotState {
            health: seen.health(slot),
            image: images.of(&trees.path(slot))?,
        })
    };
    Ok(SlotsState {
        booted: seen.booted,
        default: seen.default,
        a: state(Slot::A)?,
        b: state(Slot::B)?,
        writable: seen.unwritable.is_none() && tree_writable,
    })
}

#[async_trait]
impl<L: Loader> BootSlots for Slots<L> {
    async fn slots(&self) -> Result<SlotsState, PlatformError> {
        Ok(self.look().await?.1)
    }

    fn path(&self, slot: Slot) -> PathBuf {
        self.trees.path(slot)
    }

    async fn mark_unbootable(&self, slot: Slot) -> Result<(), PlatformError> {
        let _turn = self.turn.lock().await;
        let (seen, state) = self.look().await?;
        if slot == seen.booted {
            return Err(refused(format!("slot {slot} is the one that runs")));
        }
        check_writable(&seen)?;
        if !state.writable {
            return Err(refused(format!(
                "slot {slot} cannot be written: it is mounted read-only"
            )));
        }
        if seen.health(seen.booted) != SlotHealth::Good {
            return Err(refused(format!(
                "slot {slot} is what the node falls back to: slot {}, which it runs from, is not marked good",
                seen.booted
            )));
        }
        // Also when it looks unbootable already: a loader may keep a slot that it gave up as a last resort.
        self.loader.forbid(slot, &seen).await?;
        let after = self.loader.look().await?;
        match after.health(slot) == SlotHealth::Unbootable && after.default == seen.booted {
            true => Ok(()),
            false => Err(unavailable(format!(
                "slot {slot} was marked unbootable, and the loader says otherwise: {after:?}"
            ))),
        }
    }

    async fn set_default(&self, slot: Slot, tries: u8) -> Result<(), PlatformError> {
        let _turn = self.turn.lock().await;
        let (seen, state) = self.look().await?;
        check_choice(slot, tries, &state)?;
        if seen.default == slot && seen.health(slot).is_bootable() {
            return Ok(());
        }
        check_writable(&seen)?;
        self.loader.choose(slot, tries, &seen).await?;
        let after = self.loader.look().await?;
        match after.default == slot && after.health(slot).is_bootable() {
            true => Ok(()),
            false => Err(unavailable(format!(
                "slot {slot} was made the default, and the loader says otherwise: {after:?}"
            ))),
        }
    }

    async fn mark_good(&self, slot: Slot) -> Result<(), PlatformError> {
        let _turn = self.turn.lock().await;
        let (seen, _) = self.look().await?;
        if slot != seen.booted {
            return Err(refused(format!(
                "slot {slot} does not run, slot {} does",
                seen.booted
            )));
        }
        if seen.health(slot) == SlotHealth::Good {
            return Ok(());
        }
        check_writable(&seen)?;
        self.loader.bless(slot, &seen).await?;
        match self.loader.look().await?.health(slot) {
            SlotHealth::Good => Ok(()),
            health @ (SlotHealth::Unbootable | SlotHealth::Untried { .. }) => Err(unavailable(
                format!("slot {slot} was marked good, and the loader says {health:?}"),
            )),
        }
    }

    async fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        self.loader.boot_settings().await
    }
}

/// What may become the default.
fn check_choice(slot: Slot, tries: u8, state: &SlotsState) -> Result<(), PlatformError> {
    let (chosen, running) = (state.slot(slot), state.slot(state.booted));
    if chosen.image.is_none() {
        return Err(refused(format!("slot {slot} holds no whole image")));
    }
    if tries == 0 {
        return Err(refused(format!("slot {slot} would never be tried")));
    }
    let proven = |state: &SlotState| state.health == SlotHealth::Good;
    if slot != state.booted && !proven(chosen) && !proven(running) {
        return Err(refused(format!(
            "slot {slot} is not proven, and neither is slot {}, which the node would fall back to: mark that good first",
            state.booted
        )));
    }
    Ok(())
}
