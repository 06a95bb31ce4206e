//! What a cancelled update leaves behind: who runs what, and who is in takeover.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Action, Lane, MemberHa, NodeName, Transition, Version};

use crate::input::Input;
use crate::pair::{all_standing, member, pair_of};
use crate::words;

/// Most nodes that a sentence names: an event has a limit.
const NAMED: usize = 20;

/// The state in which the cluster is left, in sentences.
pub(super) fn left_behind(input: &Input<'_>) -> String {
    let mut sentences = takeovers(input);
    sentences.push(versions(input));
    sentences.extend(boots_other(input));
    sentences.join(" ")
}

/// Who would leave its version by itself with its next boot: a new slot was made the default, and that could not
/// be undone.
fn boots_other(input: &Input<'_>) -> Option<String> {
    let plan = input.operation.plan.as_ref()?;
    let (mut other, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for lane in plan.lanes().filter(|lane| was_activated(input, lane)) {
        match input.seen(&lane.node).and_then(|seen| seen.slots.known()) {
            Some(slots) if slots.default == slots.booted => {}
            Some(_) => drop(other.insert(lane.node.clone())),
            None => drop(unknown.insert(lane.node.clone())),
        }
    }
    let target = &plan.target;
    let mut sentences = Vec::new();
    if !other.is_empty() {
        sentences.push(format!(
            "The next boot of {} brings {target}: the boot loader could not be set back. Set it back before \
             that boot, or update to {target}.",
            words::nodes(&other, NAMED)
        ));
    }
    if !unknown.is_empty() {
        sentences.push(format!(
            "Which slot boots next is not known of {}: it may be that of {target}.",
            words::nodes(&unknown, NAMED)
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Whether the lane may have changed what its node boots next, and the node has not come up on it since.
fn was_activated(input: &Input<'_>, lane: &Lane) -> bool {
    let activate = (lane.tasks.iter()).find(|task| matches!(task.action, Action::Activate { .. }));
    activate.is_some_and(|task| input.operation.tasks.contains_key(&task.id))
        && !input.operation.updated.contains_key(&lane.node)
}

/// Who waits for whom; and who is not known to serve.
fn takeovers(input: &Input<'_>) -> Vec<String> {
    let standing = all_standing(input.topology, input.observations);
    let taken: BTreeSet<&NodeName> = standing.iter().map(|takeover| &takeover.taken).collect();
    let (mut unknown, mut down) = (BTreeSet::new(), Vec::new());
    for node in input.topology.names().filter(|node| !taken.contains(node)) {
        match pair_of(input, node).map(|pair| member(pair, node).ha) {
            Some(MemberHa::Serving) => {}
            Some(ha) => down.push(format!("Node \"{node}\": {}.", ha.text())),
            None if input.topology.partner_of(node).is_none() => {}
            None => {
                unknown.insert(node.clone());
            }
        }
    }
    let mut sentences: Vec<String> = match (standing.is_empty(), unknown.is_empty()) {
        (true, true) => vec!["Nobody is in takeover.".to_owned()],
        (_, _) => standing
            .iter()
            .take(NAMED)
            .map(|it| waits(input, it))
            .collect(),
    };
    if !unknown.is_empty() {
        let nodes = words::nodes(&unknown, NAMED);
        sentences.push(format!(
            "Whether anybody is in takeover is not known of {nodes}: not one of the pair answers."
        ));
    }
    sentences.extend(down.into_iter().take(NAMED));
    sentences
}

fn waits(input: &Input<'_>, takeover: &Transition) -> String {
    let (node, by) = (&takeover.taken, &takeover.by);
    let whose = match input.operation.is_ours(takeover.id) {
        true => "this update",
        false => "somebody else, not by this update",
    };
    format!(
        "Node \"{node}\" waits: node \"{by}\" serves for it, taken over by {whose}. When node \"{node}\" is in \
         \"waiting for giveback\" state, give it back."
    )
}

/// Who runs what, as it is seen; of one that is silent, as it last said.
fn versions(input: &Input<'_>) -> String {
    let mut on: BTreeMap<&Version, Vec<&NodeName>> = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for node in input.topology.names() {
        let seen = input.seen(node).and_then(|seen| seen.version.known());
        let said = || input.control.booted.get(node)?.version.as_ref();
        match seen.or_else(said) {
            Some(version) => on.entry(version).or_default().push(node),
            None => {
                unknown.insert(node.clone());
            }
        }
    }
    if let (true, Some((version, _))) = (on.len() == 1 && unknown.is_empty(), on.first_key_value())
    {
        return format!("All nodes run {version}.");
    }
    let mut parts: Vec<String> = on
        .into_iter()
        .map(|(version, nodes)| format!("{version} on {}", words::nodes(nodes, NAMED)))
        .collect();
    if !unknown.is_empty() {
        parts.push(format!(
            "what runs on {} is not known",
            words::nodes(&unknown, NAMED)
        ));
    }
    format!("Versions: {}.", parts.join("; "))
}
