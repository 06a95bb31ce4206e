//! Disks that nobody uses, and disks that have failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::DiskSerial;
use serde::Deserialize;

use super::disks::Disk;
use super::md::Array;
use super::zfs::Zpool;
use crate::block;
use crate::look::{Answer, blocking, entries, exists, json, unavailable};
use crate::{Call, Host};

const LSBLK: Duration = Duration::from_secs(5);

/// States in which ZFS does not use a device though it should.
const FAILED: [&str; 3] = ["FAULTED", "UNAVAIL", "REMOVED"];

/// The disks that an array or a ZFS pool has given up.
pub(crate) async fn failed(
    host: &Host,
    disks: &[Disk],
    zpools: &BTreeMap<String, Zpool>,
) -> Answer<BTreeSet<DiskSerial>> {
    let leaves = zpools.values().flat_map(Zpool::leaves);
    let given_up = leaves.filter(|leaf| FAILED.contains(&leaf.state.as_str()));
    let given_up: Vec<String> = given_up.map(|leaf| leaf.path.clone()).collect();
    let disks = disks.to_vec();
    blocking(host, "failed disks", move |host| {
        let mut names = BTreeSet::new();
        for path in &given_up {
            // A device that is gone has no disk here any more.
            names.extend(block::resolve(host, path)?);
        }
        for array in super::md::arrays(host)? {
            names.extend(faulty(&array));
        }
        let failed = super::disks::of_blocks(host, &disks, names)?;
        Ok(failed.into_iter().map(|disk| disk.serial.clone()).collect())
    })
    .await
}

fn faulty(array: &Array) -> impl Iterator<Item = String> + '_ {
    let faulty = array.members.iter().filter(|member| member.faulty);
    faulty.map(|member| member.device.clone())
}

#[derive(Deserialize)]
struct Listed {
    blockdevices: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    kname: String,
    /// What is on it: a filesystem, or a mark of LVM, RAID, ZFS or multipath.
    fstype: Option<String>,
    #[serde(default)]
    children: Vec<Node>,
}

impl Node {
    fn is_used(&self) -> bool {
        self.fstype.is_some() || self.children.iter().any(Node::is_used)
    }
}

/// Disks that carry no mark of anybody: no array, no volume group, no ZFS pool, no filesystem, on them or on a partition. The mark is on
/// the disk, so both partners see it, whoever serves.
///
/// # Errors
/// Also where udev does not run: it is udev that reads the marks, and without it `lsblk` sees none anywhere.
pub(crate) async fn unowned(host: &Host, disks: &[Disk]) -> Answer<Vec<DiskSerial>> {
    if disks.is_empty() {
        return Ok(Vec::new());
    }
    let own = disks.to_vec();
    let held = blocking(host, "who uses the disks", move |host| held(host, &own)).await?;
    let call = Call::new("lsblk", ["--json", "--output", "NAME,KNAME,FSTYPE"], LSBLK);
    let listed: Listed = json(host, &call, "util-linux").await?;
    let used: BTreeMap<String, bool> = listed
        .blockdevices
        .iter()
        .map(|node| (node.kname.clone(), node.is_used()))
        .collect();
    let free = |disk: &&Disk| {
        let mut blocks = disk.blocks.iter();
        // One that lsblk does not list has just come or gone: the next look tells.
        blocks.all(|block| used.get(block) == Some(&false) && !held.contains(block))
    };
    let free = disks.iter().filter(free);
    Ok(free.map(|disk| disk.serial.clone()).collect())
}

/// Disks that something is put together of now.
fn held(host: &Host, disks: &[Disk]) -> Answer<BTreeSet<String>> {
    if !exists(host, "/run/udev/control")? {
        return Err(unavailable(
            "udev does not run, which reads from disks whom they belong to",
        ));
    }
    let mut held = BTreeSet::new();
    for block in disks.iter().flat_map(|disk| &disk.blocks) {
        if !entries(host, block::folder(block).join("holders"))?.is_empty() {
            held.insert(block.clone());
        }
    }
    Ok(held)
}
