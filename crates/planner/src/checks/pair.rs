//! Checks on HA pairs, quorum and LIFs.

use evenkeel_model::{MemberHa, NodeName, PairState, TransitionStage};

use super::CheckInput;
use super::collect::Collector;

const HA: &str = "High Availability status";
const QUORUM: &str = "Cluster quorum status check";
const LIF_HOME: &str = "LIFs is on home node Status";
const LIF_FAILOVER: &str = "LIF failover capability status";

pub(super) fn high_availability(findings: &mut Collector<'_>) {
    findings.each(
        HA,
        |seen| &seen.pair,
        |findings, node, pair| match pair {
            Some(pair) => pair_is_fit(findings, HA, node, pair),
            None if findings.topology().nodes.len() == 1 => findings.warning(
                HA,
                format!("Single-node cluster: data is not served while node \"{node}\" reboots."),
                "Update when nobody needs the data, then with skip_warnings.",
            ),
            None => findings.error(
                HA,
                format!("Node \"{node}\" has no HA partner that could serve for it."),
                "Configure storage failover.",
            ),
        },
    );
}

fn pair_is_fit(findings: &mut Collector<'_>, check: &str, node: &NodeName, pair: &PairState) {
    if !pair.enabled {
        let issue = format!("Storage failover is not enabled on node \"{node}\".");
        findings.error(
            check,
            issue,
            "Enable storage failover on all nodes of the cluster.",
        );
    }
    for member in [&pair.local, &pair.partner] {
        if member.ha != MemberHa::Serving {
            let state = member.ha.text();
            let issue = format!(
                "Node \"{}\" does not serve its own storage: {state}.",
                member.node
            );
            findings.error(check, issue, "Bring the node back into service.");
        }
    }
    if let Some(t) = pair
        .transition
        .as_ref()
        .filter(|t| t.stage != TransitionStage::GivenBack)
    {
        let issue = format!("Node \"{}\" is taken over by node \"{}\".", t.taken, t.by);
        findings.error(check, issue, "Finish the giveback.");
    }
    if let Some(veto) = &pair.takeover_veto {
        let partner = &pair.partner.node;
        let issue = format!("Node \"{node}\" could not take over node \"{partner}\": {veto}.");
        findings.error(check, issue, "Remove the reason of the veto.");
    }
    if let Some(veto) = &pair.giveback_veto {
        let partner = &pair.partner.node;
        let issue = format!("Node \"{node}\" could not give back to node \"{partner}\": {veto}.");
        findings.error(check, issue, "Remove the reason of the veto.");
    }
}

pub(super) fn quorum(input: &CheckInput<'_>, findings: &mut Collector<'_>) {
    findings.each(
        QUORUM,
        |seen| &seen.quorum,
        |findings, node, quorum| {
            if !quorum.record_reachable {
                let issue = format!("Node \"{node}\" cannot reach the cluster's record.");
                findings.error(QUORUM, issue, "Restore the node's link to the record.");
            }
            for silent in &quorum.silent {
                let issue = format!("Node \"{silent}\" does not answer node \"{node}\".");
                findings.error(QUORUM, issue, "Restore the link between the nodes.");
            }
        },
    );
    // Nothing goes on while the only node is down, and nobody expects it to.
    let several = findings.topology().nodes.len() > 1;
    for name in findings.topology().names().filter(|_| several) {
        if let Err(why) = (input.survives_without)(std::slice::from_ref(name)) {
            let issue = format!("The cluster cannot go on while node \"{name}\" is down: {why}.");
            findings.error(QUORUM, issue, "Restore the cluster's redundancy.");
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
                        findings.warning(LIF_HOME, issue, "Revert the LIF to its home node.");
                    }
                    Some(_) => {}
                    None => {
                        let issue = format!("LIF \"{}\" is down.", lif.name);
                        findings.error(LIF_HOME, issue, "Bring the LIF up.");
                    }
                }
            }
        },
    );
    let several = findings.topology().nodes.len() > 1;
    findings.each(
        LIF_FAILOVER,
        |seen| &seen.lifs,
        |findings, _, lifs| {
            for lif in lifs
                .iter()
                .filter(|lif| several && !lif.has_failover_target)
            {
                let issue = format!("LIF \"{}\" has no port to fail over to.", lif.name);
                let action =
                    "Give the LIF a failover target on the partner, in its broadcast domain.";
                findings.error(LIF_FAILOVER, issue, action);
            }
        },
    );
}

pub(super) fn high_availability_after(findings: &mut Collector<'_>) {
    const AFTER: &str = "HA Health Status";
    findings.each(
        AFTER,
        |seen| &seen.pair,
        |findings, node, pair| {
            if let Some(pair) = pair {
                pair_is_fit(findings, AFTER, node, pair);
            }
        },
    );
}
