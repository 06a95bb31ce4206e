//! Redundancy: which drives stand in for each other, and what harm was done to them.

use std::collections::BTreeSet;

use evenkeel_model::{DiskSerial, NodeName, PoolHealth, PoolName};
use serde::{Deserialize, Serialize};

use super::bay::{MODULES, Members, number_of, shelf_of};
use crate::devices::{DrivePlace, Group, GroupId};
use crate::sim::check::Cause;
use crate::sim::fault::Fault;
use crate::sim::hardware::{Hardware, short};

/// How long a drive that came back catches up.
const RESYNC_S: u64 = 15;

/// Redundancy that was lost though it need not have been: a group that was not whole lost another drive,
/// or several at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harm {
    /// When.
    pub at_ms: u64,
    /// The group.
    pub group: GroupId,
    /// The drives that it lost.
    pub drives: Vec<DiskSerial>,
    /// What made it harm.
    pub what: String,
    /// On whose account.
    pub cause: Cause,
}

impl Hardware {
    /// Harm that was done to groups, oldest first.
    pub fn harms(&self) -> impl Iterator<Item = &Harm> {
        self.history.harms()
    }

    /// A node's drives, by number.
    fn drives_of(&self, home: &NodeName) -> Vec<&DiskSerial> {
        let of = self.disks.iter().filter(|disk| disk.home == *home);
        let mut drives: Vec<_> = of.map(|disk| &disk.serial).collect();
        drives.sort_by_key(|serial| number_of(serial));
        drives
    }

    /// A node's group. Its last drive stands by; of many, the last two.
    fn members_of(&self, home: &NodeName) -> Vec<DiskSerial> {
        let drives = self.drives_of(home);
        let spares = if drives.len() < 8 { 1 } else { 2 };
        let members = drives.len().saturating_sub(spares);
        drives.into_iter().take(members).cloned().collect()
    }

    pub(super) fn group_of(home: &NodeName) -> GroupId {
        let pool = PoolName::new(format!("{}_data1", short(home)));
        GroupId {
            pool: pool.expect("a shortened node name and a suffix fit"),
            number: 0,
        }
    }

    pub(super) fn place_of(&self, home: &NodeName, serial: &DiskSerial) -> DrivePlace {
        match self.members_of(home).contains(serial) {
            true => DrivePlace::Member(Self::group_of(home)),
            false => DrivePlace::Spare,
        }
    }

    /// The node that serves a node's group and may touch its drives.
    pub(super) fn serves_group(&self, home: &NodeName) -> Option<NodeName> {
        let name = Self::group_of(home).pool;
        let pool = self.pools.iter().find(|pool| pool.name == name);
        pool.and_then(|pool| pool.owner.clone())
    }

    /// A group as it is looked at.
    pub(super) fn group_state(&self, home: &NodeName) -> Group {
        let failed = self.has_failed(home);
        let mut out: Vec<_> = self.missing(home).into_iter().collect();
        out.extend(failed.clone());
        let owner = self.serves_group(home);
        let health = match self.flash_health(home) {
            _ if owner.is_none() => PoolHealth::Offline,
            _ if failed.is_some() || self.at(home).has(Fault::DegradePool) => PoolHealth::Degraded,
            PoolHealth::Online if self.at(home).has(Fault::ResyncPool) => PoolHealth::Resyncing,
            health => health,
        };
        Group {
            id: Self::group_of(home),
            owner,
            health,
            out,
        }
    }

    /// What drives that come and go make of a node's group.
    pub(in crate::sim) fn flash_health(&self, home: &NodeName) -> PoolHealth {
        match self.bay.groups.get(home) {
            Some(group) if !group.out.is_empty() => PoolHealth::Degraded,
            Some(group) if group.resyncs_until > self.now => PoolHealth::Resyncing,
            Some(_) | None => PoolHealth::Online,
        }
    }

    fn has_failed(&self, home: &NodeName) -> Option<DiskSerial> {
        let fails = self.at(home).has(Fault::FailDisk);
        let mut members = self.members_of(home).into_iter();
        members.find(|serial| fails && number_of(serial) == 1)
    }

    /// Members that do not take part for a while.
    fn missing(&self, home: &NodeName) -> BTreeSet<DiskSerial> {
        if self.bay.drives.is_empty() && self.bay.shelves.is_empty() {
            return BTreeSet::new();
        }
        let shelf = shelf_of(home);
        let works = |module: &str| !self.is_starting(&shelf, module);
        let reachable = MODULES.into_iter().any(works);
        let out = |serial: &DiskSerial| {
            let drive = self.drive(serial);
            !reachable || drive.offline || drive.memory.is_starting()
        };
        self.members_of(home).into_iter().filter(out).collect()
    }

    /// Notices who left a group and who came back, and whether that did harm.
    pub(in crate::sim) fn watch_groups(&mut self) {
        let homes: Vec<NodeName> = self.nodes.keys().cloned().collect();
        for home in homes {
            let before = self.bay.groups.get(&home).cloned().unwrap_or_default();
            let out = self.missing(&home);
            if out == before.out {
                continue;
            }
            let lost: Vec<DiskSerial> = out.difference(&before.out).cloned().collect();
            if let Some(what) = self.harm_in(&home, &before, &lost) {
                self.note_harm(&home, lost, what);
            }
            let came_back = before.out.difference(&out).next().is_some();
            let resyncs_until = match came_back {
                true => self.now + (RESYNC_S * self.settings.minute_ms / 60).max(1),
                false => before.resyncs_until,
            };
            let members = Members { out, resyncs_until };
            self.bay.groups.insert(home, members);
            self.changed();
        }
    }

    fn harm_in(&self, home: &NodeName, before: &Members, lost: &[DiskSerial]) -> Option<String> {
        let first = lost.first()?;
        let node = self.at(home);
        let weak = if lost.len() > 1 {
            "it lost several drives at once"
        } else if !before.out.is_empty() {
            "another drive of it was out"
        } else if before.resyncs_until > self.now || node.has(Fault::ResyncPool) {
            "a drive of it was catching up"
        } else if node.has(Fault::DegradePool) || self.has_failed(home).is_some() {
            "it was degraded"
        } else if !self.drive(first).offline {
            "the drive was in use"
        } else {
            return None;
        };
        Some(weak.to_owned())
    }

    fn note_harm(&mut self, home: &NodeName, drives: Vec<DiskSerial>, what: String) {
        let group = Self::group_of(home);
        self.note(home, format!("{group} lost {drives:?}: {what}"));
        let harm = Harm {
            at_ms: self.now,
            group,
            drives,
            what,
            cause: self.cause.clone(),
        };
        self.history.add_harm(harm);
    }
}
