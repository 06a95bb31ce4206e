//! RAUC's service over D-Bus (`de.pengutronix.rauc`), whatever loader it drives. Its calls are those of `rauc status`.
//!
//! RAUC knows of a slot only whether it may be booted; that it was marked good is kept in a file of ours, by its image's digest. How often
//! a new slot is tried is up to the set-up of RAUC's loader, and how many tries are left is not told: an unproven slot that may be
//! booted is shown with one try. Each of our acts is one `Mark`, which RAUC's loader makes durable by its own means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootSettings, Digest, RaucSettings, Slot, SlotHealth};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::disk::Disk;
use super::image::Images;
use super::rauc_state::{Proven, ProvenFile};
use super::trees::Trees;
use super::{Loader, Seen, cmdline, is_writable, on_medium, read_only};
use crate::host::Host;
use crate::look::{refused, unavailable};
use crate::program::Call;
use evenkeel_platform::PlatformError;

/// How long RAUC may take for an answer: it runs its loader's programs for it, each of which takes a moment.
const ANSWER: Duration = Duration::from_secs(30);

/// RAUC, and what it does not keep.
pub(super) struct Rauc {
    host: Host,
    settings: RaucSettings,
    proven: Arc<ProvenFile>,
    images: Arc<Images>,
}

/// One answer of busctl's.
#[derive(Deserialize)]
struct Reply<T> {
    data: T,
}

/// What RAUC says of one of our slots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    booted: bool,
    bootable: bool,
    bootname: Option<String>,
}

impl Rauc {
    pub(super) fn new(host: &Host, settings: &RaucSettings, disk: Disk) -> (Self, Trees) {
        let rauc = Self {
            host: host.clone(),
            settings: settings.clone(),
            proven: Arc::new(ProvenFile::new(host.path(&settings.state), disk)),
            images: Arc::default(),
        };
        let trees = Trees::mounted(host, &settings.a.tree, &settings.b.tree);
        (rauc, trees)
    }

    fn name(&self, slot: Slot) -> &str {
        match slot {
            Slot::A => &self.settings.a.name,
            Slot::B => &self.settings.b.name,
        }
    }

    fn tree(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::A => self.host.path(&self.settings.a.tree),
            Slot::B => self.host.path(&self.settings.b.tree),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        args: &[&str],
    ) -> Result<T, PlatformError> {
        let service = [
            "--system",
            "--json=short",
            "call",
            "de.pengutronix.rauc",
            "/",
            "de.pengutronix.rauc.Installer",
            method,
        ];
        let call = Call::new("busctl", service.iter().chain(args).copied(), ANSWER);
        let output = self.host.output(&call).await?;
        let reply: Result<Reply<T>, _> = serde_json::from_slice(&output);
        match reply {
            Ok(reply) => Ok(reply.data),
            Err(error) => Err(unavailable(format!("{}: {error}", call.line()))),
        }
    }

    /// `good`, `bad` or `active`.
    async fn mark(&self, state: &str, slot: Slot) -> Result<(), PlatformError> {
        let args = ["ss", state, self.name(slot)];
        let (marked, _message): (String, String) = self.call("Mark", &args).await?;
        match marked == self.name(slot) {
            true => Ok(()),
            false => Err(unavailable(format!(
                "RAUC marked {marked} instead of {}",
                self.name(slot)
            ))),
        }
    }

    async fn primary(&self) -> Result<String, PlatformError> {
        let (name,): (String,) = self.call("GetPrimary", &[]).await?;
        Ok(name)
    }

    async fn default(&self) -> Result<Slot, PlatformError> {
        let primary = self.primary().await?;
        let of_name = |slot: &Slot| self.name(*slot) == primary;
        match [Slot::A, Slot::B].into_iter().find(of_name) {
            Some(slot) => Ok(slot),
            None => Err(unavailable(format!(
                "RAUC boots {primary} next, which is neither slot"
            ))),
        }
    }

    /// Both slots.
    async fn status(&self) -> Result<(Status, Status), PlatformError> {
        type Slots = Vec<(String, serde_json::Map<String, Value>)>;
        let (slots,): (Slots,) = self.call("GetSlotStatus", &[]).await?;
        let of = |slot: Slot| {
            let name = self.name(slot);
            match slots.iter().find(|(found, _)| found == name) {
                Some((_, values)) => status(name, values),
                None => Err(unavailable(format!(
                    "RAUC has no slot {name}: see its system.conf"
                ))),
            }
        };
        Ok((of(Slot::A)?, of(Slot::B)?))
    }

    /// RAUC's word, and the kernel's where it was given.
    fn booted(&self, a: &Status, b: &Status) -> Result<Slot, PlatformError> {
        let by_rauc = match (a.booted, b.booted) {
            (true, false) => Slot::A,
            (false, true) => Slot::B,
            (true, true) => return Err(unavailable("RAUC says that both slots were booted")),
            (false, false) => return Err(unavailable("RAUC says that neither slot was booted")),
        };
        let status = if by_rauc == Slot::A { a } else { b };
        match cmdline::parameter(&self.host, "rauc.slot")? {
            Some(word) if word != self.name(by_rauc) && Some(&word) != status.bootname.as_ref() => {
                Err(unavailable(format!(
                    "RAUC says that {} was booted, the kernel's command line has rauc.slot={word}",
                    self.name(by_rauc)
                )))
            }
            Some(_) | None => Ok(by_rauc),
        }
    }

    /// What was proven, and what the slots hold.
    async fn known(&self) -> Result<(Proven, [Option<Digest>; 2], bool), PlatformError> {
        let (proven, images) = (Arc::clone(&self.proven), Arc::clone(&self.images));
        let (a, b) = (self.tree(Slot::A), self.tree(Slot::B));
        let folder = self.host.path(&self.settings.state);
        on_medium(&self.host, move || {
            let digest = |tree| Ok(images.of(tree)?.map(|image| image.digest));
            let existing = folder.ancestors().find(|path| path.exists());
            let writable = is_writable(existing.unwrap_or(&folder))?;
            Ok((proven.read()?, [digest(&a)?, digest(&b)?], writable))
        })
        .await
    }

    async fn keep(&self, slot: Slot, image: Option<Digest>) -> Result<(), PlatformError> {
        let proven = Arc::clone(&self.proven);
        on_medium(&self.host, move || proven.set(slot, image)).await
    }

    async fn make_primary(&self, slot: Slot) -> Result<(), PlatformError> {
        match self.primary().await {
            Ok(name) if name == self.name(slot) => Ok(()),
            // A loader with no slot to boot has no primary one either.
            Ok(_) | Err(PlatformError::Unavailable(_)) => self.mark("active", slot).await,
            Err(error @ PlatformError::Refused(_)) => Err(error),
        }
    }
}

#[async_trait]
impl Loader for Rauc {
    async fn look(&self) -> Result<Seen, PlatformError> {
        let (a, b) = self.status().await?;
        let booted = self.booted(&a, &b)?;
        let (proven, [image_a, image_b], writable) = self.known().await?;
        let health = |slot: Slot, status: &Status, image: Option<Digest>| match status.bootable {
            false if slot == booted => SlotHealth::Untried { tries: 0 },
            false => SlotHealth::Unbootable,
            true if image.is_some() && proven.of(slot) == image => SlotHealth::Good,
            true => SlotHealth::Untried { tries: 1 },
        };
        Ok(Seen {
            booted,
            default: match a.bootable || b.bootable {
                true => self.default().await?,
                // RAUC cannot name one; its loader takes what it took before.
                false => booted,
            },
            a: health(Slot::A, &a, image_a),
            b: health(Slot::B, &b, image_b),
            unwritable: read_only(writable),
        })
    }

    /// What was proven is forgotten first: a cut in between leaves a slot that boots and is not proven, which is true enough.
    async fn forbid(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError> {
        self.keep(slot, None).await?;
        self.mark("bad", slot).await?;
        self.make_primary(seen.booted).await
    }

    async fn choose(&self, slot: Slot, _tries: u8, _seen: &Seen) -> Result<(), PlatformError> {
        self.mark("active", slot).await
    }

    /// RAUC first: a cut in between leaves a slot that is not proven yet, and the call is repeated.
    async fn bless(&self, slot: Slot, _seen: &Seen) -> Result<(), PlatformError> {
        self.mark("good", slot).await?;
        let (_, images, _) = self.known().await?;
        let image = match slot {
            Slot::A => images[0],
            Slot::B => images[1],
        };
        match image {
            Some(image) => self.keep(slot, Some(image)).await,
            None => Err(refused(format!(
                "slot {slot} has no manifest: what was proven good is not known"
            ))),
        }
    }

    async fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        match self.settings.autoboot {
            Some(autoboot) => Ok(BootSettings {
                autoboot,
                stops_in_menu: false,
            }),
            None => Err(unavailable(
                "RAUC does not say whether its loader stops: say so with `autoboot` in [platform.slots]",
            )),
        }
    }
}

/// Values are variants: `{"type":"s","data":"booted"}`.
fn status(name: &str, values: &serde_json::Map<String, Value>) -> Result<Status, PlatformError> {
    let text = |key: &str| Some(values.get(key)?.get("data")?.as_str()?.to_owned());
    let bootable = match text("boot-status").as_deref() {
        Some("good") => true,
        Some("bad") => false,
        Some(_) | None => {
            return Err(unavailable(format!(
                "RAUC does not say whether its loader would boot {name}: see RAUC's log"
            )));
        }
    };
    Ok(Status {
        booted: text("state").as_deref() == Some("booted"),
        bootable,
        bootname: text("bootname"),
    })
}
