//! What is seen of an HA pair: takeovers that stand, whose they are, and whether a new one may be made.

use evenkeel_model::{
    Action, ClusterObservation, Finding, LifState, MemberHa, MemberState, NodeName,
    NodeObservation, PairState, PoolHealth, PoolState, TaskError, TaskState, Topology, Transition,
    TransitionId, TransitionStage,
};

use crate::checks::{SP, sp_silence};
use crate::input::Input;
use crate::judge::permanent;
use crate::lack::Lack;
use crate::sight::{sighted, untold};
use crate::stand_in::{cannot_stand_in, lost_path};

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
pub(crate) fn not_home(input: &Input<'_>, node: &NodeName, seen: &NodeObservation) -> Option<Lack> {
    not_serving(input, node, seen)
        .or_else(|| pool_away(input, node, seen))
        .or_else(|| lif_away(node, seen))
}

fn not_serving(input: &Input<'_>, node: &NodeName, seen: &NodeObservation) -> Option<Lack> {
    let pair: &PairState = match seen.pair.as_result() {
        Ok(Some(pair)) => pair,
        Ok(None) if input.topology.partner_of(node).is_none() => return None,
        Ok(None) => {
            return Some(Lack::new(
                format!("node \"{node}\" knows of no HA partner"),
                format!("Configure the HA pair of node \"{node}\""),
            ));
        }
        Err(why) => {
            return Some(Lack::new(
                format!("the pair of node \"{node}\" is not known: {why}"),
                format!("See to the HA services of node \"{node}\" until it sees its pair again"),
            ));
        }
    };
    let mut members = [&pair.local, &pair.partner].into_iter();
    let away = members.find(|member| member.ha != MemberHa::Serving)?;
    Some(Lack::new(
        format!("node \"{}\": {}", away.node, away.ha.text()),
        format!("Bring node \"{}\" back into service", away.node),
    ))
}

fn pool_away(input: &Input<'_>, node: &NodeName, seen: &NodeObservation) -> Option<Lack> {
    let pools = match seen.pools.as_result() {
        Ok(pools) => pools,
        Err(why) => return Some(Lack::blind(node, "pools", why)),
    };
    let is_away = |pool: &&PoolState| pool.owner.as_ref() != Some(&pool.home);
    if let Some(PoolState { name, home, .. }) = pools.iter().find(is_away) {
        return Some(Lack::new(
            format!("pool \"{name}\" is not with node \"{home}\""),
            format!("Give pool \"{name}\" back to node \"{home}\""),
        ));
    }
    let told = |pool| sighted(pool, |owner| input.seen(owner));
    if let Some(pool) = pools.iter().find(|pool| told(pool).is_none()) {
        return Some(Lack::new(
            untold(pool),
            format!(
                "See to the storage of the node that serves pool \"{}\"",
                pool.name
            ),
        ));
    }
    let mut told = pools.iter().filter_map(told);
    let unwell = told.find(|pool| pool.health != PoolHealth::Online)?;
    let name = &unwell.name;
    Some(Lack::new(
        format!("pool \"{name}\" is not online with full redundancy"),
        format!("Replace what has failed of pool \"{name}\" and wait for its rebuild"),
    ))
}

fn lif_away(node: &NodeName, seen: &NodeObservation) -> Option<Lack> {
    let lifs = match seen.lifs.as_result() {
        Ok(lifs) => lifs,
        Err(why) => return Some(Lack::blind(node, "LIFs", why)),
    };
    let is_away = |lif: &&LifState| lif.home == *node && lif.current.as_ref() != Some(node);
    let name = &lifs.iter().find(is_away)?.name;
    Some(Lack::new(
        format!("LIF \"{name}\" is not home"),
        format!("Send LIF \"{name}\" home to node \"{node}\""),
    ))
}

/// Whether the pair of `node` is fit for its takeover now, or what it waits for: everything at home, and each
/// partner able to stand in for the other.
pub(crate) fn fit_for_takeover(input: &Input<'_>, node: &NodeName) -> Result<(), String> {
    let partner = input.topology.partner_of(node).ok_or("it has no partner")?;
    for name in [node, partner] {
        let Some(seen) = input.seen(name) else {
            return Err(Lack::silent(name, &input.why_silent(name)).what);
        };
        let pair = seen.pair.known().and_then(Option::as_ref);
        let taken = pair
            .and_then(standing)
            .map(|t| format!("node \"{}\" is taken over by node \"{}\"", t.taken, t.by));
        let lacks = || not_home(input, name, seen).or_else(|| lost_path(name, seen));
        if let Some(what) = taken.or_else(|| Some(lacks()?.what)) {
            return Err(format!("before the takeover of node \"{node}\": {what}"));
        }
        not_writing(name, seen)?;
    }
    if let Some(Lack { what, .. }) = cannot_stand_in(input, node) {
        return Err(format!("before the takeover of node \"{node}\": {what}"));
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

/// What writes firmware to a device must not go down in the middle, nor may the one that would have to fence it be
/// without its service processor. No firmware update is open beside this one, but a node that was cut off finishes
/// what it had begun.
pub(crate) fn not_writing(node: &NodeName, seen: &NodeObservation) -> Result<(), String> {
    match firmware_work(seen) {
        Some(work) => Err(format!("node \"{node}\" writes firmware: {work}")),
        None => Ok(()),
    }
}

/// What a node does for its devices' firmware now, if it says so.
pub(crate) fn firmware_work(seen: &NodeObservation) -> Option<&str> {
    let firmware = seen.firmware.known()?;
    let work = firmware.work.first().map(String::as_str);
    work.or_else(|| firmware.at_work.then_some("between two devices"))
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
        Ok(sp) if sp.reachable || sp.absent => Ok(()),
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
