//! Checks on pools, disks, load, service processors and what else a takeover could hurt.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{DiskSerial, NodeName, PoolHealth, PoolState};

use super::CheckInput;
use super::collect::Collector;

const POOLS: &str = "Aggregate online status and parity check";
const DISKS: &str = "Disk status check for failed, broken or non-compatibility";
const PATHS: &str = "Shelves and Sensors check";
const LOAD: &str = "CPU Utilization Status";
const JOBS: &str = "Running Jobs Status";
pub(crate) const SP: &str = "Node to SP/BMC connectivity";
const TIME: &str = "Time synchronization status";
const ALERTS: &str = "Platform Health Monitor check";
const NFS: &str = "NFS mounts";

/// Above this the partner may not carry both loads well; above the second it cannot.
const LOAD_WARN_PERCENT: u8 = 50;
const LOAD_ERROR_PERCENT: u8 = 85;
/// Clocks further apart than this make logs and certificates unreliable.
const CLOCK_OFFSET_MAX_MS: i64 = 5_000;

pub(super) fn pools(findings: &mut Collector<'_>) {
    findings.each(
        POOLS,
        |seen| &seen.pools,
        |findings, _, pools| {
            for pool in pools {
                pool_is_fit(findings, POOLS, pool);
                if pool.scrubbing {
                    let issue = format!("A scrub runs on pool \"{}\".", pool.name);
                    findings.warning(POOLS, issue, "Wait until the scrub has ended.");
                }
            }
        },
    );
}

fn pool_is_fit(findings: &mut Collector<'_>, check: &str, pool: &PoolState) {
    let name = &pool.name;
    match pool.health {
        PoolHealth::Online => {}
        PoolHealth::Resyncing => {
            let issue = format!("Pool \"{name}\" is resyncing.");
            findings.error(check, issue, "Wait until the resync has ended.");
        }
        PoolHealth::Degraded => {
            let issue = format!("Pool \"{name}\" is degraded.");
            findings.error(
                check,
                issue,
                "Replace the failed disk and wait for the rebuild.",
            );
        }
        PoolHealth::Offline => {
            let issue = format!("Pool \"{name}\" is offline.");
            findings.error(check, issue, "Ensure all aggregates are online.");
        }
    }
}

pub(super) fn pools_after(findings: &mut Collector<'_>) {
    const AFTER: &str = "Aggregate Health Status";
    findings.each(
        AFTER,
        |seen| &seen.pools,
        |findings, _, pools| {
            for pool in pools {
                pool_is_fit(findings, AFTER, pool);
                if pool.owner.as_ref() != Some(&pool.home) {
                    let (name, home) = (&pool.name, &pool.home);
                    let issue = format!("Pool \"{name}\" is not with its home node \"{home}\".");
                    findings.error(AFTER, issue, "Give the pool back to its home node.");
                }
            }
        },
    );
}

pub(super) fn disks(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let mut seen_by: BTreeMap<&NodeName, BTreeSet<&DiskSerial>> = BTreeMap::new();
    findings.each(
        DISKS,
        |seen| &seen.disks,
        |findings, node, disks| {
            for disk in disks.iter().filter(|disk| disk.failed) {
                let issue = format!("Disk {} has failed.", disk.serial);
                findings.error(DISKS, issue, "Replace the disk.");
            }
            seen_by.insert(node, disks.iter().map(|disk| &disk.serial).collect());
        },
    );
    for (node, partner) in input.topology.pairs() {
        let (Some(here), Some(there)) = (seen_by.get(node), seen_by.get(partner)) else {
            continue;
        };
        for serial in here.symmetric_difference(there) {
            let (by, not_by) = if here.contains(serial) {
                (node, partner)
            } else {
                (partner, node)
            };
            let issue =
                format!("Disk {serial} is visible to node \"{by}\" but not to node \"{not_by}\".");
            findings.error(
                DISKS,
                issue,
                "Repair the cabling: both partners must see every disk.",
            );
        }
    }
}

pub(super) fn paths(findings: &mut Collector<'_>) {
    findings.each(
        PATHS,
        |seen| &seen.disks,
        |findings, node, disks| {
            for disk in disks.iter().filter(|disk| disk.paths < 2) {
                let (paths, serial) = (disk.paths, &disk.serial);
                let issue =
                    format!("Node \"{node}\" has {paths} path(s) to disk {serial}, not two.");
                findings.error(PATHS, issue, "Repair the path.");
            }
        },
    );
}

pub(super) fn load(findings: &mut Collector<'_>) {
    findings.each(
        LOAD,
        |seen| &seen.load,
        |findings, node, load| {
            let (cpu, disk) = (load.cpu_percent, load.disk_percent);
            let busiest = cpu.max(disk);
            let issue = format!("Node \"{node}\" is busy: CPU {cpu} %, disks {disk} %.");
            let action = "Lower the load: the partner must carry both.";
            if busiest > LOAD_ERROR_PERCENT {
                findings.error(LOAD, issue, action);
            } else if busiest > LOAD_WARN_PERCENT {
                findings.warning(LOAD, issue, action);
            }
        },
    );
}

pub(super) fn jobs(findings: &mut Collector<'_>) {
    findings.each(
        JOBS,
        |seen| &seen.exclusive_jobs,
        |findings, node, jobs| {
            for job in jobs {
                let issue = format!("On node \"{node}\" runs: {job}.");
                findings.error(JOBS, issue, "Wait until the job has ended, or stop it.");
            }
        },
    );
}

pub(super) fn service_processor(findings: &mut Collector<'_>) {
    findings.each(
        SP,
        |seen| &seen.sp,
        |findings, node, sp| {
            if !sp.reachable {
                let issue = format!("The service processor of node \"{node}\" does not answer.");
                findings.warning(SP, issue, "Reboot the service processor.");
            }
            if !sp.image_ok {
                let issue = format!("The service processor image of node \"{node}\" is corrupt.");
                findings.warning(SP, issue, "Install the service processor's firmware again.");
            }
        },
    );
}

pub(super) fn time(findings: &mut Collector<'_>) {
    findings.each(
        TIME,
        |seen| &seen.time_sync,
        |findings, node, sync| {
            if !sync.synchronized {
                let issue = format!("Node \"{node}\" follows no time source.");
                findings.warning(TIME, issue, "Configure a time source.");
            } else if sync.offset_ms.abs() > CLOCK_OFFSET_MAX_MS {
                let offset = sync.offset_ms;
                let issue = format!("The clock of node \"{node}\" is off by {offset} ms.");
                findings.error(TIME, issue, "Correct the clock.");
            }
        },
    );
}

pub(super) fn alerts(findings: &mut Collector<'_>) {
    findings.each(
        ALERTS,
        |seen| &seen.alerts,
        |findings, node, alerts| {
            for alert in alerts {
                let issue = format!("Node \"{node}\" has an open alert: {alert}.");
                findings.warning(ALERTS, issue, "Resolve the alert.");
            }
        },
    );
}

pub(super) fn clients(findings: &mut Collector<'_>) {
    findings.each(
        NFS,
        |seen| &seen.client_hazards,
        |findings, node, hazards| {
            for hazard in hazards {
                let issue = format!("A client of node \"{node}\" may be disturbed: {hazard}.");
                findings.warning(NFS, issue, "Use NFS hard mounts, if possible.");
            }
        },
    );
}
