//! Builds plans: which node when, by which tasks.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    MemberHa, NodeName, Plan, Problem, Refusal, SlotHealth, UpdateRequest, Version, code,
};

use crate::builder::Builder;
use crate::input::Input;
use crate::order::{all_there, chosen, order, turns};
use crate::pair::{foreign, giveback_unproven, member, pair_of, standing};

/// The first revision of an update's plan, or why there can be none. Rolling: one pair after the other, one
/// node at a time. From eight nodes on in two batches of whole pairs, never both nodes of a pair at a time.
/// The coordinator's pair last, and the coordinator last in it.
pub fn plan(input: &Input<'_>, request: &UpdateRequest) -> Result<Plan, Refusal> {
    let entry = input
        .catalogue
        .by_version(&request.version)
        .ok_or_else(|| {
            let text = format!("Package {} is not in the repository.", request.version);
            Refusal::new(code::NO_PACKAGE, text).about("version")
        })?;
    let chosen = chosen(input.topology, request)?;
    let from = versions(input, &chosen)?;
    let mut groups = order(input, request, &chosen);
    let is_due = |node: &NodeName| from.get(node) != Some(&request.version);
    // One that came to run the version without an update's doing was never said to be good.
    let unproven: Vec<NodeName> = groups
        .iter()
        .flatten()
        .filter(|node| !is_due(node) && is_unproven(input, node))
        .cloned()
        .collect();
    keep(&mut groups, is_due);
    if groups.is_empty() && unproven.is_empty() {
        return Err(all_there(request));
    }
    let turns = turns(input, request, &groups);
    let mut builder = Builder::new(input, entry, request.stabilize_minutes, first_id(input));
    builder.confirm(&unproven, false);
    builder.install(&groups.concat());
    for nodes in &turns.steps {
        builder.roll(nodes)?;
    }
    let revision = input.operation.revisions + 1;
    Ok(builder.finish(revision, from, turns.mode, turns.remark))
}

/// Keeps what is due of each pair.
fn keep(groups: &mut Vec<Vec<NodeName>>, is_due: impl Fn(&NodeName) -> bool) {
    for group in groups.iter_mut() {
        group.retain(&is_due);
    }
    groups.retain(|group| !group.is_empty());
}

fn is_unproven(input: &Input<'_>, node: &NodeName) -> bool {
    let slots = input.seen(node).and_then(|seen| seen.slots.known());
    slots.is_some_and(|slots| slots.slot(slots.booted).health != SlotHealth::Good)
}

fn versions(
    input: &Input<'_>,
    nodes: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, Version>, Refusal> {
    let of = |name: &NodeName| {
        let version = input.seen(name).and_then(|seen| seen.version.known());
        let unknown = || {
            let text = format!("The version of node \"{name}\" is not known.");
            Refusal::new(code::VALIDATION_FAILED, text)
        };
        Ok((name.clone(), version.ok_or_else(unknown)?.clone()))
    };
    nodes.iter().map(of).collect()
}

/// The next revision, from what is observed now: after trouble a person may have acted by hand. What
/// cannot be told apart from someone else's doing is trouble again; what is unknown is waited for.
pub fn replan(input: &Input<'_>, request: &UpdateRequest) -> Result<Plan, NoPlan> {
    let entry = input
        .catalogue
        .by_version(&request.version)
        .ok_or_else(|| {
            NoPlan::Trouble(Problem {
                node: None,
                error: format!("package {} is no longer in the repository", request.version),
                action: "Get the package again, or cancel the update.".to_owned(),
            })
        })?;
    let previous = input.operation.plan.as_ref();
    let from = previous.map(|plan| plan.from.clone()).unwrap_or_default();
    let chosen = from.keys().cloned().collect();
    let mut groups = order(input, request, &chosen);
    let (mut away, mut half_home, mut home) = (Vec::new(), Vec::new(), Vec::new());
    let mut stands = BTreeMap::new();
    for node in groups.iter().flatten() {
        let stand = stand(input, node)?;
        let is_new = from.get(node) != Some(&request.version);
        match &stand {
            Stand::TakenByUs { version } => away.push((node.clone(), version.clone())),
            Stand::Serving { version } if giveback_unproven(input, node) => {
                half_home.push((node.clone(), version.clone()));
            }
            // It came home by hand, or its slot was never said to be good.
            Stand::Serving { version } if *version == request.version => {
                let is_settled = !is_new && !is_unproven(input, node);
                if !is_settled && !input.operation.updated.contains_key(node) {
                    home.push(node.clone());
                }
            }
            Stand::Serving { .. } => {}
        }
        stands.insert(node.clone(), stand);
    }
    let version = |node: &NodeName| stands.get(node).and_then(Stand::version);
    keep(&mut groups, |node| {
        version(node).is_some_and(|v| *v != request.version)
    });
    let turns = turns(input, request, &groups);
    let mut builder = Builder::new(input, entry, request.stabilize_minutes, first_id(input));
    // Whoever is with its partner comes home before anything new begins.
    builder.come_home(&away).map_err(as_problem)?;
    builder.finish_giveback(&half_home).map_err(as_problem)?;
    builder.confirm(&home, input.topology.nodes.len() > 1);
    let bare = groups.iter().flatten().filter(|n| !builder.holds_image(n));
    let to_install: Vec<NodeName> = bare.cloned().collect();
    builder.install(&to_install);
    for nodes in &turns.steps {
        builder.roll(nodes).map_err(as_problem)?;
    }
    let revision = input.operation.revisions + 1;
    Ok(builder.finish(revision, from, turns.mode, turns.remark))
}

/// Numbers of tasks are unique over all revisions.
fn first_id(input: &Input<'_>) -> u32 {
    let started = input.operation.tasks.keys().copied();
    let planned = input.operation.plan.iter().flat_map(|plan| plan.tasks());
    let used = started.chain(planned.map(|task| task.id));
    used.max().map_or(1, |id| id.0 + 1)
}

/// Why there is no next revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// Not yet: something is unknown, or on its way.
    Unknown(Problem),
    /// Not until a person acts.
    Trouble(Problem),
}

fn as_problem(refusal: Refusal) -> NoPlan {
    let action = "Cancel the update.".to_owned();
    NoPlan::Trouble(Problem {
        node: None,
        error: refusal.message,
        action,
    })
}

/// Where a node stands when a plan is made anew.
enum Stand {
    Serving { version: Version },
    TakenByUs { version: Option<Version> },
}

impl Stand {
    fn version(&self) -> Option<&Version> {
        match self {
            Self::Serving { version } => Some(version),
            Self::TakenByUs { version } => version.as_ref(),
        }
    }
}

fn stand(input: &Input<'_>, node: &NodeName) -> Result<Stand, NoPlan> {
    if let Some(error) = foreign(input, node) {
        let (error, action) = (error.message, error.action);
        return Err(NoPlan::Trouble(Problem {
            node: Some(node.clone()),
            error,
            action,
        }));
    }
    let unknown = |error: String, action: &str| {
        let action = action.to_owned();
        NoPlan::Unknown(Problem {
            node: Some(node.clone()),
            error,
            action,
        })
    };
    let back = "Bring the node's evenkeeld back, then resume.";
    if input.topology.nodes.len() == 1 {
        let why = input.why_silent(node);
        let unknown = || unknown(format!("the version it runs is not known: {why}"), back);
        let version = booted_version(input, node).ok_or_else(unknown)?;
        return Ok(Stand::Serving { version });
    }
    let pair = pair_of(input, node).ok_or_else(|| {
        let why = input.why_silent(node);
        unknown(
            format!("the state of its HA pair is not known: {why}"),
            back,
        )
    })?;
    let version = booted_version(input, node);
    if standing(pair).is_some_and(|t| t.taken == *node) {
        return Ok(Stand::TakenByUs { version });
    }
    match member(pair, node).ha {
        MemberHa::Serving => version
            .map(|version| Stand::Serving { version })
            .ok_or_else(|| {
                let why = input.why_silent(node);
                unknown(format!("the version it runs is not known: {why}"), back)
            }),
        ha => {
            let error = format!("it does not serve its own storage: {}", ha.text());
            Err(unknown(
                error,
                "Bring the node back into service, then resume.",
            ))
        }
    }
}

fn booted_version(input: &Input<'_>, node: &NodeName) -> Option<Version> {
    input.seen(node)?.version.known().cloned()
}
