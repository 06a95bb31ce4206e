//! A host below a temporary folder, with two slots and a loader.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_model::{
    EntrySettings, GrubSettings, RaucSettings, RaucSlot, Slot, SlotSettings, SystemdBootSettings,
};
use tempfile::TempDir;

use super::cut::Cut;
use super::fake_rauc::FakeRauc;
use super::loaders;
use crate::slots::disk::Disk;
use crate::slots::on;
use crate::{Host, Programs, SystemPrograms};
use evenkeel_platform::BootSlots;

/// Boots that a trial gets in the tests, and that RAUC's loader is set up for.
pub(super) const TRIES: u8 = 3;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    SystemdBoot,
    Grub,
    Rauc,
}

/// In memory where that is possible: what is durable is simulated, and syncs of a busy disk take seconds.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The host: it runs slot a, proven, with version 1; slot b is empty.
pub(super) struct Bench {
    pub(super) kind: Kind,
    dir: TempDir,
    /// Slots whose image does not come up.
    pub(super) broken: BTreeSet<Slot>,
    pub(super) rauc: Arc<FakeRauc>,
}

impl Bench {
    pub(super) fn new(kind: Kind) -> Self {
        let bench = Self {
            kind,
            dir: folder(),
            broken: BTreeSet::new(),
            rauc: Arc::default(),
        };
        for folder in [
            "slots/a",
            "slots/b",
            "proc/self",
            "esp/loader/entries",
            "esp/evenkeel-a",
            "sys/firmware/efi/efivars",
            "sys/dev/block/8:1",
            "grub",
            "var",
        ] {
            fs::create_dir_all(bench.at(folder)).unwrap();
        }
        bench.mounts(&[
            "1 0 8:2 / / rw - ext4 root rw",
            "2 1 8:2 / /slots/a rw - ext4 root rw",
            "3 1 8:3 / /slots/b rw - ext4 other rw",
            "4 1 8:1 / /esp rw - vfat esp rw",
            "5 1 8:1 / /grub rw - ext4 grub rw",
        ]);
        bench.install(Slot::A, "1");
        loaders::set_up(&bench);
        bench
    }

    /// A file of the host, as seen from here.
    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn mounts(&self, lines: &[&str]) {
        fs::write(self.at("proc/self/mountinfo"), lines.join("\n")).unwrap();
    }

    pub(super) fn settings(&self) -> SlotSettings {
        let tree = |slot: &str| PathBuf::from("/slots").join(slot);
        let entry = |slot: &str| EntrySettings {
            tree: tree(slot),
            options: format!("root=LABEL=slot_{slot}"),
        };
        let rauc = |slot: &str, name: &str| RaucSlot {
            name: name.to_owned(),
            tree: tree(slot),
        };
        match self.kind {
            Kind::Directory => SlotSettings::Directory {
                path: "/slots".into(),
            },
            Kind::SystemdBoot => SlotSettings::SystemdBoot(SystemdBootSettings {
                esp: "/esp".into(),
                entry: "evenkeel".to_owned(),
                linux: "/boot/vmlinuz".into(),
                initrd: vec!["/boot/initrd.img".into()],
                a: entry("a"),
                b: entry("b"),
            }),
            Kind::Grub => SlotSettings::Grub(GrubSettings {
                env: "/grub/grubenv".into(),
                a: tree("a"),
                b: tree("b"),
                autoboot: Some(true),
            }),
            Kind::Rauc => SlotSettings::Rauc(RaucSettings {
                a: rauc("a", "rootfs.0"),
                b: rauc("b", "rootfs.1"),
                state: "/var/evenkeel/rauc.json".into(),
                autoboot: Some(true),
            }),
        }
    }

    pub(super) fn host(&self) -> Host {
        let programs: Arc<dyn Programs> = match self.kind {
            Kind::Rauc => Arc::clone(&self.rauc) as Arc<dyn Programs>,
            Kind::Directory | Kind::SystemdBoot | Kind::Grub => Arc::new(SystemPrograms),
        };
        Host::new(self.dir.path(), programs)
    }

    /// As a daemon finds them that has just started.
    pub(super) fn slots(&self) -> Box<dyn BootSlots> {
        self.rauc.watch(None);
        on(&self.host(), &self.settings(), Disk::default())
    }

    /// The same, over a medium that is watched or ends.
    pub(super) fn slots_on(&self, cut: &Arc<Cut>) -> Box<dyn BootSlots> {
        self.rauc.watch(Some(Arc::clone(cut)));
        let disk = Disk::watched(Arc::clone(cut) as Arc<_>);
        on(&self.host(), &self.settings(), disk)
    }

    /// Writes an image into a slot; its manifest comes last.
    pub(super) fn install(&self, slot: Slot, version: &str) {
        let tree = self.at("slots").join(slot.as_str());
        self.wipe(slot);
        fs::create_dir_all(tree.join("boot")).unwrap();
        fs::create_dir_all(tree.join(".evenkeel")).unwrap();
        for file in ["boot/vmlinuz", "boot/initrd.img"] {
            fs::write(tree.join(file), format!("{file} of {version}")).unwrap();
        }
        let manifest = format!("{{\"version\":\"{version}\"}}");
        fs::write(tree.join(".evenkeel/manifest.json"), manifest).unwrap();
    }

    /// What an install does first.
    pub(super) fn wipe(&self, slot: Slot) {
        let tree = self.at("slots").join(slot.as_str());
        let _absent = fs::remove_file(tree.join(".evenkeel/manifest.json"));
        let _absent = fs::remove_dir_all(tree.join("boot"));
    }

    /// The version that a slot holds, if it is whole.
    pub(super) fn version(&self, slot: Slot) -> Option<String> {
        let manifest = self
            .at("slots")
            .join(slot.as_str())
            .join(".evenkeel/manifest.json");
        let text = fs::read_to_string(manifest).ok()?;
        Some(
            text.strip_prefix("{\"version\":\"")?
                .strip_suffix("\"}")?
                .to_owned(),
        )
    }

    /// Power comes, or the host starts anew: the loader chooses until an image comes up. None if it never does.
    pub(super) fn boot(&self) -> Option<Slot> {
        (0..10).find_map(|_| {
            let slot = loaders::choose(self)?;
            let comes_up = !self.broken.contains(&slot) && loaders::holds_image(self, slot);
            comes_up.then_some(slot)
        })
    }

    /// An update up to the boot: slot b holds version 2 and is the default.
    pub(super) async fn activate(&self) {
        let slots = self.slots();
        slots.mark_unbootable(Slot::B).await.unwrap();
        self.install(Slot::B, "2");
        slots.set_default(Slot::B, TRIES).await.unwrap();
    }

    /// A whole update: slot b runs and is proven.
    pub(super) async fn update(&self) {
        self.activate().await;
        assert_eq!(self.boot(), Some(Slot::B));
        self.slots().mark_good(Slot::B).await.unwrap();
    }
}
