//! Why Pacemaker's pair would not do it now. Each reason is a sentence that says what to do about it.

use evenkeel_model::{MemberHa, NodeName, Transition, TransitionStage};

use super::fencing;
use super::hold;
use super::layout::{Lif, Members, Pool};
use super::mark::MarkStage;
use super::monitor::FenceStatus;
use super::seen::Seen;

/// A reason not to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Veto {
    pub(super) why: String,
    /// It ends by itself.
    pub(super) passes: bool,
}

fn stays(why: impl Into<String>) -> Veto {
    Veto {
        why: why.into(),
        passes: false,
    }
}

fn passes(why: impl Into<String>) -> Veto {
    Veto {
        why: why.into(),
        passes: true,
    }
}

/// Why this node would not take its partner over now. The one place that decides it.
pub(super) fn takeover(seen: &Seen) -> Option<Veto> {
    let (by, taken) = (&seen.members.local, &seen.members.partner);
    let mut vetoes: Vec<Veto> = Vec::new();
    vetoes.extend(switched_off(seen));
    vetoes.extend(unread_marks(seen));
    vetoes.extend(standing(seen));
    vetoes.extend(strange(seen));
    for pool in seen.layout.pools_of(taken) {
        vetoes.extend(cannot_run(seen, pool, by));
        vetoes.extend(would_not_return(seen, pool));
    }
    for lif in seen.layout.lone_lifs_of(taken) {
        vetoes.extend(lif_cannot_run(seen, lif, by));
        vetoes.extend(lif_would_not_return(seen, lif));
    }
    for node in [by, taken] {
        if seen.ha(node) != MemberHa::Serving {
            let why = format!(
                "{node} does not serve its own pools: {}",
                seen.ha(node).text()
            );
            vetoes.push(stays(why));
        }
        if seen.is_standby(node) {
            let why = format!("{node} is in standby; end that with `crm_standby -N {node} -D`");
            vetoes.push(stays(why));
        }
    }
    vetoes.extend(fence_device(seen, taken));
    vetoes.extend(cluster(seen));
    vetoes.extend(failure(seen, &[by, taken]));
    choose(vetoes)
}

/// Why this node is not to serve without its partner, though that is proven dead: somebody has said that it must not. Only
/// what we did ourselves is undone.
pub(super) fn alone(seen: &Seen) -> Option<String> {
    let node = &seen.members.local;
    if let Some(veto) = hands_off(seen, node) {
        return Some(veto.why);
    }
    if !seen.is_standby(node) {
        return None;
    }
    if !seen.standby_for_good(node) {
        return Some(format!(
            "{node} is in standby for a time, which Evenkeel never sets; end that with `crm_standby -N {node} -l reboot -D`, \
             or where a service that failed has caused it (on-fail=standby) with `crm_resource --cleanup`"
        ));
    }
    // What cannot be read was left by a later release of ours.
    let ours = match seen.mark(node).map(|mark| mark.stage) {
        Some(MarkStage::Standing) => true,
        Some(MarkStage::GivingBack(_) | MarkStage::GivenBack) => false,
        None => seen.unread(node).is_some(),
    };
    (!ours).then(|| {
        format!(
            "{node} is in standby, and not by Evenkeel; end that with `crm_standby -N {node} -D`"
        )
    })
}

/// Somebody has said that nothing is to be done with the services of this node.
pub(super) fn hands_off(seen: &Seen, node: &NodeName) -> Option<Veto> {
    switched_off(seen).or_else(|| in_maintenance(seen, node))
}

/// What nobody acts on and an operator must know.
pub(super) fn alerts(seen: &Seen) -> Vec<String> {
    let Members { local, partner } = &seen.members;
    let mut alerts = Vec::new();
    let sets = seen.members.both().map(|node| {
        let seen = seen.monitor.nodes.get(node.as_str());
        seen.and_then(|seen| seen.feature_set.as_ref())
    });
    if let [Some(one), Some(other)] = sets
        && one != other
    {
        alerts.push(format!(
            "Pacemaker on {local} has feature set {one}, on {partner} {other}: until both have the newer one, a node that \
             leaves with the newer one may be refused when it returns with the older one"
        ));
    }
    let carried = seen.transition().filter(|it| it.taken == *partner);
    let is_carried = |it: &Transition| match it.stage {
        TransitionStage::TakingOver | TransitionStage::TakenOver => true,
        TransitionStage::GivingBack | TransitionStage::GivenBack => false,
    };
    if let Some(why) = carried.filter(is_carried).and_then(|it| it.trouble) {
        alerts.push(format!(
            "{local} does not serve everything that it has taken over from {partner}: {why}"
        ));
    }
    let unserved = seen.ha(partner) == MemberHa::Fenced && seen.all_on(local).is_err();
    if let Some(why) = alone(seen).filter(|_| unserved) {
        alerts.push(format!(
            "{partner} is dead, and {local} does not serve for it: {why}"
        ));
    }
    alerts
}

/// Why this node would give nothing back to its partner now.
pub(super) fn giveback(seen: &Seen) -> Option<Veto> {
    let (by, to) = (&seen.members.local, &seen.members.partner);
    let mut vetoes: Vec<Veto> = Vec::new();
    match seen.ha(to) {
        MemberHa::WaitingForGiveback | MemberHa::PartialGiveback => {}
        MemberHa::Serving => vetoes.push(stays(format!("{to} has all its pools"))),
        MemberHa::Booting | MemberHa::Down | MemberHa::Fenced => {
            vetoes.push(stays(format!("{to} does not wait for giveback")));
        }
    }
    if !seen.ha(by).serves() {
        vetoes.push(stays(format!("{by} does not serve")));
    }
    vetoes.extend(in_the_way_home(seen));
    choose(vetoes)
}

/// What would be in the way of a giveback. That there is nothing to give back is no veto.
pub(super) fn announced_giveback(seen: &Seen) -> Option<Veto> {
    match seen.ha(&seen.members.partner) {
        MemberHa::Serving => choose(in_the_way_of_all(seen)),
        MemberHa::WaitingForGiveback
        | MemberHa::PartialGiveback
        | MemberHa::Booting
        | MemberHa::Down
        | MemberHa::Fenced => giveback(seen),
    }
}

/// Whoever waits does so for what passes only when nothing else is in the way.
fn choose(vetoes: Vec<Veto>) -> Option<Veto> {
    let permanent = vetoes.iter().find(|veto| !veto.passes).cloned();
    permanent.or_else(|| vetoes.into_iter().next())
}

/// Before a takeover, also what concerns LIFs that move by themselves and resources that are neither. A giveback that is
/// due does not wait for those: the pools go home, and of a LIF that does not it is said when it is sent.
fn in_the_way_of_all(seen: &Seen) -> Vec<Veto> {
    let to = &seen.members.partner;
    let mut vetoes = in_the_way_home(seen);
    vetoes.extend(strange(seen));
    for lif in seen.layout.lone_lifs_of(to) {
        vetoes.extend(lif_cannot_run(seen, lif, to));
        vetoes.extend(lif_would_not_return(seen, lif));
    }
    vetoes
}

fn in_the_way_home(seen: &Seen) -> Vec<Veto> {
    let to = &seen.members.partner;
    let mut vetoes: Vec<Veto> = Vec::new();
    vetoes.extend(switched_off(seen));
    vetoes.extend(unread_marks(seen));
    vetoes.extend(left_holds(seen, to));
    for pool in seen.layout.pools_of(to) {
        vetoes.extend(cannot_run(seen, pool, to));
        vetoes.extend(would_not_return(seen, pool));
    }
    vetoes.extend(cluster(seen));
    // What does not start where it is now has all the more reason to go home.
    vetoes.extend(failure(seen, &[to]));
    vetoes
}

fn switched_off(seen: &Seen) -> Option<Veto> {
    let [one, other] = seen.members.both();
    let option = match (seen.monitor.maintenance, seen.monitor.stopping_all) {
        (true, _) => "maintenance-mode",
        (false, true) => "stop-all-resources",
        (false, false) => return None,
    };
    Some(stays(format!(
        "takeover is switched off between {one} and {other}: the cluster's option {option} is set; end that with \
         `crm_attribute --type crm_config --name {option} --delete`"
    )))
}

fn standing(seen: &Seen) -> Option<Veto> {
    let transition = seen.transition()?;
    let (taken, by) = (&transition.taken, &transition.by);
    // Whoever did it ends it.
    if transition.id.is_none() && seen.is_standby(taken) {
        return Some(stays(format!(
            "{taken} is in standby, and not by Evenkeel: {by} serves for it; end that with `crm_standby -N {taken} -D`"
        )));
    }
    match transition.stage {
        TransitionStage::TakingOver => Some(stays(format!("{by} is taking {taken} over"))),
        TransitionStage::TakenOver | TransitionStage::GivingBack => Some(stays(format!(
            "{by} has taken {taken} over, which is not given back"
        ))),
        TransitionStage::GivenBack => None,
    }
}

/// Without a fence nobody knows that a silent node is dead.
fn fence_device(seen: &Seen, target: &NodeName) -> Option<Veto> {
    if !seen.monitor.fencing {
        return Some(stays(
            "fencing is switched off; configure it, test it, and set the cluster's option stonith-enabled",
        ));
    }
    match fencing::devices(seen, target).first() {
        None => Some(stays(format!(
            "no fence device can fence {target}; configure one whose pcmk_host_list has {target}"
        ))),
        Some(device) if !device.works => Some(stays(format!(
            "fence device {} does not work; repair it, then `crm_resource --cleanup -r {}`",
            device.id, device.id
        ))),
        Some(_) => None,
    }
}

/// A takeover whose mark is not understood: nobody knows whether it stands.
fn unread_marks(seen: &Seen) -> Vec<Veto> {
    let [one, other] = seen.members.both();
    let unread = [seen.unread(one), seen.unread(other)];
    let unread = unread.into_iter().flatten();
    unread
        .map(|why| {
            stays(format!(
                "{why}; a later release of Evenkeel has written it: bring both nodes to that release, or remove the attribute \
                 when all pools are home"
            ))
        })
        .collect()
}

/// What of the configuration is not understood, and so not looked after.
fn strange(seen: &Seen) -> Vec<Veto> {
    let all = seen.layout.strange.iter();
    all.map(|why| stays(why.as_str())).collect()
}

/// A constraint, or an admin's word, that keeps a pool from a node.
fn cannot_run(seen: &Seen, pool: &Pool, node: &NodeName) -> Option<Veto> {
    let name = pool.name.as_str();
    let own = pool.services.iter().map(String::as_str);
    banned(seen, name, own.chain([name]), node)
}

/// The same of a LIF that moves by itself.
fn lif_cannot_run(seen: &Seen, lif: &Lif, node: &NodeName) -> Option<Veto> {
    let name = lif.name.as_str();
    banned(seen, name, [name].into_iter(), node)
}

fn banned<'a>(
    seen: &Seen,
    name: &str,
    mut all: impl Iterator<Item = &'a str>,
    node: &NodeName,
) -> Option<Veto> {
    let constraint = all.find_map(|id| seen.ban(id, node))?;
    let undo = match constraint.starts_with("cli-") {
        true => format!("`crm_resource --clear -r {name}`"),
        false => format!("`pcs constraint delete {constraint}` or the like"),
    };
    Some(stays(format!(
        "{name} may not run on {node} by constraint {constraint}; remove it with {undo}"
    )))
}

fn would_not_return(seen: &Seen, pool: &Pool) -> Option<Veto> {
    stays_away(seen, (pool.name.as_str(), &pool.home), pool.pull)
}

fn lif_would_not_return(seen: &Seen, lif: &Lif) -> Option<Veto> {
    stays_away(seen, (lif.name.as_str(), &lif.home), lif.pull)
}

fn stays_away(seen: &Seen, (name, home): (&str, &NodeName), pull: i64) -> Option<Veto> {
    if pull > 0 {
        return None;
    }
    let mut locations = seen.cib.locations.iter();
    let by_command = |id: &str| id.starts_with("cli-prefer-") || id.starts_with("cli-ban-");
    let moved = locations.find(|one| one.resource == name && by_command(&one.id));
    Some(stays(match moved {
        Some(constraint) => format!(
            "{name} was moved by hand and is held by constraint {}; remove it with `crm_resource --clear -r {name}`",
            constraint.id
        ),
        None => format!(
            "{name} would not come home to {home}: its preference for {home} does not outweigh its stickiness and its \
             preference for the partner (by {pull}); lower resource-stickiness, or raise the preference"
        ),
    }))
}

/// Holds without a giveback of ours: the node was lost in the midst of one.
fn left_holds(seen: &Seen, node: &NodeName) -> Option<Veto> {
    let transition = seen.transition()?;
    let holds = hold::all_on(&seen.cib, node);
    let hold = holds.first().filter(|_| transition.id.is_none())?;
    Some(stays(format!(
        "{node} was lost while it was given back; when it is well, give it the rest by hand: \
         `cibadmin --delete --xml-text '<rsc_location id=\"{hold}\"/>'`{}",
        match holds.len() {
            1 => String::new(),
            more => format!(", and {} like it", more - 1),
        }
    )))
}

/// The cluster's own health, which both directions need.
fn cluster(whole: &Seen) -> Vec<Veto> {
    let mut vetoes = Vec::new();
    let monitor = &whole.monitor;
    if !monitor.controller {
        vetoes.push(passes("the cluster has no designated controller yet"));
    } else if !monitor.quorate {
        vetoes.push(stays(
            "the cluster is without quorum; bring its missing nodes or its quorum device back",
        ));
    }
    for node in whole.members.both() {
        let seen = monitor.nodes.get(node.as_str());
        vetoes.extend(in_maintenance(whole, node));
        if seen.is_some_and(|seen| seen.shutdown) {
            vetoes.push(stays(format!("{node} is shutting down")));
        }
    }
    vetoes.extend(fencings(whole));
    vetoes.extend(services(whole));
    vetoes
}

fn in_maintenance(seen: &Seen, node: &NodeName) -> Option<Veto> {
    let seen = seen.monitor.nodes.get(node.as_str())?;
    seen.maintenance.then(|| {
        stays(format!(
            "{node} is in maintenance; end that with `crm_attribute -N {node} -n maintenance -D`"
        ))
    })
}

fn fencings(seen: &Seen) -> Option<Veto> {
    let fences = match &seen.monitor.fences {
        Ok(fences) => fences,
        Err(why) => return Some(stays(format!("{why}; see that pacemaker-fenced runs"))),
    };
    let [one, other] = seen.members.both().map(NodeName::as_str);
    // The newest one of each node counts: what failed and succeeded later is settled.
    let newest = |node: &str| fences.iter().find(|fence| fence.target == node);
    let newest = [newest(one), newest(other)];
    newest.into_iter().flatten().find_map(|fence| {
        let target = &fence.target;
        match fence.status {
            FenceStatus::Success => None,
            FenceStatus::Pending => Some(passes(format!("{target} is being fenced"))),
            FenceStatus::Failed => Some(stays(format!(
                "the newest fencing of {target} failed; find out why, then \
                 `stonith_admin --cleanup --history {target}`"
            ))),
        }
    })
}

fn services(seen: &Seen) -> Vec<Veto> {
    let mut vetoes = Vec::new();
    for id in seen.layout.services() {
        let Some(service) = seen.monitor.services.get(id) else {
            vetoes.push(stays(format!(
                "{id} is configured, and unknown to the cluster's state"
            )));
            continue;
        };
        let what = match (service.failed, service.blocked, service.managed) {
            (true, _, _) => "has failed",
            (_, true, _) => "is blocked",
            (_, _, false) => "is not managed",
            (false, false, true) => match &service.pending {
                Some(what) => {
                    vetoes.push(passes(format!("{id} is {}", what.to_lowercase())));
                    continue;
                }
                None => continue,
            },
        };
        vetoes.push(stays(format!(
            "{id} {what}; see to it, then `crm_resource --cleanup -r {id}`"
        )));
    }
    vetoes
}

/// An action that failed on one of these nodes and was not cleaned up: Pacemaker may have banned a service from it for that.
fn failure(seen: &Seen, nodes: &[&NodeName]) -> Option<Veto> {
    let mut failures = seen.monitor.failures.iter();
    let failure = failures.find(|one| nodes.iter().any(|node| node.as_str() == one.node))?;
    Some(stays(format!(
        "{}; see to it, then `crm_resource --cleanup`",
        failure.text()
    )))
}
