//! Checks on what a node does and how it is: load, jobs, service processor, clock, alerts, boot settings.

use std::collections::BTreeMap;

use evenkeel_model::{FenceDevice, Load, NodeName, NodeObservation, Severity};

use super::CheckInput;
use super::collect::Collector;
use crate::pair::firmware_work;

const LOAD: &str = "CPU Utilization Status";
const JOBS: &str = "Running Jobs Status";
pub(crate) const SP: &str = "Node to SP/BMC connectivity";
/// What follows the node's name where a finding is about its silent service processor.
const SILENT: &str = " silent";
const PARTNER_SP: &str = "Check For SP/BMC Connectivity To Nodes";
const TIME: &str = "Time synchronization status";
const ALERTS: &str = "Platform Health Monitor check";
const AUTOBOOT: &str = "Autoboot Bootargs Status";
const BOOT_MENU: &str = "Boot Menu Status";

/// Above this a node leaves its partner little room for both loads.
const LOAD_WARN_PERCENT: u16 = 50;
/// Above this, on one node already, a takeover is not carried.
const LOAD_ERROR_PERCENT: u16 = 85;
/// What both partners do together must fit into one: above the first it hardly does, above the second not.
const PAIR_WARN_PERCENT: u16 = 85;
const PAIR_ERROR_PERCENT: u16 = 100;
/// Clocks further apart than this make logs and certificates unreliable.
const CLOCK_OFFSET_MAX_MS: i64 = 5_000;

pub(super) fn load(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let mut loads: BTreeMap<&NodeName, &Load> = BTreeMap::new();
    findings.each(
        LOAD,
        |seen| &seen.load,
        |findings, node, load| {
            loads.insert(node, load);
            let (cpu, disk) = (load.cpu_percent, load.disk_percent);
            let issue = format!("Node \"{node}\" is busy: CPU {cpu} %, disks {disk} %.");
            let busiest = u16::from(cpu.max(disk));
            // A node alone is carried by nobody, however busy it is.
            let (action, most) = match findings.topology().partner_of(node) {
                Some(_) => (
                    "Lower the load: the partner must carry both.",
                    LOAD_ERROR_PERCENT,
                ),
                None => (
                    "Choose a calmer time: the node does not serve while it reboots.",
                    u16::MAX,
                ),
            };
            let limits = (LOAD_WARN_PERCENT, most);
            report(findings, busiest, limits, node.to_string(), issue, action);
        },
    );
    for (node, partner) in input.topology.pairs() {
        let (Some(one), Some(other)) = (loads.get(node), loads.get(partner)) else {
            continue;
        };
        let sum = |part: fn(&Load) -> u8| u16::from(part(one)) + u16::from(part(other));
        let (cpu, disk) = (sum(|load| load.cpu_percent), sum(|load| load.disk_percent));
        let issue = format!(
            "Nodes \"{node}\" and \"{partner}\" together need {cpu} % of one node's CPU and {disk} % of its \
             disks' time."
        );
        let action = "Lower the load of the pair: while one partner boots the other carries both.";
        let limits = (PAIR_WARN_PERCENT, PAIR_ERROR_PERCENT);
        let about = format!("{node} and {partner}");
        report(findings, cpu.max(disk), limits, about, issue, action);
    }
}

fn report(
    findings: &mut Collector<'_>,
    percent: u16,
    (warn, error): (u16, u16),
    about: String,
    issue: String,
    action: &str,
) {
    if percent > error {
        findings.error(LOAD, about, issue, action);
    } else if percent > warn {
        findings.warning(LOAD, about, issue, action);
    }
}

pub(super) fn jobs(findings: &mut Collector<'_>) {
    findings.each(
        JOBS,
        |seen| &seen.exclusive_jobs,
        |findings, node, jobs| {
            for job in jobs {
                let issue = format!("On node \"{node}\" runs: {job}.");
                let about = format!("{node} {job}");
                findings.error(
                    JOBS,
                    about,
                    issue,
                    "Wait until the job has ended, or stop it.",
                );
            }
        },
    );
    for node in findings.topology().names() {
        // What it does not say, the check of what its disks run says.
        if let Some(work) = findings.seen(node).and_then(firmware_work) {
            let issue = format!("Node \"{node}\" writes firmware: {work}.");
            let about = format!("{node} firmware");
            findings.error(JOBS, about, issue, "Wait until it is written.");
        }
    }
}

pub(super) fn service_processor(findings: &mut Collector<'_>) {
    findings.each(
        SP,
        |seen| &seen.sp,
        |findings, node, sp| {
            if !sp.reachable && !sp.absent {
                let issue = format!("The service processor of node \"{node}\" does not answer.");
                let (severity, why) = weight(partner_of(findings, node));
                let (issue, about) = (issue + why, sp_silence(node));
                sp_trouble(
                    findings,
                    SP,
                    severity,
                    &about,
                    issue,
                    "Reboot the service processor.",
                );
            }
            if !sp.image_ok {
                let issue = format!("The service processor image of node \"{node}\" is corrupt.");
                let action = "Install the service processor's firmware again.";
                findings.warning(SP, format!("{node} image"), issue, action);
            }
        },
    );
    findings.each(
        PARTNER_SP,
        |seen| &seen.partner_sp,
        |findings, node, sp| {
            let Some(partner) = findings.topology().partner_of(node) else {
                return;
            };
            let what = match sp {
                Some(sp) if sp.reachable || sp.absent => return,
                Some(_) => "does not answer",
                None => "is not known to",
            };
            let issue = format!(
                "The service processor of node \"{partner}\" {what} node \"{node}\" over the network."
            );
            let (severity, why) = weight(findings.seen(node));
            let (issue, about) = (issue + why, format!("{partner} from {node}"));
            let action = "Repair the service processor's network, address or account.";
            sp_trouble(findings, PARTNER_SP, severity, &about, issue, action);
        },
    );
}

/// What the finding on a service processor that does not answer is about: whoever lets the warning pass accepts
/// it, and the update does not wait for that service processor.
pub(crate) fn sp_silence(node: &NodeName) -> String {
    format!("{node}{SILENT}")
}

/// Whether a finding is about a service processor that does not answer.
pub(super) fn is_sp_silence(about: &str) -> bool {
    about.ends_with(SILENT)
}

fn partner_of<'a>(findings: &Collector<'a>, node: &NodeName) -> Option<&'a NodeObservation> {
    findings.seen(findings.topology().partner_of(node)?)
}

/// A silent service processor is worse where the node that `seen` is of would fence through it.
fn weight(seen: Option<&NodeObservation>) -> (Severity, &'static str) {
    let fencing = seen.and_then(|seen| seen.fencing.known());
    match fencing
        .and_then(Option::as_ref)
        .map(|fencing| &fencing.device)
    {
        Some(FenceDevice::ServiceProcessor) => (Severity::Error, " The node is fenced through it."),
        Some(FenceDevice::Other { .. }) | None => (Severity::Warning, ""),
    }
}

fn sp_trouble(
    findings: &mut Collector<'_>,
    check: &str,
    severity: Severity,
    about: &str,
    issue: String,
    action: &str,
) {
    match severity {
        Severity::Error => findings.error(check, about, issue, action),
        Severity::Warning => findings.warning(check, about, issue, action),
    }
}

pub(super) fn time(findings: &mut Collector<'_>) {
    findings.each(
        TIME,
        |seen| &seen.time_sync,
        |findings, node, sync| {
            if !sync.synchronized {
                let issue = format!("Node \"{node}\" follows no time source.");
                findings.warning(TIME, node, issue, "Configure a time source.");
            } else if sync.offset_ms.abs() > CLOCK_OFFSET_MAX_MS {
                let offset = sync.offset_ms;
                let issue = format!("The clock of node \"{node}\" is off by {offset} ms.");
                findings.error(TIME, node, issue, "Correct the clock.");
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
                let about = format!("{node} {alert}");
                findings.warning(ALERTS, about, issue, "Resolve the alert.");
            }
        },
    );
}

pub(super) fn boot(findings: &mut Collector<'_>) {
    findings.each(
        AUTOBOOT,
        |seen| &seen.boot_settings,
        |findings, node, boot| {
            if !boot.autoboot {
                let issue = format!("Node \"{node}\" would stop at its boot loader's prompt.");
                findings.error(AUTOBOOT, node, issue, "Switch autoboot on.");
            }
        },
    );
    findings.each(
        BOOT_MENU,
        |seen| &seen.boot_settings,
        |findings, node, boot| {
            if boot.stops_in_menu {
                let issue =
                    format!("The next boot of node \"{node}\" would stop in its boot menu.");
                let action = "Clear the boot menu's bit, or have someone at the console.";
                findings.warning(BOOT_MENU, node, issue, action);
            }
        },
    );
}
