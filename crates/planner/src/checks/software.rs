//! Checks on versions, the package, boot slots and space.

use std::collections::BTreeSet;

use evenkeel_model::{CatalogueEntry, Digest, SlotHealth, SlotState};

use super::CheckInput;
use super::collect::Collector;
use crate::carry;

const PREVIOUS: &str = "Data ONTAP Version and Previous Upgrade Status";
const SIGNED: &str = "Delete the package, and get one that is signed with a trusted key.";
const PATH: &str = "Upgrade Version Compatibility Status";
const IMAGE: &str = "Compatible New Image Check";
const SLOTS: &str = "ONTAP Image Capability Status";
const SPACE: &str = "Root file system space";
const MANUAL: &str = "Manual checks";
const GATE_SCRIPT: &str = "Gate script status";

/// Free space that databases and logs need while an update runs, in bytes.
const ROOT_FREE_MIN: u64 = 64 << 20;

/// Two versions may live side by side, while one update goes on: that to the target.
pub(super) fn previous_update(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let mut versions = BTreeSet::new();
    findings.each(
        PREVIOUS,
        |seen| &seen.version,
        |_, _, version| {
            versions.insert(version);
        },
    );
    let list: Vec<&str> = versions.iter().map(|v| v.as_str()).collect();
    let others = versions.iter().filter(|version| **version != input.target);
    if others.count() > 1 {
        let (count, list, target) = (list.len(), list.join(", "), input.target);
        let issue = format!(
            "The nodes run {count} versions: {list}. An update to {target} would leave another one beside them."
        );
        let action = "Finish the previous update first.";
        findings.error(PREVIOUS, list, issue, action);
    }
}

pub(super) fn version_path(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let Some(entry) = input.catalogue.by_version(input.target) else {
        return;
    };
    let allowed = &entry.package.summary.source_versions;
    findings.each(
        PATH,
        |seen| &seen.version,
        |findings, node, version| {
            if version != input.target && !allowed.allows(version) {
                let target = input.target;
                let issue = format!(
                    "Node \"{node}\" runs {version}, from which {target} cannot be reached."
                );
                findings.error(PATH, node, issue, "Update to a version in between first.");
            }
        },
    );
}

pub(super) fn image(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let Some(entry) = input.catalogue.by_version(input.target) else {
        let issue = format!("Package {} is not in the repository.", input.target);
        return findings.error(IMAGE, input.target, issue, "Get the package first.");
    };
    for node in &findings.topology().nodes {
        let made_for = &entry.package.summary.platform;
        if *made_for != node.platform {
            let (name, platform) = (&node.name, &node.platform);
            let issue = format!("The package is for {made_for}; node \"{name}\" is {platform}.");
            findings.error(
                IMAGE,
                name,
                issue,
                "Get the package made for this platform.",
            );
        }
    }
    findings.each(
        IMAGE,
        |seen| &seen.packages,
        |findings, node, held| {
            if !held.contains(&entry.package.digest) {
                let trouble = carry::trouble(input.observations, node, entry.package.digest);
                let (why, action) = match trouble {
                    Some(trouble) => (
                        trouble.message.trim_end_matches('.'),
                        carry::remedy(node, Some(trouble)),
                    ),
                    None => (
                        "it has not come there yet",
                        "Wait until the package has reached every node.".to_owned(),
                    ),
                };
                let target = input.target;
                let issue = format!("Package {target} is not on node \"{node}\": {why}.");
                findings.error(IMAGE, node, issue, &action);
            }
        },
    );
}

/// The package was proven when it came in; whose word that was may have been taken back since. Every node
/// checks it once more before it writes a slot.
pub(super) fn signature(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let Some(entry) = input.catalogue.by_version(input.target) else {
        return;
    };
    let Some(key_id) = &entry.package.signed_by else {
        return unsigned(input, findings);
    };
    let why = match input.trusted_keys.iter().find(|key| key.key_id == *key_id) {
        Some(key) => match &key.revoked {
            None => return,
            Some((at, by)) => format!("which {by} revoked at {at:.0}"),
        },
        None => "which is not trusted".to_owned(),
    };
    let issue = format!(
        "Package {} is signed with key {key_id}, {why}.",
        input.target
    );
    findings.error(IMAGE, input.target, issue, SIGNED);
}

/// Nodes that took it in once may take no unsigned ones any more.
fn unsigned(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let strict = input.topology.names().filter(|node| {
        let seen = input.observations.get(node).and_then(|seen| seen.known());
        // A node whose packages are not known has another finding.
        seen.is_some_and(|seen| seen.packages.known().is_some() && !seen.accepts_unsigned)
    });
    let strict: Vec<_> = strict.collect();
    if !strict.is_empty() {
        let (target, nodes) = (input.target, carry::list(&strict));
        let issue = format!("Package {target} is not signed, and is refused so by {nodes}.");
        findings.error(IMAGE, input.target, issue, SIGNED);
    }
}

pub(super) fn slots(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let entry = input.catalogue.by_version(input.target);
    let needed = entry.map(unpacked_bytes);
    let package = entry.map(|entry| entry.package.digest);
    findings.each(
        SLOTS,
        |seen| &seen.slots,
        |findings, node, slots| {
            if !slots.writable {
                let issue = format!("The boot slots of node \"{node}\" cannot be written.");
                let action = "Repair the boot medium. GRUB's environment must lie where GRUB itself can write, too: not on LVM, \
                              RAID, ZFS or btrfs.";
                findings.error(SLOTS, node, issue, action);
            }
            if slots.default != slots.booted {
                let (default, booted) = (slots.default, slots.booted);
                let issue = format!(
                    "Node \"{node}\" runs slot {booted}, but would boot slot {default} next."
                );
                findings.warning(
                    SLOTS,
                    node,
                    issue,
                    "Find out why; the update will set the default itself.",
                );
            }
            let running = slots.slot(slots.booted);
            // A node that runs the target already needs no fallback: the update proves its slot.
            if running.health != SlotHealth::Good && !holds(running, package) {
                let issue = format!("The running slot of node \"{node}\" is not marked good.");
                let runs = running.image.as_ref().map(|image| image.version.as_str());
                let action = format!(
                    "It is the fallback: update to {} first, which proves it.",
                    runs.unwrap_or("the version it runs")
                );
                findings.error(SLOTS, node, issue, &action);
            }
        },
    );
    findings.each(
        SLOTS,
        |seen| &seen.space,
        |findings, node, space| {
            if let Some(needed) = needed.filter(|needed| space.slot_free < *needed) {
                let free = space.slot_free;
                let issue = format!(
                    "The image needs {needed} bytes; node \"{node}\" has {free} for its slot."
                );
                findings.error(SLOTS, node, issue, "Free space where the boot slots live.");
            }
        },
    );
}

fn holds(slot: &SlotState, package: Option<Digest>) -> bool {
    let image = slot.image.as_ref();
    image.is_some_and(|image| Some(image.digest) == package)
}

fn unpacked_bytes(entry: &CatalogueEntry) -> u64 {
    entry.package.summary.unpacked_bytes
}

pub(super) fn space(findings: &mut Collector<'_>) {
    findings.each(
        SPACE,
        |seen| &seen.space,
        |findings, node, space| {
            if space.root_free < ROOT_FREE_MIN {
                let free = space.root_free;
                let issue =
                    format!("Node \"{node}\" has {free} bytes left for databases and logs.");
                findings.error(SPACE, node, issue, "Free at least 64 MiB.");
            }
        },
    );
}

/// An update that finds out when its first node is done stands still on two versions.
pub(super) fn gate_script(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    if !input.gates.has_script() {
        return;
    }
    findings.each(
        GATE_SCRIPT,
        |seen| &seen.gate_script,
        |findings, node, has_one| {
            if !has_one {
                let issue = format!("Node \"{node}\" has no script for the gate between nodes.");
                let action = "Name it as gate_script in [update] of the node's evenkeeld.toml, or take the \
                              condition off: evenkeel image gates set.";
                findings.error(GATE_SCRIPT, node, issue, action);
            }
        },
    );
}

pub(super) fn manual(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    let Some(entry) = input.catalogue.by_version(input.target) else {
        return;
    };
    for step in &entry.package.summary.manual_steps {
        let issue = format!("The package asks for a manual check: {step}");
        // What was done for one package was not done for another.
        let about = format!("{} {step}", entry.package.digest);
        let action =
            "Do the manual checks, then acknowledge them, or update with warnings skipped.";
        findings.warning(MANUAL, about, issue, action);
    }
}
