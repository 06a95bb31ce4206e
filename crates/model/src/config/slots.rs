//! How a real controller keeps two systems, and chooses between them when it boots.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The boot slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SlotSettings {
    /// Two folders, and a file that says which of them the next start takes.
    Directory {
        /// Holds the folders `a` and `b`, that file (`state`), and the link `current`, which whoever starts the host makes.
        path: PathBuf,
    },
    /// systemd-boot, which counts boots in the names of its entries.
    SystemdBoot(SystemdBootSettings),
    /// GRUB, which counts boots in its environment block.
    Grub(GrubSettings),
    /// RAUC's service, whatever loader it drives.
    Rauc(RaucSettings),
}

/// systemd-boot with one entry for each slot, of type #1 of the Boot Loader Specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemdBootSettings {
    /// Where the EFI system partition is mounted. It holds `loader/entries`.
    pub esp: PathBuf,
    /// What the entries are called: `evenkeel` means `evenkeel-a.conf` and `evenkeel-b.conf`. It is their sort key too.
    #[serde(default = "evenkeel")]
    pub entry: String,
    /// The kernel in a slot's tree, as it is named there (`/boot/vmlinuz`). It is copied to the ESP, as the loader reads nothing else.
    pub linux: PathBuf,
    /// The initial RAM disks in a slot's tree, in the order in which they are loaded.
    #[serde(default)]
    pub initrd: Vec<PathBuf>,
    /// Slot `a`.
    pub a: EntrySettings,
    /// Slot `b`.
    pub b: EntrySettings,
}

fn evenkeel() -> String {
    "evenkeel".to_owned()
}

/// A slot that systemd-boot boots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntrySettings {
    /// Where the slot's file system is mounted, whichever slot runs.
    pub tree: PathBuf,
    /// The kernel's command line, with the slot's `root=`. `evenkeel.slot=` is added to it.
    pub options: String,
}

/// GRUB with the variables that RAUC's `grub.cfg` reads, or Evenkeel's (`systemd/grub.cfg.example`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrubSettings {
    /// The environment block, on a file system that GRUB can write to.
    pub env: PathBuf,
    /// Where slot `a`'s file system is mounted, whichever slot runs.
    pub a: PathBuf,
    /// Where slot `b`'s file system is mounted.
    pub b: PathBuf,
    /// The operator's word that `grub.cfg` starts the default entry by itself: a script cannot be asked.
    #[serde(default)]
    pub autoboot: Option<bool>,
}

/// RAUC's service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaucSettings {
    /// Slot `a`.
    pub a: RaucSlot,
    /// Slot `b`.
    pub b: RaucSlot,
    /// A file outside the slots for what RAUC does not keep: which images have been marked good.
    pub state: PathBuf,
    /// The operator's word that the loader starts the default slot by itself: RAUC does not say.
    #[serde(default)]
    pub autoboot: Option<bool>,
}

/// A slot of RAUC's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaucSlot {
    /// Its name in RAUC's `system.conf`, such as `rootfs.0`.
    pub name: String,
    /// Where its file system is mounted, whichever slot runs.
    pub tree: PathBuf,
}
