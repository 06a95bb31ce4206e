//! The post-update checks: everything is home again, whole, on the version, and each partner could carry the other.

use std::collections::BTreeSet;

use evenkeel_model::{ClusterObservation, Finding, NodeName, Severity, Topology, Version};

use super::collect::Collector;
use super::{pair, storage};

const POOLS: &str = "Aggregate Health Status";
const HA: &str = "HA Health Status";
const LIFS: &str = "LIF Health Status";
const DOMAINS: &str = "Broadcast Domain Health Status";
const PATHS: &str = "Storage Path Health Status";
const VERSIONS: &str = "Node Version Status";

/// What the post-update checks look at.
#[derive(Clone, Copy)]
pub struct PostInput<'a> {
    /// The cluster.
    pub topology: &'a Topology,
    /// What every node sees.
    pub observations: &'a ClusterObservation,
    /// The version that was gone to.
    pub target: &'a Version,
    /// The nodes that were to go there.
    pub nodes: &'a BTreeSet<NodeName>,
}

/// The post-update checks. At most one finding a check; an empty list is a pass.
pub fn post_check(input: &PostInput<'_>) -> Vec<Finding> {
    let mut findings = Collector::new(input.topology, input.observations);
    pools(&mut findings);
    high_availability(&mut findings);
    lifs(&mut findings);
    pair::failover_targets(&mut findings, LIFS);
    ports(&mut findings);
    storage::paths(&mut findings, PATHS);
    storage::hidden(&mut findings, PATHS);
    versions(input, &mut findings);
    let mut found = findings.finish();
    // What a daemon of an older release cannot say is a warning: it holds no update up that leaves it behind.
    found.retain(|finding| finding.severity == Severity::Error);
    found
}

fn pools(findings: &mut Collector<'_>) {
    findings.each(
        POOLS,
        |seen| &seen.pools,
        |findings, _, pools| {
            for pool in pools {
                storage::pool_is_fit(findings, POOLS, pool);
                if pool.owner.as_ref() != Some(&pool.home) {
                    let (name, home) = (&pool.name, &pool.home);
                    let issue = format!("Pool \"{name}\" is not with its home node \"{home}\".");
                    findings.error(POOLS, name, issue, "Give the pool back to its home node.");
                }
            }
        },
    );
}

fn high_availability(findings: &mut Collector<'_>) {
    findings.each(
        HA,
        |seen| &seen.pair,
        |findings, node, pair| {
            if let Some(pair) = pair {
                pair::is_fit(findings, HA, node, pair);
            }
        },
    );
}

fn lifs(findings: &mut Collector<'_>) {
    findings.each(
        LIFS,
        |seen| &seen.lifs,
        |findings, _, lifs| {
            for lif in lifs
                .iter()
                .filter(|lif| lif.current.as_ref() != Some(&lif.home))
            {
                let (name, home) = (&lif.name, &lif.home);
                let issue = match &lif.current {
                    Some(current) => {
                        format!("LIF \"{name}\" is on node \"{current}\", not \"{home}\".")
                    }
                    None => format!("LIF \"{name}\" is down."),
                };
                findings.error(LIFS, name, issue, "Bring the LIF to its home node.");
            }
        },
    );
}

fn ports(findings: &mut Collector<'_>) {
    findings.each(DOMAINS, |seen| &seen.ports, |_, _, _| {});
    pair::domains_lost(findings, DOMAINS);
}

fn versions(input: &PostInput<'_>, findings: &mut Collector<'_>) {
    findings.each(
        VERSIONS,
        |seen| &seen.version,
        |findings, node, version| {
            if version != input.target && input.nodes.contains(node) {
                let target = input.target;
                let issue = format!("Node \"{node}\" runs {version}, not {target}.");
                let action = "Find out why it runs another image, then cancel and update it again.";
                findings.error(VERSIONS, node, issue, action);
            }
        },
    );
}
