//! Checks on pools, disks and shelves.

use evenkeel_model::{PoolHealth, PoolState, Severity, UnqualifiedDisk};

use super::collect::Collector;
use crate::sight::{sighted, untold};
use crate::stand_in::{OneSided, hidden_disks};

const POOLS: &str = "Aggregate online status and parity check";
const DISKS: &str = "Disk status check for failed, broken or non-compatibility";
const QUALIFICATION: &str = "Disk Qualification Package status";
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
    let Some(pool) = sighted(pool, |node| findings.seen(node)) else {
        let what = untold(pool);
        let issue = format!("{}{}.", what[..1].to_uppercase(), &what[1..]);
        let action = "See to the storage of the node that serves the pool.";
        findings.error(check, name, issue, action);
        return;
    };
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

pub(super) fn disks(findings: &mut Collector<'_>) {
    findings.each(
        DISKS,
        |seen| &seen.disks,
        |findings, _, disks| {
            for disk in disks.iter().filter(|disk| disk.failed) {
                let issue = format!("Disk {} has failed.", disk.serial);
                findings.error(DISKS, &disk.serial, issue, "Replace the disk.");
            }
        },
    );
    hidden(findings, DISKS);
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

/// Disks that the qualification package in place does not vouch for, as they are.
pub(super) fn qualification(findings: &mut Collector<'_>) {
    findings.each_or(
        QUALIFICATION,
        Severity::Warning,
        |seen| &seen.firmware,
        |findings, _, firmware| {
            for disk in &firmware.unqualified {
                let UnqualifiedDisk {
                    disk,
                    model,
                    runs,
                    minimum,
                } = disk;
                let (issue, action) = match minimum {
                    Some(minimum) => (
                        format!(
                            "Disk {disk} ({model}) runs {runs}; {minimum} or newer is qualified."
                        ),
                        "Bring the disks' firmware up to date.",
                    ),
                    None => (
                        format!("Disk {disk} is of a model that is not qualified: {model}."),
                        "Bring the newest disk qualification package in, or replace the disk.",
                    ),
                };
                findings.warning(QUALIFICATION, disk, issue, action);
            }
        },
    );
}

/// Disks that one partner sees and the other does not.
pub(super) fn hidden(findings: &mut Collector<'_>, check: &str) {
    for (node, partner) in findings.topology().pairs() {
        let disks = |name| Some(findings.seen(name)?.disks.known()?.as_slice());
        let (Some(here), Some(there)) = (disks(node), disks(partner)) else {
            continue;
        };
        for OneSided { by, not_by, what } in hidden_disks((node, here), (partner, there)) {
            let issue =
                format!("Disk {what} is visible to node \"{by}\" but not to node \"{not_by}\".");
            let action = "Repair the cabling: both partners must see every disk.";
            findings.error(check, what, issue, action);
        }
    }
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
