//! The loader's entries of type #1 (Boot Loader Specification) and the counters in their names (Automatic Boot Assessment).
//!
//! `evenkeel-b.conf` is proven; `evenkeel-b+2-1.conf` has two tries left and one behind it; one with no tries left (`+0-3`) is taken only
//! when nothing else is there. The loader renames the file at each try, before it starts the kernel.

use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_model::{Slot, SlotHealth};

use crate::look::{unavailable, unreadable};
use evenkeel_platform::PlatformError;

/// One file in `loader/entries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name.
    pub(super) file: String,
    /// Its name without `.conf` and counter.
    pub(super) id: String,
    /// Tries that are left; none for an entry that is not counted.
    pub(super) left: Option<u32>,
    sort_key: Option<String>,
    version: Option<String>,
    /// It names something to start. The loader passes over others, such as a file whose content a power cut took away.
    starts: bool,
}

/// What there is to choose from.
pub(super) struct Entries {
    /// What our entries are called.
    prefix: String,
    all: Vec<Entry>,
}

impl Entries {
    /// Reads all entries of a folder.
    pub(super) fn read(dir: &Path, prefix: &str) -> Result<Self, PlatformError> {
        let mut all = Vec::new();
        for found in fs::read_dir(dir).map_err(|error| unreadable(dir, &error))? {
            let file = found.map_err(|error| unreadable(dir, &error))?.file_name();
            let Some(file) = file.to_str().filter(|file| file.ends_with(".conf")) else {
                continue;
            };
            let path = dir.join(file);
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            all.push(Entry::parse(file, &text));
        }
        all.sort_by(|one, two| one.file.cmp(&two.file));
        let prefix = prefix.to_owned();
        Ok(Self { prefix, all })
    }

    fn id(&self, slot: Slot) -> String {
        format!("{}-{slot}", self.prefix)
    }

    /// The entries of a slot: several where a call broke off.
    pub(super) fn of(&self, slot: Slot) -> impl Iterator<Item = &Entry> {
        self.files_of(slot).filter(|entry| entry.starts)
    }

    /// The same, with those that start nothing.
    pub(super) fn files_of(&self, slot: Slot) -> impl Iterator<Item = &Entry> {
        let id = self.id(slot);
        self.all.iter().filter(move |entry| entry.id == id)
    }

    /// Entries that are not ours.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &Entry> {
        let ours = [self.id(Slot::A), self.id(Slot::B)];
        self.all
            .iter()
            .filter(move |entry| !ours.contains(&entry.id))
    }

    /// The slot that a name means, with or without counter and `.conf`.
    pub(super) fn slot_named(&self, name: &str) -> Option<Slot> {
        let (id, _) = split_name(name.strip_suffix(".conf").unwrap_or(name));
        [Slot::A, Slot::B]
            .into_iter()
            .find(|slot| self.id(*slot) == id)
    }

    /// What the loader thinks of a slot. Proven as soon as one of its files says so.
    pub(super) fn health(&self, slot: Slot, booted: Slot) -> SlotHealth {
        let lefts: Vec<Option<u32>> = self.of(slot).map(|entry| entry.left).collect();
        if lefts.contains(&None) {
            return SlotHealth::Good;
        }
        match lefts.into_iter().flatten().max() {
            None => SlotHealth::Unbootable,
            // It is not given up while it runs on its last try.
            Some(0) if slot != booted => SlotHealth::Unbootable,
            Some(left) => SlotHealth::Untried {
                tries: left.try_into().unwrap_or(u8::MAX),
            },
        }
    }

    /// The slot whose entry comes first: used-up ones last, then the higher version, then the later name.
    pub(super) fn first(&self) -> Result<Option<Slot>, PlatformError> {
        let mut best: Option<((bool, u64, String), Slot)> = None;
        for slot in [Slot::A, Slot::B] {
            for entry in self.of(slot) {
                let rank = (
                    entry.left != Some(0),
                    self.version(entry)?,
                    entry.file.clone(),
                );
                if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                    best = Some((rank, slot));
                }
            }
        }
        Ok(best.map(|(_, slot)| slot))
    }

    /// The highest version among a slot's entries; none if it has no entry.
    pub(super) fn version_of(&self, slot: Slot) -> Result<Option<u64>, PlatformError> {
        let versions: Result<Vec<u64>, _> =
            self.of(slot).map(|entry| self.version(entry)).collect();
        Ok(versions?.into_iter().max())
    }

    /// Ours are put into an order by a number.
    fn version(&self, entry: &Entry) -> Result<u64, PlatformError> {
        let number = entry
            .version
            .as_deref()
            .and_then(|version| version.parse().ok());
        match number.filter(|_| entry.sort_key.as_deref() == Some(&self.prefix)) {
            Some(number) => Ok(number),
            None => Err(unavailable(format!(
                "the place of {} in the loader's order is not known: it needs `sort-key {}` and a `version` that is a number",
                entry.file, self.prefix
            ))),
        }
    }

    /// A foreign entry that the loader would take before ours: entries without a sort key come last.
    pub(super) fn before_ours(&self) -> Option<&Entry> {
        self.foreign().find(|entry| {
            entry
                .sort_key
                .as_ref()
                .is_some_and(|key| *key <= self.prefix)
        })
    }
}

impl Entry {
    fn parse(file: &str, text: &str) -> Self {
        let (id, left) = split_name(file.strip_suffix(".conf").unwrap_or(file));
        let value = |key: &str| {
            let lines = text
                .lines()
                .filter_map(|line| line.trim().split_once(char::is_whitespace));
            lines
                .rev()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim().to_owned())
        };
        Self {
            file: file.to_owned(),
            id: id.to_owned(),
            left,
            sort_key: value("sort-key"),
            version: value("version"),
            starts: value("linux").or_else(|| value("efi")).is_some(),
        }
    }

    /// Where it is.
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.file)
    }
}

/// `name+3-1` is `name` with three tries left.
fn split_name(stem: &str) -> (&str, Option<u32>) {
    let counted = stem.rsplit_once('+').and_then(|(id, counter)| {
        let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().ok(),
            false => None,
        };
        number(done)?;
        Some((id, number(left)?))
    });
    match counted {
        Some((id, left)) => (id, Some(left)),
        None => (stem, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_out_of_names() {
        assert_eq!(split_name("slot-b"), ("slot-b", None));
        assert_eq!(split_name("slot-b+3"), ("slot-b", Some(3)));
        assert_eq!(split_name("slot-b+0-3"), ("slot-b", Some(0)));
        assert_eq!(split_name("c+++x"), ("c+++x", None));
        assert_eq!(split_name("slot+-1"), ("slot+-1", None));
    }
}
