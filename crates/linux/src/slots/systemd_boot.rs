//! systemd-boot, which counts boots in the names of its entries.
//!
//! Which entry boots next is decided by their **order** (`version`), never by a `default` that names one of them: the loader would go on
//! taking that one when its tries are used up. All changes but one are made to what belongs to the slot that does not run; the loader
//! boots the running one whatever becomes of the other. The exception is the blessing, which adds an entry before it takes one away. FAT has
//! no journal: a rename that a power cut tears may leave both names, none, or the new one with nothing in it, so no step relies on one for
//! the running slot's entry.

use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{BootSettings, EntrySettings, Slot, SlotHealth, SystemdBootSettings};

use super::disk::Disk;
use super::loader_conf::{LoaderConf, fits};
use super::systemd_entries::Entries;
use super::trees::Trees;
use super::{FileLoader, Seen, cmdline, efi, read_only};
use crate::host::Host;
use crate::look::{refused, unavailable, unreadable};
use crate::mounts::Mounts;
use evenkeel_platform::PlatformError;

/// A place in the order for a slot's first entry that leaves room on both sides.
const FIRST_VERSION: u64 = 1000;

/// systemd-boot and its partition.
pub(super) struct SystemdBoot {
    host: Host,
    settings: SystemdBootSettings,
    disk: Disk,
}

impl SystemdBoot {
    pub(super) fn new(host: &Host, settings: &SystemdBootSettings, disk: Disk) -> (Self, Trees) {
        let trees = Trees::mounted(host, &settings.a.tree, &settings.b.tree);
        let boot = Self {
            host: host.clone(),
            settings: settings.clone(),
            disk,
        };
        (boot, trees)
    }

    fn of(&self, slot: Slot) -> &EntrySettings {
        match slot {
            Slot::A => &self.settings.a,
            Slot::B => &self.settings.b,
        }
    }

    /// On the partition, as seen from here.
    fn on_esp(&self, path: impl AsRef<Path>) -> PathBuf {
        self.host.path(&self.settings.esp).join(path)
    }

    fn entries_dir(&self) -> PathBuf {
        self.on_esp("loader/entries")
    }

    fn entries(&self) -> Result<Entries, PlatformError> {
        Entries::read(&self.entries_dir(), &self.settings.entry)
    }

    /// The slot that was booted: our entries tell the kernel, and the loader tells which entry it took. Both must agree.
    fn booted(&self, entries: &Entries) -> Result<Slot, PlatformError> {
        let by_kernel = cmdline::slot(&self.host)?;
        let selected = efi::text(&self.host, "LoaderEntrySelected")?;
        let by_loader = selected
            .as_deref()
            .and_then(|name| entries.slot_named(name));
        match (by_kernel, by_loader) {
            (Some(kernel), Some(loader)) if kernel != loader => Err(unavailable(format!(
                "the kernel's command line says that slot {kernel} was booted, the loader that slot {loader} was"
            ))),
            (Some(slot), _) | (None, Some(slot)) => Ok(slot),
            (None, None) => Err(unavailable(format!(
                "which slot was booted is not known: the kernel's command line has no evenkeel.slot=, and the loader took {}",
                selected
                    .as_deref()
                    .unwrap_or("an entry that it does not name")
            ))),
        }
    }

    fn conf(&self) -> Result<LoaderConf, PlatformError> {
        let text = self
            .host
            .read_if_any(self.settings.esp.join("loader/loader.conf"))?;
        LoaderConf::read(&self.host, &text.unwrap_or_default())
    }

    /// The slot that the next boot alone takes.
    fn one_shot(
        &self,
        conf: &LoaderConf,
        entries: &Entries,
    ) -> Result<Option<Slot>, PlatformError> {
        let Some(name) = &conf.one_shot else {
            return Ok(None);
        };
        match entries.slot_named(name) {
            Some(slot) => Ok(Some(slot)),
            None => Err(unavailable(format!(
                "the next boot is that of {name}, by the EFI variable LoaderEntryOneShot: that is no slot"
            ))),
        }
    }

    /// The slot that a `default` names alone, and who says so; none if the order decides between ours.
    fn pinned(
        &self,
        conf: &LoaderConf,
        entries: &Entries,
    ) -> Result<Option<(Slot, &'static str)>, PlatformError> {
        let Some((pattern, by)) = &conf.default else {
            return self.check_order(entries).map(|()| None);
        };
        for entry in entries.foreign() {
            if fits(pattern, &entry.file)? || fits(pattern, &entry.id)? {
                return Err(unavailable(format!(
                    "{by} makes \"{pattern}\" the default, which fits {}: that is no slot",
                    entry.file
                )));
            }
        }
        let of = |slot: Slot| {
            let plain = format!("{}-{slot}.conf", self.settings.entry);
            let mut names = vec![plain];
            names.extend(entries.of(slot).map(|entry| entry.file.clone()));
            let found = names.iter().map(|name| fits(pattern, name));
            Ok(found.collect::<Result<Vec<_>, _>>()?.contains(&true))
        };
        match (of(Slot::A)?, of(Slot::B)?) {
            (true, true) => Ok(None),
            (true, false) => Ok(Some((Slot::A, *by))),
            (false, true) => Ok(Some((Slot::B, *by))),
            (false, false) => self.check_order(entries).map(|()| None),
        }
    }

    /// Without a default that fits both slots, every entry takes part in the order.
    fn check_order(&self, entries: &Entries) -> Result<(), PlatformError> {
        let prefix = &self.settings.entry;
        let remedy = format!("put `default {prefix}-*` into loader.conf");
        if let Some(foreign) = entries.before_ours() {
            let file = &foreign.file;
            return Err(unavailable(format!(
                "the loader takes {file} before any slot: {remedy}"
            )));
        }
        let unified = self.on_esp("EFI/Linux");
        let found = match std::fs::read_dir(&unified) {
            Ok(found) => found.count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(unreadable(&unified, &error)),
        };
        match found {
            0 => Ok(()),
            n => Err(unavailable(format!(
                "the place of {n} files in {} in the loader's order is not known: {remedy}",
                unified.display()
            ))),
        }
    }

    fn check_mounted(&self) -> Result<bool, PlatformError> {
        match Mounts::read(&self.host)?.at(&self.settings.esp) {
            Some(mount) => Ok(mount.takes_writes()),
            None => Err(unavailable(format!(
                "the EFI system partition is not mounted at {}",
                self.settings.esp.display()
            ))),
        }
    }

    /// Removes the entries of a slot, but for one file. A cut in between leaves fewer of them, never a mix.
    fn remove_entries(
        &self,
        entries: &Entries,
        slot: Slot,
        but: Option<&str>,
    ) -> Result<(), PlatformError> {
        let dir = self.entries_dir();
        for entry in entries
            .files_of(slot)
            .filter(|entry| Some(entry.file.as_str()) != but)
        {
            self.disk.remove(&entry.path(&dir))?;
        }
        // Also when there was none: whoever removed it may not have lived to make that durable.
        self.disk.sync_dir(&dir)
    }

    /// Puts an entry of the slot that does not run in its place. `left` tries, or none for a proven one.
    fn write_entry(
        &self,
        slot: Slot,
        left: Option<u32>,
        version: u64,
    ) -> Result<(), PlatformError> {
        let dir = self.entries_dir();
        let name = self.file_name(slot, left);
        // No `.conf` at its end: the loader does not read it.
        let temporary = dir.join(format!("{}-{slot}.new", self.settings.entry));
        let text = self.entry_text(slot, version);
        self.disk
            .replace(&dir.join(name), &temporary, text.as_bytes())
    }

    fn file_name(&self, slot: Slot, left: Option<u32>) -> String {
        let counter = left.map(|left| format!("+{left}")).unwrap_or_default();
        format!("{}-{slot}{counter}.conf", self.settings.entry)
    }

    fn entry_text(&self, slot: Slot, version: u64) -> String {
        let (prefix, options) = (&self.settings.entry, &self.of(slot).options);
        let mut text = format!(
            "title Evenkeel, slot {slot}\nsort-key {prefix}\nversion {version}\nlinux /{prefix}-{slot}/linux\n"
        );
        for n in 0..self.settings.initrd.len() {
            text.push_str(&format!("initrd /{prefix}-{slot}/initrd{n}\n"));
        }
        text.push_str(&format!("options {options} evenkeel.slot={slot}\n"));
        text
    }

    /// Copies what the loader must read of a slot's tree. The slot has no entry meanwhile, so nobody boots half a kernel.
    fn copy_kernel(&self, slot: Slot) -> Result<(), PlatformError> {
        let tree = self.host.path(&self.of(slot).tree);
        let dir = self.on_esp(format!("{}-{slot}", self.settings.entry));
        self.disk.make_dir(&dir)?;
        let within = |path: &Path| tree.join(path.strip_prefix("/").unwrap_or(path));
        self.disk
            .copy(&within(&self.settings.linux), &dir.join("linux"))?;
        for (n, initrd) in self.settings.initrd.iter().enumerate() {
            self.disk
                .copy(&within(initrd), &dir.join(format!("initrd{n}")))?;
        }
        self.disk.sync_dir(&dir)
    }

    /// The slot that does not run comes first from now on. Its old entries go before the new one comes: two would get the same name
    /// when the loader counts them down, and it could count no further. A cut in between leaves the running slot's entry alone.
    fn put_first(&self, slot: Slot, tries: u8, seen: &Seen) -> Result<(), PlatformError> {
        let entries = self.entries()?;
        let running = entries.version_of(slot.other())?;
        let version = running.map_or(FIRST_VERSION, |version| version.saturating_add(1));
        if seen.health(slot) == SlotHealth::Good {
            // The kernel came with the entry that it has.
            self.write_entry(slot, None, version)?;
            let name = self.file_name(slot, None);
            return self.remove_entries(&self.entries()?, slot, Some(&name));
        }
        self.remove_entries(&entries, slot, None)?;
        self.copy_kernel(slot)?;
        self.write_entry(slot, Some(tries.into()), version)
    }

    /// The running slot comes first from now on: the other one's entry goes down in the order, whatever is left to it.
    fn put_last(&self, slot: Slot) -> Result<(), PlatformError> {
        let entries = self.entries()?;
        let running = entries.version_of(slot.other())?;
        let Some(lower) = running.and_then(|version| version.checked_sub(1)) else {
            return Err(refused(format!(
                "no version is below that of the running slot's entry: give it `version {FIRST_VERSION}`"
            )));
        };
        let above = entries
            .version_of(slot)?
            .is_some_and(|version| version > lower);
        let Some(left) = entries
            .of(slot)
            .map(|entry| entry.left)
            .next()
            .filter(|_| above)
        else {
            return Ok(());
        };
        self.write_entry(slot, left, lower)?;
        let name = self.file_name(slot, left);
        self.remove_entries(&self.entries()?, slot, Some(&name))
    }

    /// Gives the running slot, which is on its last try, new ones. The other one boots meanwhile.
    fn renew_tries(&self, slot: Slot, tries: u8) -> Result<(), PlatformError> {
        let dir = self.entries_dir();
        let entries = self.entries()?;
        let Some(entry) = entries.of(slot).next() else {
            return Err(refused(format!(
                "slot {slot}, which runs, has no entry: write {} by hand",
                self.file_name(slot, None)
            )));
        };
        let name = self.file_name(slot, Some(tries.into()));
        self.disk.rename(&entry.path(&dir), &dir.join(name))
    }
}

impl FileLoader for SystemdBoot {
    fn look(&self) -> Result<Seen, PlatformError> {
        let writable = self.check_mounted()?;
        let entries = self.entries()?;
        let booted = self.booted(&entries)?;
        let conf = self.conf()?;
        // A name that no entry has is passed over by the loader.
        let is_there = |slot: &Slot| entries.of(*slot).next().is_some();
        let one_shot = self.one_shot(&conf, &entries)?.filter(is_there);
        let pinned = self.pinned(&conf, &entries)?.map(|(slot, _)| slot);
        let pinned = pinned.filter(is_there);
        // Without any entry nothing boots, and which slot that is makes no difference.
        let first = entries.first()?.unwrap_or(booted);
        Ok(Seen {
            booted,
            default: one_shot.or(pinned).unwrap_or(first),
            a: entries.health(Slot::A, booted),
            b: entries.health(Slot::B, booted),
            unwritable: read_only(writable),
        })
    }

    fn forbid(&self, slot: Slot, _seen: &Seen) -> Result<(), PlatformError> {
        self.remove_entries(&self.entries()?, slot, None)
    }

    fn choose(&self, slot: Slot, tries: u8, seen: &Seen) -> Result<(), PlatformError> {
        let entries = self.entries()?;
        if let Some((pinned, by)) = self.pinned(&self.conf()?, &entries)? {
            return Err(refused(format!(
                "{by} makes slot {pinned} the default by its name: the loader would never fall back from it. Let it say `default {}-*`, \
                 or nothing",
                self.settings.entry
            )));
        }
        if slot != seen.booted {
            return self.put_first(slot, tries, seen);
        }
        if seen.health(slot) == (SlotHealth::Untried { tries: 0 }) {
            self.renew_tries(slot, tries)?;
        }
        self.put_last(slot.other())
    }

    /// An entry without a counter is added, then those with one go. A cut in between leaves both, and either boots this slot.
    fn bless(&self, slot: Slot, _seen: &Seen) -> Result<(), PlatformError> {
        let dir = self.entries_dir();
        let entries = self.entries()?;
        let proven = self.file_name(slot, None);
        if !entries.of(slot).any(|entry| entry.file == proven) {
            let Some(counted) = entries.of(slot).next() else {
                return Err(refused(format!(
                    "slot {slot}, which runs, has no entry: write {proven} by hand"
                )));
            };
            let path = counted.path(&dir);
            let content = std::fs::read(&path);
            let content = content.map_err(|error| unreadable(&path, &error))?;
            let temporary = dir.join(format!("{}-{slot}.new", self.settings.entry));
            self.disk
                .replace(&dir.join(&proven), &temporary, &content)?;
        }
        self.remove_entries(&self.entries()?, slot, Some(&proven))
    }

    fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        self.check_mounted()?;
        Ok(self.conf()?.boot_settings())
    }
}
