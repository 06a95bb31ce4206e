//! Builds plans: which node when, by which tasks.

use std::collections::BTreeMap;

use evenkeel_model::{
    MemberHa, NodeName, Plan, Problem, Refusal, SlotHealth, UpdateRequest, Version, code,
};

use crate::builder::Builder;
use crate::input::Input;
use crate::pair::{foreign, member, pair_of, standing};

/// The first revision of an update's plan, or why there can be none. Rolling: one pair after the
/// other, one node at a time; the coordinator's pair last, and the coordinator last in it.
pub fn plan(input: &Input<'_>, request: &UpdateRequest) -> Result<Plan, Refusal> {
    let entry = input
        .catalogue
        .by_version(&request.version)
        .ok_or_else(|| {
            let text = format!("Package {} is not in the repository.", request.version);
            Refusal::new(code::NO_PACKAGE, text).about("version")
        })?;
    let from = versions(input)?;
    let is_due = |node: &NodeName| from.get(node) != Some(&request.version);
    let (due, mut unproven): (Vec<NodeName>, Vec<NodeName>) =
        order(input).into_iter().partition(is_due);
    // One that came to run the version without an update's doing was never said to be good.
    unproven.retain(|node| is_unproven(input, node));
    if due.is_empty() && unproven.is_empty() {
        let text = format!("All nodes run {} already.", request.version);
        return Err(Refusal::new(code::ALREADY_AT_VERSION, text).about("version"));
    }
    let mut builder = Builder::new(input, entry, request.stabilize_minutes, 1);
    for node in &unproven {
        builder.confirm(node);
    }
    builder.install(&due);
    for node in &due {
        builder.roll(node)?;
    }
    Ok(builder.finish(input.operation.revisions + 1, from))
}

fn is_unproven(input: &Input<'_>, node: &NodeName) -> bool {
    let slots = input.seen(node).and_then(|seen| seen.slots.known());
    slots.is_some_and(|slots| slots.slot(slots.booted).health != SlotHealth::Good)
}

fn versions(input: &Input<'_>) -> Result<BTreeMap<NodeName, Version>, Refusal> {
    let of = |name: &NodeName| {
        let version = input.seen(name).and_then(|seen| seen.version.known());
        let unknown = || {
            let text = format!("The version of node \"{name}\" is not known.");
            Refusal::new(code::VALIDATION_FAILED, text)
        };
        Ok((name.clone(), version.ok_or_else(unknown)?.clone()))
    };
    input.topology.names().map(of).collect()
}

/// Nodes in the order of their takeovers.
fn order(input: &Input<'_>) -> Vec<NodeName> {
    let mut pairs = input.topology.pairs();
    pairs.sort_by_key(|(a, b)| *a == input.me || *b == input.me);
    let pair_order = |(a, b)| if a == input.me { [b, a] } else { [a, b] };
    let paired = pairs.into_iter().flat_map(pair_order);
    let is_alone = |name: &&NodeName| input.topology.partner_of(name).is_none();
    let alone = input.topology.names().filter(is_alone);
    paired.chain(alone).cloned().collect()
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
    let mut stands = Vec::new();
    for node in order(input) {
        stands.push((stand(input, &node)?, node));
    }
    let mut builder = Builder::new(input, entry, request.stabilize_minutes, first_id(input));
    // Whoever is with its partner comes home before anything new begins.
    for (stand, node) in &stands {
        if let Stand::TakenByUs { version } = stand {
            let version = version.as_ref();
            builder.come_home(node, version).map_err(as_problem)?;
        }
    }
    let due = |stand: &Stand| stand.version().is_some_and(|v| *v != request.version);
    let all_due = stands.iter().filter(|(stand, _)| due(stand));
    let bare = all_due.filter(|(_, node)| !builder.holds_image(node));
    let to_install: Vec<NodeName> = bare.map(|(_, node)| node.clone()).collect();
    builder.install(&to_install);
    for (stand, node) in &stands {
        let is_new = from.get(node) != Some(&request.version);
        match stand {
            _ if due(stand) => builder.roll(node).map_err(as_problem)?,
            // It came home by hand.
            Stand::Serving { .. } if is_new && !input.operation.updated.contains_key(node) => {
                builder.confirm(node);
            }
            Stand::Serving { .. } | Stand::TakenByUs { .. } => {}
        }
    }
    let revision = previous.map_or(1, |plan| plan.revision + 1);
    Ok(builder.finish(revision, from))
}

/// Numbers of tasks are unique over all revisions.
fn first_id(input: &Input<'_>) -> u32 {
    let started = input.operation.tasks.keys().copied();
    let planned = input.operation.plan.iter().flat_map(Plan::tasks);
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
