//! Which nodes an update changes, in which order, and how many at a time.

use std::collections::BTreeSet;

use evenkeel_model::{NodeName, PlanMode, Refusal, Topology, UpdateRequest, code};

use crate::input::Input;
use crate::words;

/// From so many nodes on, pairs are updated in two batches.
const BATCH_FROM: usize = 8;

/// The nodes that the request is about, or why it cannot be carried out here: told from the topology alone.
pub fn chosen(topology: &Topology, request: &UpdateRequest) -> Result<BTreeSet<NodeName>, Refusal> {
    let sites = topology.sites();
    if !sites.is_empty() {
        let sites: Vec<&str> = sites.into_iter().collect();
        let text = format!(
            "The cluster spans sites ({}). Its update needs a switchover between them, which this release of \
             Evenkeel cannot carry out: nothing was changed. Validating works.",
            sites.join(", ")
        );
        return Err(Refusal::new(code::NOT_SUPPORTED, text));
    }
    meant(topology, request)
}

/// The nodes that the request names, or all: refused where it names what is not there, or half a pair. What a
/// validation asks too, which works whatever the cluster is.
pub fn meant(topology: &Topology, request: &UpdateRequest) -> Result<BTreeSet<NodeName>, Refusal> {
    if request.force_rolling && topology.names().count() == 1 {
        let text = "force_rolling does not apply to a cluster of one node. Leave it out.";
        return Err(Refusal::new(code::NOT_SUPPORTED, text).about("force_rolling"));
    }
    for name in &request.nodes {
        known(topology, name, "nodes_to_update")?;
    }
    let chosen: BTreeSet<NodeName> = match request.nodes.is_empty() {
        true => topology.names().cloned().collect(),
        false => request.nodes.iter().cloned().collect(),
    };
    let is_whole = |name: &NodeName| topology.partner_of(name).is_none_or(|p| chosen.contains(p));
    if let Some(half) = chosen.iter().find(|name| !is_whole(name)) {
        let partner = topology.partner_of(half).map_or("", NodeName::as_str);
        let text = format!(
            "Nodes are updated as HA pairs: node \"{half}\" is named, its partner \"{partner}\" is not."
        );
        return Err(Refusal::new(code::NOT_HA_PAIRS, text).about("nodes_to_update"));
    }
    if let Some(first) = &request.first {
        known(topology, first, "first_pair")?;
        if !chosen.contains(first) {
            let text =
                format!("Node \"{first}\" cannot go first: it is not among those to update.");
            return Err(Refusal::new(code::INVALID_VALUE, text).about("first_pair"));
        }
    }
    Ok(chosen)
}

/// Nothing is to be done.
pub fn all_there(request: &UpdateRequest) -> Refusal {
    let which = match request.nodes.is_empty() {
        true => "All nodes",
        false => "All nodes named",
    };
    let text = format!("{which} run {} already.", request.version);
    Refusal::new(code::ALREADY_AT_VERSION, text).about("version")
}

fn known(topology: &Topology, name: &NodeName, field: &str) -> Result<(), Refusal> {
    match topology.node(name) {
        Some(_) => Ok(()),
        None => {
            let text = format!("The cluster has no node \"{name}\".");
            Err(Refusal::new(code::INVALID_VALUE, text).about(field))
        }
    }
}

/// Nodes in the order of their takeovers, pair by pair: the pair that was named first, the coordinator's
/// last, and the coordinator last in it.
pub(crate) fn order(
    input: &Input<'_>,
    request: &UpdateRequest,
    chosen: &BTreeSet<NodeName>,
) -> Vec<Vec<NodeName>> {
    let mut groups: Vec<Vec<NodeName>> = Vec::new();
    for node in &input.topology.nodes {
        match &node.partner {
            _ if !chosen.contains(&node.name) => {}
            Some(partner) if *partner < node.name => {}
            Some(partner) => groups.push(vec![node.name.clone(), partner.clone()]),
            None => groups.push(vec![node.name.clone()]),
        }
    }
    let is_first = |group: &[NodeName]| request.first.as_ref().is_some_and(|f| group.contains(f));
    let mine = |group: &[NodeName]| group.contains(input.me);
    groups.sort_by_key(|group| (!is_first(group), mine(group)));
    for group in &mut groups {
        group.sort_by_key(|node| node == input.me);
    }
    groups
}

/// Which nodes go at the same time, step by step.
pub(crate) struct Turns {
    pub(crate) mode: PlanMode,
    pub(crate) steps: Vec<Vec<NodeName>>,
    /// Why it is not what it would usually be.
    pub(crate) remark: Option<String>,
}

/// Parts the nodes into steps. Each group is what is due of a pair, in its order.
pub(crate) fn turns(input: &Input<'_>, request: &UpdateRequest, groups: &[Vec<NodeName>]) -> Turns {
    let rolling = |remark| Turns {
        mode: match input.topology.nodes.len() {
            1 => PlanMode::SingleNode,
            _several => PlanMode::Rolling,
        },
        steps: groups.iter().flatten().map(|n| vec![n.clone()]).collect(),
        remark,
    };
    let is_big = input.topology.nodes.len() >= BATCH_FROM && groups.len() > 1;
    if request.force_rolling || !is_big {
        return rolling(None);
    }
    let steps = batches(input, groups);
    let lost = steps.iter().find_map(|step| {
        let why = (input.survives_without)(step).err()?;
        Some((step, why))
    });
    match lost {
        None => Turns {
            mode: PlanMode::Batch,
            steps,
            remark: None,
        },
        Some((step, why)) => rolling(Some(format!(
            "One node after the other, not in batches: the record would not survive without {} at \
             the same time: {why}",
            named(step)
        ))),
    }
}

/// Two batches of whole pairs: the first nodes of the pairs of a batch, then their partners. The coordinator
/// goes with the partners.
fn batches(input: &Input<'_>, groups: &[Vec<NodeName>]) -> Vec<Vec<NodeName>> {
    let (one, two) = groups.split_at(groups.len().div_ceil(2));
    let mut steps = Vec::new();
    for batch in [one, two] {
        let (mut firsts, mut partners) = (Vec::new(), Vec::new());
        for group in batch {
            for (place, node) in group.iter().enumerate() {
                match place == 0 && node != input.me {
                    true => firsts.push(node.clone()),
                    false => partners.push(node.clone()),
                }
            }
        }
        steps.extend([firsts, partners]);
    }
    steps.retain(|step| !step.is_empty());
    steps
}

/// Some of the nodes by name, and how many more.
pub(crate) fn named(nodes: &[NodeName]) -> String {
    const SHOWN: usize = 8;
    words::nodes(nodes, SHOWN)
}
