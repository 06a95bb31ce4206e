//! Which disks are next. Pure: what is known goes in, and a decision with its reasons comes out.
//!
//! Never two of a group, anywhere in the cluster; never one of a group that is not whole, but for the one disk that it
//! lacks because a worker left it out; a spare before any disk that is in use; none any more of a model that failed
//! too often. What is not known counts as a reason to wait.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision, NodeName, PoolHealth};
use evenkeel_platform::devices::{Drive, DriveState, Group, GroupId};

/// What decides.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The node that asks: it flashes its own disks only.
    pub node: &'a NodeName,
    /// Disks that it sees, each with the revision that it runs; none where that could not be read.
    pub drives: &'a [(Drive, Option<FirmwareRevision>)],
    /// The groups that it sees.
    pub groups: &'a [Group],
    /// The newest firmware for each model.
    pub offers: &'a BTreeMap<DeviceModel, FirmwareRevision>,
    /// Disks that are being flashed anywhere in the cluster, and the groups they are in: none for a spare.
    pub running: &'a BTreeMap<DiskSerial, Option<GroupId>>,
    /// How it went so far.
    pub tally: &'a BTreeMap<DeviceModel, Tally>,
    /// Disks that were tried and failed in this job: not tried again.
    pub failed: &'a BTreeSet<DiskSerial>,
    /// Bounds.
    pub limits: &'a SelectionLimits,
}

/// How it went with disks of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// One of them runs the new firmware, reads well, and is back.
    pub canary_passed: bool,
    /// So many failed.
    pub failures: u32,
}

/// Bounds of a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectionLimits {
    /// After so many failures no disk of the model is touched any more.
    pub failures: u32,
    /// Most disks that one node flashes at a time.
    pub at_once: usize,
    /// Disks that hold data are brought up to date in the background. If not, only spares are.
    pub background: bool,
}

impl Default for SelectionLimits {
    fn default() -> Self {
        Self {
            failures: 2,
            at_once: 1,
            background: true,
        }
    }
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// Flash these, all at the same time.
    pub flash: Vec<DiskSerial>,
    /// These need it, and must wait.
    pub wait: BTreeMap<DiskSerial, Reason>,
    /// These are left as they are, for good.
    pub skip: BTreeMap<DiskSerial, Reason>,
}

impl Decision {
    /// Whether there is nothing left to do, now or later.
    pub fn is_done(&self) -> bool {
        self.flash.is_empty() && self.wait.is_empty()
    }
}

/// Why a disk is not flashed now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It runs the firmware, or newer.
    #[error("it runs {0}")]
    UpToDate(FirmwareRevision),
    /// There is no firmware for its model.
    #[error("there is no firmware for {0}")]
    NoFirmware(DeviceModel),
    /// Another node flashes it.
    #[error("{0} serves it")]
    OfOther(NodeName),
    /// Nobody serves it.
    #[error("nobody serves it")]
    Unserved,
    /// It is broken.
    #[error("it has failed")]
    Failed,
    /// It was tried.
    #[error("it was tried, and failed")]
    Tried,
    /// Too many of its model failed.
    #[error("{0} disks of its model failed")]
    ModelStopped(u32),
    /// Its revision could not be read.
    #[error("what it runs is not known")]
    Unknown,
    /// It is being flashed.
    #[error("it is being flashed")]
    Running,
    /// Another of its group is being flashed.
    #[error("disk {0} of its group is being flashed")]
    GroupBusy(DiskSerial),
    /// Its group cannot spare a disk.
    #[error("its group is not whole: {0:?}")]
    GroupNotWhole(PoolHealth),
    /// Its group is not seen.
    #[error("its group is not seen")]
    GroupUnseen,
    /// The first of its model comes first, alone.
    #[error("disk {0} of its model is tried first")]
    Canary(DiskSerial),
    /// Data disks are not updated in the background.
    #[error("background updates are off")]
    BackgroundOff,
    /// The node does enough at a time.
    #[error("enough are being flashed")]
    Enough,
}

/// Decides which disks of a node are flashed now.
pub fn select(selection: &Selection<'_>) -> Decision {
    let mut chosen = Chosen {
        selection,
        running: selection.running.clone(),
        decision: Decision::default(),
    };
    for (drive, runs) in order(selection.drives) {
        match chosen.judge(drive, runs.as_ref()) {
            Ok(()) => chosen.flash(drive),
            Err(Verdict::Wait(reason)) => chosen.wait(drive, reason),
            Err(Verdict::Skip(reason)) => {
                chosen.decision.skip.insert(drive.serial.clone(), reason);
            }
        }
    }
    chosen.decision
}

/// What was left out of its group comes back first; then spares; then by serial.
fn order(drives: &[(Drive, Option<FirmwareRevision>)]) -> Vec<&(Drive, Option<FirmwareRevision>)> {
    let mut ordered: Vec<_> = drives.iter().collect();
    ordered.sort_by_key(|(drive, _)| {
        let is_in = drive.state != DriveState::Offline;
        (is_in, drive.place.group().is_some(), drive.serial.clone())
    });
    ordered
}

/// Why not.
enum Verdict {
    Wait(Reason),
    Skip(Reason),
}

struct Chosen<'a> {
    selection: &'a Selection<'a>,
    /// What is being flashed, with what was chosen so far.
    running: BTreeMap<DiskSerial, Option<GroupId>>,
    decision: Decision,
}

impl Chosen<'_> {
    fn flash(&mut self, drive: &Drive) {
        let group = drive.place.group().cloned();
        self.running.insert(drive.serial.clone(), group);
        self.decision.flash.push(drive.serial.clone());
    }

    fn wait(&mut self, drive: &Drive, reason: Reason) {
        self.decision.wait.insert(drive.serial.clone(), reason);
    }

    fn judge(&self, drive: &Drive, runs: Option<&FirmwareRevision>) -> Result<(), Verdict> {
        self.needs(drive, runs)?;
        self.is_free(drive)?;
        self.is_first_if_it_must_be(drive)?;
        self.group_can_spare(drive)?;
        let own = |serial: &&DiskSerial| {
            let mut drives = self.selection.drives.iter();
            drives.any(|(drive, _)| drive.serial == **serial && self.is_own(drive))
        };
        match self.running.keys().filter(own).count() < self.selection.limits.at_once {
            true => Ok(()),
            false => Err(Verdict::Wait(Reason::Enough)),
        }
    }

    fn is_own(&self, drive: &Drive) -> bool {
        drive.owner.as_ref() == Some(self.selection.node)
    }

    /// Whether the disk is to be flashed at all, by this node.
    fn needs(&self, drive: &Drive, runs: Option<&FirmwareRevision>) -> Result<(), Verdict> {
        let Some(offer) = self.selection.offers.get(&drive.model) else {
            return Err(Verdict::Skip(Reason::NoFirmware(drive.model.clone())));
        };
        match &drive.owner {
            Some(owner) if owner != self.selection.node => {
                return Err(Verdict::Skip(Reason::OfOther(owner.clone())));
            }
            Some(_) => {}
            None => return Err(Verdict::Wait(Reason::Unserved)),
        }
        if self.running.contains_key(&drive.serial) {
            return Err(Verdict::Wait(Reason::Running));
        }
        if drive.state == DriveState::Failed {
            return Err(Verdict::Skip(Reason::Failed));
        }
        if self.selection.failed.contains(&drive.serial) {
            return Err(Verdict::Skip(Reason::Tried));
        }
        let Some(runs) = runs else {
            return Err(Verdict::Wait(Reason::Unknown));
        };
        match runs.order(offer).is_ge() && drive.state == DriveState::Online {
            true => Err(Verdict::Skip(Reason::UpToDate(runs.clone()))),
            false => Ok(()),
        }
    }

    fn is_free(&self, drive: &Drive) -> Result<(), Verdict> {
        let limits = self.selection.limits;
        // Begun, and left in the middle: its group is not whole before it is finished.
        if drive.place.group().is_some() && drive.state == DriveState::Offline {
            return Ok(());
        }
        let failures = self.tally(&drive.model).failures;
        if failures >= limits.failures {
            return Err(Verdict::Skip(Reason::ModelStopped(failures)));
        }
        match drive.place.group().is_some() && !limits.background {
            true => Err(Verdict::Skip(Reason::BackgroundOff)),
            false => Ok(()),
        }
    }

    fn tally(&self, model: &DeviceModel) -> Tally {
        let tally = self.selection.tally.get(model);
        tally.copied().unwrap_or_default()
    }

    /// Until one of a model has passed, one is tried alone: in the whole cluster, as far as it is seen.
    fn is_first_if_it_must_be(&self, drive: &Drive) -> Result<(), Verdict> {
        if self.tally(&drive.model).canary_passed {
            return Ok(());
        }
        let same = |serial: &&DiskSerial| {
            let mut drives = self.selection.drives.iter();
            drives.any(|(other, _)| other.serial == **serial && other.model == drive.model)
        };
        match self.running.keys().find(same) {
            Some(first) => Err(Verdict::Wait(Reason::Canary(first.clone()))),
            None => Ok(()),
        }
    }

    fn group_can_spare(&self, drive: &Drive) -> Result<(), Verdict> {
        let Some(id) = drive.place.group() else {
            return Ok(());
        };
        let busy = self
            .running
            .iter()
            .find(|(_, group)| group.as_ref() == Some(id));
        if let Some((other, _)) = busy {
            return Err(Verdict::Wait(Reason::GroupBusy(other.clone())));
        }
        let Some(group) = self.selection.groups.iter().find(|group| group.id == *id) else {
            return Err(Verdict::Wait(Reason::GroupUnseen));
        };
        let is_whole = group.health == PoolHealth::Online && group.out.is_empty();
        // Left out by a node that was lost, or has given the group back: it is what the group lacks.
        let is_left_out = drive.state == DriveState::Offline && group.out == [drive.serial.clone()];
        match is_whole || is_left_out {
            true => Ok(()),
            false => Err(Verdict::Wait(Reason::GroupNotWhole(group.health))),
        }
    }
}
