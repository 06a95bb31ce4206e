//! Checks on HA pairs, quorum and LIFs.

use evenkeel_model::{
    FenceDevice, FencingState, LifState, MemberHa, NodeName, PairState, TransitionStage,
};

use super::CheckInput;
use super::collect::Collector;
use crate::stand_in::{OneSided, lost_domains, stuck_lifs};

const HA: &str = "High Availability status";
const QUORUM: &str = "Cluster quorum status check";
const LIF_HOME: &str = "LIFs is on home node Status";
const LIF_FAILOVER: &str = "LIF failover capability status";
const DOMAINS: &str = "Broadcast Domain availability and uniqueness for HA pair status";
const FENCING: &str = "Fencing configuration and test status";

/// A fence that was not tried for longer than this is a hope.
const FENCE_TEST_MAX_DAYS: u64 = 30;
const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn high_availability(findings: &mut Collector<'_>) {
    findings.each(
        HA,
        |seen| &seen.pair,
        |findings, node, pair| match pair {
            Some(pair) => is_fit(findings, HA, node, pair),
            None if findings.topology().nodes.len() == 1 => findings.warning(
                HA,
                format!("{node} alone"),
                format!("Single-node cluster: data is not served while node \"{node}\" reboots."),
                "Update when nobody needs the data, then with skip_warnings.",
            ),
            None => findings.error(
                HA,
                node,
                format!("Node \"{node}\" has no HA partner that could serve for it."),
                "Configure storage failover.",
            ),
        },
    );
}

pub(super) fn is_fit(findings: &mut Collector<'_>, check: &str, node: &NodeName, pair: &PairState) {
    if !pair.enabled {
        let issue = format!("Storage failover is not enabled on node \"{node}\".");
        findings.error(
            check,
            node,
            issue,
            "Enable storage failover on all nodes of the cluster.",
        );
    }
    if findings.topology().partner_of(node) != Some(&pair.partner.node) {
        let other = &pair.partner.node;
        let issue = format!("Node \"{node}\" is paired with \"{other}\", not as configured.");
        let action = "Make the HA engine's pairs those of the cluster's topology.";
        findings.error(check, node, issue, action);
    }
    for member in [&pair.local, &pair.partner] {
        if member.ha != MemberHa::Serving {
            let state = member.ha.text();
            let issue = format!(
                "Node \"{}\" does not serve its own storage: {state}.",
                member.node
            );
            findings.error(
                check,
                &member.node,
                issue,
                "Bring the node back into service.",
            );
        }
    }
    if let Some(t) = pair
        .transition
        .as_ref()
        .filter(|t| t.stage != TransitionStage::GivenBack)
    {
        let issue = format!("Node \"{}\" is taken over by node \"{}\".", t.taken, t.by);
        findings.error(check, &t.taken, issue, "Finish the giveback.");
    }
    if let Some(veto) = &pair.takeover_veto {
        let partner = &pair.partner.node;
        let issue = format!("Node \"{node}\" could not take over node \"{partner}\": {veto}.");
        findings.error(check, node, issue, "Remove the reason of the veto.");
    }
    if let Some(veto) = &pair.giveback_veto {
        let partner = &pair.partner.node;
        let issue = format!("Node \"{node}\" could not give back to node \"{partner}\": {veto}.");
        findings.error(check, node, issue, "Remove the reason of the veto.");
    }
}

pub(super) fn quorum(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    findings.each(
        QUORUM,
        |seen| &seen.quorum,
        |findings, node, quorum| {
            if !quorum.record_reachable {
                let issue = format!("Node \"{node}\" cannot reach the cluster's record.");
                findings.error(
                    QUORUM,
                    node,
                    issue,
                    "Restore the node's link to the record.",
                );
            }
            for silent in &quorum.silent {
                let issue = format!("Node \"{silent}\" does not answer node \"{node}\".");
                findings.error(QUORUM, silent, issue, "Restore the link between the nodes.");
            }
        },
    );
    findings.each(
        QUORUM,
        |seen| &seen.witness,
        |findings, node, witness| {
            if let Some(witness) = witness.as_ref().filter(|witness| !witness.votes) {
                let name = &witness.name;
                let issue =
                    format!("Witness \"{name}\" does not vote on the side of node \"{node}\".");
                findings.error(
                    QUORUM,
                    name,
                    issue,
                    "Restore the witness, or the link to it.",
                );
            }
        },
    );
    // Nothing goes on while the only node is down, and nobody expects it to.
    let several = findings.topology().nodes.len() > 1;
    for name in findings.topology().names().filter(|_| several) {
        if let Err(why) = (input.survives_without)(std::slice::from_ref(name)) {
            let issue = format!("The cluster cannot go on while node \"{name}\" is down: {why}.");
            findings.error(QUORUM, name, issue, "Restore the cluster's redundancy.");
        }
    }
}

pub(super) fn lifs(findings: &mut Collector<'_>) {
    findings.each(
        LIF_HOME,
        |seen| &seen.lifs,
        |findings, _, lifs| {
            for lif in lifs {
                match &lif.current {
                    Some(current) if *current != lif.home => {
                        let (name, home) = (&lif.name, &lif.home);
                        let issue =
                            format!("LIF \"{name}\" is on node \"{current}\", not \"{home}\".");
                        findings.warning(LIF_HOME, name, issue, "Revert the LIF to its home node.");
                    }
                    Some(_) => {}
                    None => {
                        let issue = format!("LIF \"{}\" is down.", lif.name);
                        findings.error(LIF_HOME, &lif.name, issue, "Bring the LIF up.");
                    }
                }
            }
        },
    );
    failover_targets(findings, LIF_FAILOVER);
}

pub(super) fn failover_targets(findings: &mut Collector<'_>, check: &str) {
    findings.each(
        check,
        |seen| &seen.lifs,
        |findings, _, lifs| {
            let topology = findings.topology();
            let paired = |lif: &&LifState| topology.partner_of(&lif.home).is_some();
            for lif in stuck_lifs(lifs).filter(paired) {
                let issue = format!("LIF \"{}\" has no port to fail over to.", lif.name);
                let action =
                    "Give the LIF a failover target on the partner, in its broadcast domain.";
                findings.error(check, &lif.name, issue, action);
            }
        },
    );
}

pub(super) fn broadcast_domains(findings: &mut Collector<'_>) {
    findings.each(DOMAINS, |seen| &seen.ports, |_, _, _| {});
    domains_lost(findings, DOMAINS);
}

/// Every domain that one partner's data ports reach must be reached by the other's.
pub(super) fn domains_lost(findings: &mut Collector<'_>, check: &str) {
    for (node, partner) in findings.topology().pairs() {
        let ports = |name| Some(findings.seen(name)?.ports.known()?.as_slice());
        let (Some(here), Some(there)) = (ports(node), ports(partner)) else {
            continue;
        };
        for OneSided { by, not_by, what } in lost_domains((node, here), (partner, there)) {
            let issue = format!(
                "Node \"{not_by}\" has no working port in broadcast domain \"{what}\" of node \"{by}\"."
            );
            let action = "Bring a port of the domain up on both partners.";
            findings.error(check, format!("{not_by} {what}"), issue, action);
        }
    }
}

pub(super) fn fencing(findings: &mut Collector<'_>) {
    findings.each(
        FENCING,
        |seen| &seen.fencing,
        |findings, node, fencing| match (findings.topology().partner_of(node), fencing) {
            (None, _) => {}
            (Some(partner), None) => {
                let issue = format!("Node \"{node}\" has no means to fence node \"{partner}\".");
                let action = "Configure fencing, and test it.";
                findings.error(FENCING, node, issue, action);
            }
            (Some(partner), Some(fencing)) => fence_is_fit(findings, node, partner, fencing),
        },
    );
}

fn fence_is_fit(
    findings: &mut Collector<'_>,
    node: &NodeName,
    partner: &NodeName,
    fencing: &FencingState,
) {
    if !fencing.enabled {
        let issue = format!("Fencing of node \"{partner}\" by node \"{node}\" is switched off.");
        findings.error(FENCING, node, issue, "Switch fencing on.");
    }
    match &fencing.device {
        // The check of the service processors says whether it answers.
        FenceDevice::ServiceProcessor | FenceDevice::Other { answers: true, .. } => {}
        FenceDevice::Other { name, .. } => {
            let issue = format!("Fence device \"{name}\" does not answer node \"{node}\".");
            findings.error(
                FENCING,
                node,
                issue,
                "Repair the fence device or the link to it.",
            );
        }
    }
    let since = match fencing.tested_s_ago.map(|s| s / DAY_S) {
        Some(days) if days <= FENCE_TEST_MAX_DAYS => return,
        Some(days) => format!("was last tested {days} days ago"),
        None => "was never tested".to_owned(),
    };
    let issue = format!("Fencing of node \"{partner}\" by node \"{node}\" {since}.");
    let action = "Run the fence test; it may be at most 30 days old.";
    findings.error(FENCING, node, issue, action);
}
