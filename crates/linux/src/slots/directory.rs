//! Two folders, for hosts without a boot loader: network namespaces, containers, services.
//!
//! Below one folder lie `a` and `b` (the slots' trees), `state` and `current`. **`state`** is what the next start goes by, three lines:
//!
//! ```text
//! default=b
//! a=good
//! b=3
//! ```
//!
//! A slot is `good`, `unbootable`, or has a number of tries left. Without the file `a` is the default and good, and `b` unbootable.
//! **`current`** is a link to the slot that runs, and only whoever starts the host changes it: `systemd/directory-slots` does what a boot
//! loader does (takes the default while it has tries left and a whole image, counts the try before the jump, else takes the other) and
//! needs nothing but a shell. All that is kept is in one file, replaced as a whole: at any instant a start finds the state before a call
//! or the state after it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{BootSettings, Slot, SlotHealth};

use super::disk::Disk;
use super::trees::Trees;
use super::{FileLoader, Seen, is_writable, read_only};
use crate::host::Host;
use crate::look::{unavailable, unreadable};
use evenkeel_platform::PlatformError;

/// The folder.
pub(super) struct Directory {
    dir: PathBuf,
    disk: Disk,
}

/// The content of `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    default: Slot,
    a: SlotHealth,
    b: SlotHealth,
}

impl Directory {
    pub(super) fn new(host: &Host, path: &Path, disk: Disk) -> (Self, Trees) {
        let dir = host.path(path);
        let trees = Trees::Folders {
            a: dir.join(Slot::A.as_str()),
            b: dir.join(Slot::B.as_str()),
        };
        (Self { dir, disk }, trees)
    }

    /// The slot that was started, by the link that the starter made.
    fn booted(&self) -> Result<Slot, PlatformError> {
        let link = self.dir.join("current");
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) => {
                return Err(unavailable(format!(
                    "{}, which whoever starts the host makes, cannot be read: {error}",
                    link.display()
                )));
            }
        };
        match target.to_str() {
            Some("a") => Ok(Slot::A),
            Some("b") => Ok(Slot::B),
            Some(_) | None => Err(unavailable(format!(
                "{} leads to {}, which is neither a nor b",
                link.display(),
                target.display()
            ))),
        }
    }

    fn state_path(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn read(&self) -> Result<State, PlatformError> {
        let path = self.state_path();
        match fs::read_to_string(&path) {
            Ok(text) => match parse(&text) {
                Some(state) => Ok(state),
                None => Err(unavailable(format!(
                    "{} is damaged: it must say default=, a= and b=, each once",
                    path.display()
                ))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// One file and one rename: power lost at any instant leaves what a start went by before, or what it shall go by.
    fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), PlatformError> {
        let before = self.read()?;
        let mut after = before;
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let path = self.state_path();
        let text = after.to_text();
        self.disk
            .replace(&path, &self.dir.join("state.new"), text.as_bytes())
    }
}

impl FileLoader for Directory {
    fn look(&self) -> Result<Seen, PlatformError> {
        let (booted, state) = (self.booted()?, self.read()?);
        let health = |slot: Slot| match state.health(slot) {
            // The starter gives it up when it comes to it again; while it runs on its last try it is not given up yet.
            SlotHealth::Untried { tries: 0 } if slot != booted => SlotHealth::Unbootable,
            health => health,
        };
        let other = state.default.other();
        let takes_other = !state.health(state.default).is_bootable() && health(other).is_bootable();
        Ok(Seen {
            booted,
            default: if takes_other { other } else { state.default },
            a: health(Slot::A),
            b: health(Slot::B),
            unwritable: read_only(is_writable(&self.dir)?),
        })
    }

    fn forbid(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError> {
        self.change(|state| {
            state.default = seen.booted;
            *state.health_mut(slot) = SlotHealth::Unbootable;
        })
    }

    fn choose(&self, slot: Slot, tries: u8, _seen: &Seen) -> Result<(), PlatformError> {
        self.change(|state| {
            state.default = slot;
            if state.health(slot) != SlotHealth::Good {
                *state.health_mut(slot) = SlotHealth::Untried { tries };
            }
        })
    }

    fn bless(&self, slot: Slot, _seen: &Seen) -> Result<(), PlatformError> {
        self.change(|state| *state.health_mut(slot) = SlotHealth::Good)
    }

    /// Whoever starts the host asks nobody.
    fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        Ok(BootSettings {
            autoboot: true,
            stops_in_menu: false,
        })
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            default: Slot::A,
            a: SlotHealth::Good,
            b: SlotHealth::Unbootable,
        }
    }
}

impl State {
    fn health(&self, slot: Slot) -> SlotHealth {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    fn health_mut(&mut self, slot: Slot) -> &mut SlotHealth {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    fn to_text(self) -> String {
        let mut text = format!("default={}\n", self.default);
        for slot in [Slot::A, Slot::B] {
            let line = match self.health(slot) {
                SlotHealth::Good => writeln!(text, "{slot}=good"),
                SlotHealth::Unbootable => writeln!(text, "{slot}=unbootable"),
                SlotHealth::Untried { tries } => writeln!(text, "{slot}={tries}"),
            };
            line.expect("a string takes any text");
        }
        text
    }
}

/// All three lines, each once; anything else is damage.
fn parse(text: &str) -> Option<State> {
    let (mut default, mut a, mut b) = (None, None, None);
    for line in text.lines() {
        let (key, value) = line.split_once('=')?;
        let again = match key {
            "default" => default.replace(parse_slot(value)?).is_some(),
            "a" => a.replace(parse_health(value)?).is_some(),
            "b" => b.replace(parse_health(value)?).is_some(),
            _ => return None,
        };
        if again {
            return None;
        }
    }
    Some(State {
        default: default?,
        a: a?,
        b: b?,
    })
}

fn parse_slot(text: &str) -> Option<Slot> {
    [Slot::A, Slot::B]
        .into_iter()
        .find(|slot| slot.as_str() == text)
}

fn parse_health(text: &str) -> Option<SlotHealth> {
    match text {
        "good" => Some(SlotHealth::Good),
        "unbootable" => Some(SlotHealth::Unbootable),
        tries => Some(SlotHealth::Untried {
            tries: tries.parse().ok()?,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_not() {
        let state = State {
            default: Slot::B,
            a: SlotHealth::Good,
            b: SlotHealth::Untried { tries: 3 },
        };
        assert_eq!(parse(&state.to_text()), Some(state));
        for damaged in ["", "default=b\na=good\n", "default=c\na=good\nb=good\n"] {
            assert_eq!(parse(damaged), None, "{damaged:?}");
        }
        assert_eq!(parse("default=a\na=good\nb=good\nb=good\n"), None);
        assert_eq!(parse("default=a\na=good\nb=-1\n"), None);
    }
}
