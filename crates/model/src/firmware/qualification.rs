//! The disk qualification package: which drives, modules and systems are known, and from which revision on. A
//! text file, described in `docs/firmware.md`.
//!
//! Its text is strict, so that it means one thing: what the checksum covers is what was read.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::{DeviceModel, Digest, FirmwareRevision, PlatformName};

use super::qualification_error::{QualificationError, QualificationProblem};

/// Biggest file that is read: some fifty times the real ones.
pub const MAX_QUALIFICATION_BYTES: usize = 4 << 20;
/// Most records. The real files have about a thousand.
pub const MAX_QUALIFICATION_RECORDS: usize = 20_000;

/// Opens the file.
const HEADER: &str = "evenkeel-qualification";
/// Stands where there is no minimum.
const NONE: &str = "-";

/// A disk qualification package, whole and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qualification {
    version: String,
    revision: FirmwareRevision,
    drives: BTreeMap<DeviceModel, Option<FirmwareRevision>>,
    aliases: BTreeMap<DeviceModel, DeviceModel>,
    modules: BTreeMap<DeviceModel, Option<FirmwareRevision>>,
    systems: BTreeSet<PlatformName>,
}

/// How many records of each kind, as the API shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    /// `drive` records.
    pub drive: usize,
    /// `alias` records.
    pub alias: usize,
    /// `device` records.
    pub device: usize,
    /// `system` records.
    pub system: usize,
}

/// A known drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drive<'a> {
    /// The model in its `drive` record, whatever alias it was asked for by.
    pub model: &'a DeviceModel,
    /// The oldest revision that is qualified; none where every revision is.
    pub minimum: Option<&'a FirmwareRevision>,
}

/// A known module of a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// The module.
    pub model: &'a DeviceModel,
    /// The oldest revision that is qualified; none where every revision is.
    pub minimum: Option<&'a FirmwareRevision>,
}

/// What a disk qualification package says about a drive that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveJudgement {
    /// Known, and its revision is qualified.
    Qualified,
    /// Known, but it runs a revision that is too old.
    BelowMinimum {
        /// The oldest that is qualified.
        minimum: FirmwareRevision,
    },
    /// No record of it. That is a warning, not a refusal.
    Unknown,
}

impl Qualification {
    /// Reads a file, whole: an error says in which line and what is wrong there.
    pub fn parse(bytes: &[u8]) -> Result<Self, QualificationError> {
        parse::Reader::new(bytes).read()
    }

    /// The file's version, as in `3.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file's revision: a day, as in `20260131`. [`FirmwareRevision::order`] says which is newer.
    pub fn revision(&self) -> &FirmwareRevision {
        &self.revision
    }

    /// How many records it has.
    pub fn counts(&self) -> RecordCounts {
        RecordCounts {
            drive: self.drives.len(),
            alias: self.aliases.len(),
            device: self.modules.len(),
            system: self.systems.len(),
        }
    }

    /// The drive of that model or alias.
    pub fn drive(&self, model: &DeviceModel) -> Option<Drive<'_>> {
        let named = self.aliases.get(model).unwrap_or(model);
        let (model, minimum) = self.drives.get_key_value(named)?;
        let minimum = minimum.as_ref();
        Some(Drive { model, minimum })
    }

    /// The module of that model.
    pub fn module(&self, model: &DeviceModel) -> Option<Module<'_>> {
        let (model, minimum) = self.modules.get_key_value(model)?;
        let minimum = minimum.as_ref();
        Some(Module { model, minimum })
    }

    /// Whether systems of that platform are known.
    pub fn knows_system(&self, platform: &PlatformName) -> bool {
        self.systems.contains(platform)
    }

    /// What it says about a drive that runs this revision.
    pub fn judge(&self, model: &DeviceModel, running: &FirmwareRevision) -> DriveJudgement {
        match self.drive(model) {
            None => DriveJudgement::Unknown,
            Some(Drive { minimum, .. }) => match minimum {
                Some(minimum) if running.order(minimum).is_lt() => DriveJudgement::BelowMinimum {
                    minimum: minimum.clone(),
                },
                Some(_) | None => DriveJudgement::Qualified,
            },
        }
    }
}

/// The file, records by kind and each kind by name, with its checksum.
impl fmt::Display for Qualification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{HEADER} 1\nversion {}\n", self.version);
        text += &format!("revision {}\n", self.revision);
        let minimum = |it: &Option<FirmwareRevision>| {
            it.as_ref()
                .map_or_else(|| NONE.to_owned(), FirmwareRevision::to_string)
        };
        for (model, it) in &self.drives {
            text += &format!("drive {model} {}\n", minimum(it));
        }
        for (alias, model) in &self.aliases {
            text += &format!("alias {alias} {model}\n");
        }
        for (model, it) in &self.modules {
            text += &format!("device {model} {}\n", minimum(it));
        }
        for platform in &self.systems {
            text += &format!("system {platform}\n");
        }
        let checksum = Digest(Sha256::digest(text.as_bytes()).into());
        writeln!(f, "{text}checksum sha256 {checksum}")
    }
}
