//! Checks on pools, disks and shelves.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{DiskSerial, NodeName, PoolHealth, PoolState};

use super::CheckInput;
use super::collect::Collector;

const POOLS: &str = "Aggregate online status and parity check";
const DISKS: &str = "Disk status check for failed, broken or non-compatibility";
const SHELVES: &str = "Shelves and Sensors check";

pub(super) fn pools(findings: &mut Collector<'_>) {
    findings.each(
        POOLS,
        |seen| &seen.pools,
        |findings, _, pools| {
            for pool in pools {
                pool_is_fit(findings, POOLS, pool);
                if pool.scrubbing {
                    let issue = format!("A scrub runs on pool \"{}\".", pool.name);
                    let action = "Wait until the scrub has ended.";
                    findings.warning(POOLS, &pool.name, issue, action);
                }
            }
        },
    );
}

pub(super) fn pool_is_fit(findings: &mut Collector<'_>, check: &str, pool: &PoolState) {
    let name = &pool.name;
    let (what, action) = match pool.health {
        PoolHealth::Online => return,
        PoolHealth::Resyncing => ("is resyncing", "Wait until the resync has ended."),
        PoolHealth::Degraded => (
            "is degraded",
            "Replace the failed disk and wait for the rebuild.",
        ),
        PoolHealth::Offline => ("is offline", "Ensure all aggregates are online."),
    };
    let issue = format!("Pool \"{name}\" {what}.");
    findings.error(check, name, issue, action);
}

pub(super) fn disks(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let mut seen_by: BTreeMap<&NodeName, BTreeSet<&DiskSerial>> = BTreeMap::new();
    findings.each(
        DISKS,
        |seen| &seen.disks,
        |findings, node, disks| {
            for disk in disks.iter().filter(|disk| disk.failed) {
                let issue = format!("Disk {} has failed.", disk.serial);
                findings.error(DISKS, &disk.serial, issue, "Replace the disk.");
            }
            seen_by.insert(node, disks.iter().map(|disk| &disk.serial).collect());
        },
    );
    for (node, partner) in input.topology.pairs() {
        if let (Some(here), Some(there)) = (seen_by.get(node), seen_by.get(partner)) {
            for (by, not_by, seen, other) in
                [(node, partner, here, there), (partner, node, there, here)]
            {
                for serial in seen.difference(other) {
                    let issue = format!(
                        "Disk {serial} is visible to node \"{by}\" but not to node \"{not_by}\"."
                    );
                    let action = "Repair the cabling: both partners must see every disk.";
                    findings.error(DISKS, serial, issue, action);
                }
            }
        }
    }
    findings.each(
        DISKS,
        |seen| &seen.unowned_disks,
        |findings, _, disks| {
            for serial in disks {
                let issue = format!("Disk {serial} belongs to no node.");
                let action = "Assign the disk to a node, or take it out.";
                findings.error(DISKS, serial, issue, action);
            }
        },
    );
}

pub(super) fn shelves(findings: &mut Collector<'_>) {
    paths(findings, SHELVES);
    findings.each(
        SHELVES,
        |seen| &seen.shelves,
        |findings, node, shelves| {
            for shelf in shelves {
                let name = &shelf.name;
                for module in shelf.modules.iter().filter(|module| !module.ok) {
                    let module = &module.name;
                    let issue = format!(
                        "I/O module {module} of shelf {name} does not work, says node \"{node}\"."
                    );
                    let about = format!("{name} module {module}");
                    findings.error(SHELVES, about, issue, "Replace or recable the module.");
                }
                if shelf.modules.len() < 2 {
                    let issue = format!(
                        "Shelf {name} has {} I/O module(s), not two, says node \"{node}\".",
                        shelf.modules.len()
                    );
                    let about = format!("{name} modules");
                    findings.error(SHELVES, about, issue, "Put the missing module in.");
                }
                for sensor in &shelf.sensors {
                    let issue = format!("A sensor of shelf {name} is out of its limits: {sensor}.");
                    let about = format!("{name} {sensor}");
                    findings.warning(SHELVES, about, issue, "Repair what the sensor watches.");
                }
            }
        },
    );
}

pub(super) fn paths(findings: &mut Collector<'_>, check: &str) {
    findings.each(
        check,
        |seen| &seen.disks,
        |findings, node, disks| {
            for disk in disks.iter().filter(|disk| disk.paths < 2) {
                let (paths, serial) = (disk.paths, &disk.serial);
                let issue =
                    format!("Node \"{node}\" has {paths} path(s) to disk {serial}, not two.");
                let about = format!("{node} {serial}");
                findings.error(check, about, issue, "Repair the path.");
            }
        },
    );
}
