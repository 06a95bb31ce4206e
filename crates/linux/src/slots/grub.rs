//! GRUB, by the variables of its environment block that RAUC's `grub.cfg` made known.
//!
//! `ORDER` names the slots in the order in which they are tried (`A B`). `X_OK=1` means that slot X may be booted; `X_TRY=1` that it was,
//! as often as it may be, and was not marked good since: then it is skipped. To them `systemd/grub.cfg.example` adds `X_LEFT`, boots that
//! are left to a slot on trial, 0 for one that is proven; it sets `X_TRY=1` with the last one. RAUC's own `grub.cfg` knows no `X_LEFT`: it gives
//! every slot one try, and every boot must be marked good.
//!
//! The block is written **in place**, as GRUB itself does: GRUB reads a file system without replaying its journal, so a new file under the
//! old name might not be there yet for GRUB after a power cut, and the old one's block might be another file's by then. All values have
//! a fixed width and lie in the block's first sector, so each change after the first is one sector, which a disk writes whole or not at all.

use std::path::{Path, PathBuf};

use evenkeel_model::{BootSettings, GrubSettings, Slot, SlotHealth};

use super::disk::Disk;
use super::grubenv::{BLOCK_BYTES, Environment, differ_in_one_sector};
use super::trees::Trees;
use super::{FileLoader, Seen, cmdline, read_only};
use crate::host::Host;
use crate::look::{refused, unavailable};
use crate::mounts::Mounts;
use evenkeel_platform::PlatformError;

/// Tries have one digit.
const MAX_TRIES: u8 = 9;

/// GRUB and its environment block.
pub(super) struct Grub {
    host: Host,
    /// As the machine names it.
    env: PathBuf,
    autoboot: Option<bool>,
    disk: Disk,
}

/// What the variables say of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variables {
    ok: bool,
    tried: bool,
    left: u8,
}

/// What they say in all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    first: Slot,
    a: Variables,
    b: Variables,
}

impl Grub {
    pub(super) fn new(host: &Host, settings: &GrubSettings, disk: Disk) -> (Self, Trees) {
        let grub = Self {
            host: host.clone(),
            env: settings.env.clone(),
            autoboot: settings.autoboot,
            disk,
        };
        (grub, Trees::mounted(host, &settings.a, &settings.b))
    }

    fn booted(&self) -> Result<Slot, PlatformError> {
        if let Some(slot) = cmdline::slot(&self.host)? {
            return Ok(slot);
        }
        match cmdline::parameter(&self.host, "rauc.slot")?.as_deref() {
            Some("A") => Ok(Slot::A),
            Some("B") => Ok(Slot::B),
            Some(other) => Err(unavailable(format!(
                "the kernel's command line has rauc.slot={other}, which is neither A nor B"
            ))),
            None => Err(unavailable(
                "the kernel's command line names no slot: grub.cfg must add evenkeel.slot=a or evenkeel.slot=b",
            )),
        }
    }

    fn read(&self) -> Result<(Vec<u8>, Environment), PlatformError> {
        let named = |why: String| format!("GRUB's environment block {}: {why}", self.env.display());
        let block = std::fs::read(self.host.path(&self.env));
        let block = block.map_err(|error| unavailable(named(error.to_string())))?;
        match Environment::parse(&block) {
            Ok(environment) => Ok((block, environment)),
            Err(error) => Err(unavailable(named(error.to_string()))),
        }
    }

    /// Compares, then writes the block in place. A `kill -9` falls before or after the one write; a power cut leaves the first sector,
    /// where all that decides is, as it was or as it shall be.
    fn change(&self, change: impl FnOnce(&mut Choice)) -> Result<(), PlatformError> {
        if let Some(why) = self.unwritable()? {
            return Err(refused(why));
        }
        let (before, mut environment) = self.read()?;
        let mut choice = Choice::of(&environment);
        change(&mut choice);
        environment.set_first(&choice.variables());
        let after = environment.encode()?;
        if after == before {
            return Ok(());
        }
        if !differ_in_one_sector(&before, &after) {
            // Once at most: afterwards our variables are in front, and stay as long as they are.
            tracing::warn!(env = %self.env.display(), "GRUB's variables are moved to the front of its environment block");
        }
        debug_assert_eq!(after.len(), BLOCK_BYTES);
        self.disk.overwrite(&self.host.path(&self.env), &after)
    }

    /// Why the block cannot be changed. GRUB can read many file systems that it cannot write to: there a trial would never be counted.
    fn unwritable(&self) -> Result<Option<String>, PlatformError> {
        let mounts = Mounts::read(&self.host)?;
        let Some(mount) = mounts.of(&self.env) else {
            return Err(unavailable(format!(
                "no mount holds {}",
                self.env.display()
            )));
        };
        let by_grub = match mount.kind.as_str() {
            "ext2" | "ext3" | "ext4" | "vfat" | "xfs" => self.unwritable_device(&mount.dev)?,
            other => Some(format!("it lies on {other}")),
        };
        let by_grub = by_grub.map(|why| {
            format!(
                "GRUB cannot write its environment block {} there: {why}. Nothing would count the boots of a new slot; move the block to a \
                 plain partition with ext4 or FAT",
                self.env.display()
            )
        });
        Ok(by_grub.or_else(|| read_only(mount.takes_writes())))
    }

    /// GRUB writes to disks and their partitions, not to what Linux puts together from several.
    fn unwritable_device(&self, device: &str) -> Result<Option<String>, PlatformError> {
        let sys = Path::new("/sys/dev/block").join(device);
        if !self.host.path(&sys).exists() {
            return Err(unavailable(format!("{} is not there", sys.display())));
        }
        if let Some(uuid) = self.host.read_if_any(sys.join("dm/uuid"))? {
            // Multipath shows a plain disk, which GRUB sees without it.
            let plain = uuid.starts_with("mpath-") || uuid.contains("-mpath-");
            return Ok((!plain).then(|| format!("it lies on a mapped device ({uuid})")));
        }
        let of_md = ["md", "../md"]
            .iter()
            .any(|md| self.host.path(sys.join(md)).exists());
        Ok(of_md.then(|| "it lies on a software RAID".to_owned()))
    }
}

impl FileLoader for Grub {
    fn look(&self) -> Result<Seen, PlatformError> {
        let booted = self.booted()?;
        let (_, environment) = self.read()?;
        let choice = Choice::of(&environment);
        let order = [choice.first, choice.first.other()];
        let next = order.into_iter().find(|slot| choice.of_slot(*slot).boots());
        Ok(Seen {
            booted,
            // Where no slot is left, grub.cfg takes its first entry.
            default: next.unwrap_or(Slot::A),
            a: choice.a.health(booted == Slot::A),
            b: choice.b.health(booted == Slot::B),
            unwritable: self.unwritable()?,
        })
    }

    fn forbid(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError> {
        self.change(|choice| {
            choice.first = seen.booted;
            *choice.of_slot_mut(slot) = Variables {
                ok: false,
                tried: false,
                left: 0,
            };
        })
    }

    fn choose(&self, slot: Slot, tries: u8, seen: &Seen) -> Result<(), PlatformError> {
        if tries > MAX_TRIES {
            return Err(refused(format!(
                "{tries} tries: GRUB counts to {MAX_TRIES}"
            )));
        }
        let left = match seen.health(slot) {
            SlotHealth::Good => 0,
            SlotHealth::Unbootable | SlotHealth::Untried { .. } => tries,
        };
        self.change(|choice| {
            choice.first = slot;
            *choice.of_slot_mut(slot) = Variables {
                ok: true,
                tried: false,
                left,
            };
        })
    }

    fn bless(&self, slot: Slot, _seen: &Seen) -> Result<(), PlatformError> {
        self.change(|choice| {
            *choice.of_slot_mut(slot) = Variables {
                ok: true,
                tried: false,
                left: 0,
            };
        })
    }

    fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        match self.autoboot {
            Some(autoboot) => Ok(BootSettings {
                autoboot,
                stops_in_menu: false,
            }),
            None => Err(unavailable(
                "grub.cfg is a script, which cannot be asked whether it stops: say so with `autoboot` in [platform.slots]",
            )),
        }
    }
}

impl Choice {
    /// As `grub.cfg` sets variables that the block does not have.
    fn of(environment: &Environment) -> Self {
        let of = |name: &str| {
            let value = |what: &str| environment.get(&format!("{name}_{what}"));
            Variables {
                ok: value("OK") == Some("1"),
                tried: value("TRY").is_some_and(|value| value != "0"),
                left: value("LEFT")
                    .and_then(|left| left.parse().ok())
                    .unwrap_or(0),
            }
        };
        let first = environment
            .get("ORDER")
            .and_then(|order| order.split(' ').next());
        Self {
            first: if first == Some("B") { Slot::B } else { Slot::A },
            a: of("A"),
            b: of("B"),
        }
    }

    fn of_slot(&self, slot: Slot) -> Variables {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    fn of_slot_mut(&mut self, slot: Slot) -> &mut Variables {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    /// Always all of them, in the same order, each as long as ever.
    fn variables(&self) -> [(&'static str, String); 7] {
        let order = match self.first {
            Slot::A => "A B",
            Slot::B => "B A",
        };
        let digit = |yes: bool| u8::from(yes).to_string();
        [
            ("ORDER", order.to_owned()),
            ("A_OK", digit(self.a.ok)),
            ("A_TRY", digit(self.a.tried)),
            ("A_LEFT", self.a.left.min(MAX_TRIES).to_string()),
            ("B_OK", digit(self.b.ok)),
            ("B_TRY", digit(self.b.tried)),
            ("B_LEFT", self.b.left.min(MAX_TRIES).to_string()),
        ]
    }
}

impl Variables {
    fn boots(self) -> bool {
        self.ok && !self.tried
    }

    fn health(self, booted: bool) -> SlotHealth {
        match self {
            Self { ok: false, .. } => SlotHealth::Unbootable,
            Self { tried: true, .. } if booted => SlotHealth::Untried { tries: 0 },
            Self { tried: true, .. } => SlotHealth::Unbootable,
            Self { left: 0, .. } => SlotHealth::Good,
            Self { left, .. } => SlotHealth::Untried { tries: left },
        }
    }
}
