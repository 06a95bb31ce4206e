//! What is seen of an HA pair: takeovers that stand, whose they are, and whether a new one may be made.

use evenkeel_model::{
    Action, ClusterObservation, Finding, MemberHa, MemberState, NodeName, NodeObservation,
    PairState, PoolHealth, PoolState, TaskError, TaskState, Topology, Transition, TransitionId,
    TransitionStage,
};

use crate::checks::{SP, sp_silence};
use crate::input::Input;
use crate::judge::permanent;

/// The pair of `node` as it, or its partner, sees it.
pub(crate) fn pair_of<'a>(input: &Input<'a>, node: &NodeName) -> Option<&'a PairState> {
    let by = |name: &NodeName| {
        let seen = input.observations.get(name)?.known()?;
        seen.pair.known()?.as_ref()
    };
    by(node).or_else(|| by(input.topology.partner_of(node)?))
}

/// The takeovers that stand in the cluster, as either partner sees them.
pub(crate) fn all_standing<'a>(
    topology: &Topology,
    observations: &'a ClusterObservation,
) -> Vec<&'a Transition> {
    let seen_by = |name: &NodeName| {
        let pair = observations.get(name)?.known()?.pair.known()?.as_ref()?;
        Some(pair)
    };
    let pairs = topology.pairs().into_iter();
    pairs
        .filter_map(|(node, partner)| standing(seen_by(node).or_else(|| seen_by(partner))?))
        .collect()
}

/// One of the two members.
pub(crate) fn member<'a>(pair: &'a PairState, node: &NodeName) -> &'a MemberState {
    if pair.local.node == *node {
        &pair.local
    } else {
        &pair.partner
    }
}

/// The takeover that stands in the pair, whole or in part.
pub(crate) fn standing(pair: &PairState) -> Option<&Transition> {
    let newest = pair.transition.as_ref();
    newest.filter(|t| t.stage != TransitionStage::GivenBack)
}

/// A standing takeover in the pair that is not this update's.
pub(crate) fn foreign(input: &Input<'_>, node: &NodeName) -> Option<TaskError> {
    let pair = pair_of(input, node)?;
    let standing = standing(pair)?;
    if input.operation.is_ours(standing.id) {
        return None;
    }
    let (taken, by) = (&standing.taken, &standing.by);
    let whole = standing.stage != TransitionStage::TakingOver;
    if whole && !standing.clean && standing.id.is_none() {
        return Some(permanent(
            format!(
                "node \"{taken}\" went down, and node \"{by}\" has taken it over by itself, not by \
                 this update"
            ),
            &format!(
                "Find out from the console of node \"{taken}\" why, and bring it up. When it is in \
                 \"waiting for giveback\" state, give it back, then resume."
            ),
        ));
    }
    Some(permanent(
        format!("node \"{taken}\" was taken over by node \"{by}\", not by this update"),
        &format!(
            "Find out why. When node \"{taken}\" is in \"waiting for giveback\" state, give it back, then resume."
        ),
    ))
}

/// What keeps a node from being wholly at home. On a cluster of one node there is no pair to look at.
pub(crate) fn not_home(
    input: &Input<'_>,
    node: &NodeName,
    seen: &NodeObservation,
) -> Option<String> {
    let pair: Option<&PairState> = match seen.pair.as_result() {
        Ok(Some(pair)) => Some(pair),
        Ok(None) if input.topology.partner_of(node).is_none() => None,
        Ok(None) => return Some("it knows of no HA partner".to_owned()),
        Err(why) => return Some(format!("its pair is not known: {why}")),
    };
    for member in pair
        .into_iter()
        .flat_map(|pair| [&pair.local, &pair.partner])
    {
        if member.ha != MemberHa::Serving {
            return Some(format!("node \"{}\": {}", member.node, member.ha.text()));
        }
    }
    let pools = match seen.pools.as_result() {
        Ok(pools) => pools,
        Err(why) => return Some(format!("its pools are not known: {why}")),
    };
    let away = |pool: &&PoolState| pool.owner.as_ref() != Some(&pool.home);
    if let Some(pool) = pools.iter().find(away) {
        return Some(format!(
            "pool \"{}\" is not with node \"{}\"",
            pool.name, pool.home
        ));
    }
    if let Some(pool) = pools.iter().find(|pool| pool.health != PoolHealth::Online) {
        return Some(format!(
            "pool \"{}\" is not online with full redundancy",
            pool.name
        ));
    }
    let lifs = match seen.lifs.as_result() {
        Ok(lifs) => lifs,
        Err(why) => return Some(format!("its LIFs are not known: {why}")),
    };
    let away = lifs
        .iter()
        .find(|lif| lif.home == *node && lif.current.as_ref() != Some(node));
    away.map(|lif| format!("LIF \"{}\" is not home", lif.name))
}

/// Whether the pair of `node` is fit for its takeover now, or what it waits for.
pub(crate) fn fit_for_takeover(input: &Input<'_>, node: &NodeName) -> Result<(), String> {
    let partner = input.topology.partner_of(node).ok_or("it has no partner")?;
    for name in [node, partner] {
        let Some(seen) = input.seen(name) else {
            return Err(format!(
                "node \"{name}\" does not answer: {}",
                input.why_silent(name)
            ));
        };
        let pair = seen.pair.known().and_then(Option::as_ref);
        let taken = pair
            .and_then(standing)
            .map(|t| format!("node \"{}\" is taken over by node \"{}\"", t.taken, t.by));
        if let Some(what) = taken.or_else(|| not_home(input, name, seen)) {
            return Err(format!("before the takeover of node \"{node}\": {what}"));
        }
    }
    let by = input.seen(partner).and_then(|seen| seen.pair.known());
    if let Some(Some(pair)) = by
        && let Some(veto) = pair.takeover_veto.as_ref()
        && pair.takeover_veto_passes
    {
        return Err(format!(
            "node \"{partner}\" does not take node \"{node}\" over yet: {veto}"
        ));
    }
    for name in [node, partner] {
        service_processor_lost(input, name)?;
    }
    Ok(())
}

/// A node that hangs is reached through its service processor only. One that has died since the checks ran
/// was accepted by nobody.
fn service_processor_lost(input: &Input<'_>, node: &NodeName) -> Result<(), String> {
    let Some(seen) = input.seen(node) else {
        return Ok(());
    };
    let silence = sp_silence(node);
    let mut warned = input.operation.findings.iter().flatten();
    let is_accepted = |found: &Finding| found.check == SP && found.about.contains(&silence);
    match seen.sp.as_result() {
        Ok(sp) if sp.reachable => Ok(()),
        Ok(_) if warned.any(is_accepted) => Ok(()),
        Ok(_) => Err(format!(
            "the service processor of node \"{node}\" has stopped answering since the update was \
             validated: nobody could reach the node if it hung"
        )),
        Err(why) => Err(format!(
            "whether the service processor of node \"{node}\" answers is not known: {why}"
        )),
    }
}

/// Whether the node has its pools again after a takeover of ours, and no giveback of ours came to its end: what
/// comes after the pools, the LIFs above all, was not seen at home by any of our tasks.
pub(crate) fn giveback_unproven(input: &Input<'_>, node: &NodeName) -> bool {
    let newest = pair_of(input, node).and_then(|pair| pair.transition.as_ref());
    let given_back = |t: &&Transition| t.taken == *node && t.stage == TransitionStage::GivenBack;
    let Some(newest) = newest.filter(given_back) else {
        return false;
    };
    let proven = input.operation.tasks.values().any(|progress| {
        progress.task.action == Action::Giveback
            && progress.transition == newest.id
            && matches!(progress.state, TaskState::Done { .. })
    });
    let is_over = input.operation.updated.contains_key(node);
    input.operation.is_ours(newest.id) && !proven && !is_over
}

/// Why the node that carries `node` does not give it back for now.
pub(crate) fn giveback_held(input: &Input<'_>, node: &NodeName) -> Option<String> {
    let partner = input.topology.partner_of(node)?;
    let pair = input.seen(partner)?.pair.known()?.as_ref()?;
    let veto = pair.giveback_veto.as_ref()?;
    pair.giveback_veto_passes
        .then(|| format!("node \"{partner}\" does not give back to node \"{node}\" yet: {veto}"))
}

/// Whether this takeover of `node` stands, whole or in part.
pub(crate) fn stands(input: &Input<'_>, node: &NodeName, transition: Option<TransitionId>) -> bool {
    let standing = pair_of(input, node).and_then(standing);
    transition.is_some() && standing.is_some_and(|t| t.taken == *node && t.id == transition)
}
