//! What is seen of an HA pair: takeovers that stand, whose they are, and whether a new one may be made.

use evenkeel_model::{
    MemberHa, MemberState, NodeName, NodeObservation, PairState, PoolHealth, PoolState, TaskError,
    Transition, TransitionId, TransitionStage,
};

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
    Some(permanent(
        format!("node \"{taken}\" was taken over by node \"{by}\", not by this update"),
        "Find out why, give it back, then resume.",
    ))
}

/// What keeps a node from being wholly at home.
pub(crate) fn not_home(node: &NodeName, seen: &NodeObservation) -> Option<String> {
    let pair: &PairState = match seen.pair.as_result() {
        Ok(Some(pair)) => pair,
        Ok(None) => return Some("it knows of no HA partner".to_owned()),
        Err(why) => return Some(format!("its pair is not known: {why}")),
    };
    for member in [&pair.local, &pair.partner] {
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
        if let Some(what) = taken.or_else(|| not_home(name, seen)) {
            return Err(format!("before the takeover of node \"{node}\": {what}"));
        }
    }
    (input.survives_without)(std::slice::from_ref(node))
        .map_err(|why| format!("the record would not survive without node \"{node}\": {why}"))
}

/// Whether this takeover of `node` stands, whole or in part.
pub(crate) fn stands(input: &Input<'_>, node: &NodeName, transition: Option<TransitionId>) -> bool {
    let standing = pair_of(input, node).and_then(standing);
    transition.is_some() && standing.is_some_and(|t| t.taken == *node && t.id == transition)
}
