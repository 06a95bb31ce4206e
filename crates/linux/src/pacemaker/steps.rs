//! What to do next, by one look at the cluster. Each function is asked again after each change until it says that all is
//! done, so that whoever begins anew after a kill goes on from what is there.

use evenkeel_model::{BootId, LifName, MemberHa, NodeName, Transition, TransitionStage};

use super::edit::Edit;
use super::foresee::Expect;
use super::hold;
use super::layout::Pool;
use super::mark::{self, Life, Mark, MarkStage};
use super::seen::{Doubt, Seen, Unserved};
use super::vetoes::{self, Veto};
use evenkeel_platform::{GivebackRequest, TakeoverRequest};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    /// It must not be done as things are.
    Refuse(String),
    /// Not now; later it may be.
    NotYet(String),
    /// This is to be changed, as a whole, if it leads to what is expected.
    Change(Vec<Edit>, Expect),
    /// The cluster is at it.
    Wait(String),
}

impl From<Veto> for Step {
    fn from(veto: Veto) -> Self {
        match veto.passes {
            true => Self::NotYet(veto.why),
            false => Self::Refuse(veto.why),
        }
    }
}

/// Takes the partner over.
pub(super) fn take_over(seen: &Seen, request: &TakeoverRequest) -> Step {
    let (by, taken) = (&seen.members.local, &seen.members.partner);
    let marks = [seen.mark(by), seen.mark(taken)];
    if marks
        .into_iter()
        .flatten()
        .any(|mark| mark.id == request.id)
    {
        return Step::Done;
    }
    for (node, expected) in [(by, request.local_boot), (taken, request.partner_boot)] {
        if seen.boot(node) != Some(expected) {
            return Step::Refuse(format!("{node} does not run in boot {expected}"));
        }
    }
    if let Some(veto) = vetoes::takeover(seen) {
        return veto.into();
    }
    let mark = Mark {
        id: request.id,
        seq: seen.next_seq(),
        by: by.clone(),
        boot: request.partner_boot,
        stage: MarkStage::Standing,
    };
    let edits = vec![
        set(taken, mark::TRANSITION, &mark),
        set(taken, mark::STANDBY, &"on"),
        clear(taken, mark::CLEAN),
        clear(taken, mark::UNDONE),
    ];
    Step::Change(edits, Expect::AllOn(by.clone()))
}

/// Gives one pool back to the partner, or ends the takeover of one that has no pool away.
pub(super) fn give_back(seen: &Seen, request: &GivebackRequest) -> Step {
    let (by, to) = (&seen.members.local, &seen.members.partner);
    if let Some(why) = seen.unread(to) {
        return Step::Refuse(why.to_owned());
    }
    let transition = seen.transition();
    let ours = transition.filter(|t| t.id == Some(request.id) && t.by == *by && t.taken == *to);
    let (Some(transition), Some(mark)) = (ours, seen.mark(to)) else {
        return Step::Refuse(format!("{by} does not hold takeover {}", request.id));
    };
    let Some(name) = &request.pool else {
        return give_nothing_back(seen, (&transition, mark));
    };
    let Some(pool) = seen.layout.pool(name).filter(|pool| pool.home == *to) else {
        return Step::Refuse(format!("{name} is not a pool of {to}"));
    };
    if seen.owner(pool).as_ref() == Some(to) {
        return finish(seen, to).map_or(Step::Done, |edits| Step::Change(edits, Expect::Anything));
    }
    if transition.stage == TransitionStage::TakingOver {
        return Step::NotYet(format!("{by} is taking {to} over"));
    }
    let on_its_way =
        !seen.is_standby(to) && hold::of(&seen.cib, &seen.layout, to, name.as_str()).is_empty();
    // What is on its way is being stopped and started: that is no reason against it.
    let veto = vetoes::giveback(seen).filter(|veto| !(on_its_way && veto.passes));
    if let Some(veto) = veto {
        return veto.into();
    }
    let away = |pool: &&Pool| pool.root && seen.owner(pool).as_ref() != Some(to);
    if let Some(root) = seen.layout.pools_of(to).find(away).filter(|_| !pool.root) {
        return Step::Refuse(format!(
            "the root pool {} of {to} goes before {name}",
            root.name
        ));
    }
    match on_its_way {
        true => Step::Wait(format!("pool {name} to be served by {to}")),
        false => release(seen, (to, mark), pool),
    }
}

/// Ends a takeover that holds no pool: that of a node without pools of its own, or whose pools an admin has stopped. What
/// else it has, as LIFs that move by themselves, goes home with the end of standby.
fn give_nothing_back(seen: &Seen, (transition, mark): (&Transition, &Mark)) -> Step {
    let to = &transition.taken;
    let away = |pool: &&Pool| seen.owner(pool).as_ref() != Some(to);
    if let Some(pool) = seen.layout.pools_of(to).find(away) {
        return Step::Refuse(format!("pool {} of {to} is to go home", pool.name));
    }
    if !seen.is_standby(to) && seen.is_home(to) {
        return finish(seen, to).map_or(Step::Done, |edits| Step::Change(edits, Expect::Anything));
    }
    if transition.stage == TransitionStage::TakingOver {
        return Step::NotYet(format!("{} is taking {to} over", transition.by));
    }
    if !seen.is_standby(to) {
        let left = hold::all_on(&seen.cib, to).into_iter();
        let ends = left.map(|id| Edit::Release { id });
        return Step::Change(ends.collect(), Expect::NothingLost);
    }
    if let Some(veto) = vetoes::giveback(seen) {
        return veto.into();
    }
    match end_of_standby(seen, (to, mark)) {
        Ok(edits) => Step::Change(edits, Expect::NothingLost),
        Err(why) => Step::Refuse(why),
    }
}

/// The end of our standby, noted with the boot of the node that it is for.
fn end_of_standby(seen: &Seen, (to, mark): (&NodeName, &Mark)) -> Result<Vec<Edit>, String> {
    let Some(boot) = seen.boot(to).filter(|boot| *boot != mark.boot) else {
        return Err(format!("{to} has not booted since it was taken over"));
    };
    let mark = Mark {
        stage: MarkStage::GivingBack(boot),
        ..mark.clone()
    };
    Ok(vec![
        set(to, mark::TRANSITION, &mark),
        clear(to, mark::STANDBY),
    ])
}

/// Lets a pool go home: ends standby if this is the first one, with holds on the others in the same change.
fn release(seen: &Seen, (to, mark): (&NodeName, &Mark), pool: &Pool) -> Step {
    let name = pool.name.as_str();
    let home = Expect::Home(pool.name.clone(), to.clone());
    if !seen.is_standby(to) {
        let mut ends = hold::of(&seen.cib, &seen.layout, to, name);
        let all = hold::all_on(&seen.cib, to);
        let later = stay_away(seen, to, name);
        if !later.iter().any(|id| all.contains(&hold::id(id))) {
            ends = all;
        }
        let ends = ends.into_iter().map(|id| Edit::Release { id });
        return Step::Change(ends.collect(), home);
    }
    let mut edits = match end_of_standby(seen, (to, mark)) {
        Ok(edits) => edits,
        Err(why) => return Step::Refuse(why),
    };
    let old = hold::all_on(&seen.cib, to);
    let later = stay_away(seen, to, name);
    let later = later.into_iter().filter(|id| !old.contains(&hold::id(id)));
    edits.extend(later.map(|resource| Edit::Hold {
        id: hold::id(resource),
        resource: resource.to_owned(),
        node: to.to_string(),
    }));
    Step::Change(edits, home)
}

/// What is not to go home with pool `name`: the other pools that need not be where it is, and with them the LIFs that
/// move by themselves. With the last pool everything goes.
fn stay_away<'a>(seen: &'a Seen, to: &NodeName, name: &str) -> Vec<&'a str> {
    let apart = |id: &&str| !seen.layout.are_together(id, name);
    let is_home = |pool: &Pool| seen.owner(pool).as_ref() == Some(to);
    let mut pools = seen.layout.pools_of(to).filter(|pool| !is_home(pool));
    match pools.any(|pool| apart(&pool.name.as_str()) && pool.name.as_str() != name) {
        true => {
            let home = seen.layout.pools_of(to).filter(|pool| is_home(pool));
            let home: Vec<&str> = home.map(|pool| pool.name.as_str()).collect();
            let all = seen.layout.movable_of(to).into_iter();
            all.filter(|id| *id != name && apart(id) && !home.contains(id))
                .collect()
        }
        false => Vec::new(),
    }
}

/// Notes that the giveback of `node` is over, if it is and that is not noted yet.
fn finish(seen: &Seen, node: &NodeName) -> Option<Vec<Edit>> {
    let mark = seen.mark(node)?;
    let open = match mark.stage {
        MarkStage::Standing | MarkStage::GivingBack(_) => true,
        MarkStage::GivenBack => false,
    };
    if !open || seen.is_standby(node) || !seen.is_home(node) {
        return None;
    }
    let mark = Mark {
        stage: MarkStage::GivenBack,
        ..mark.clone()
    };
    Some(vec![set(node, mark::TRANSITION, &mark)])
}

/// Serves without the partner.
pub(super) fn serve_alone(seen: &Seen) -> Step {
    let (node, partner) = (&seen.members.local, &seen.members.partner);
    let holds = hold::all_on(&seen.cib, node);
    let kept_away = seen.is_standby(node) || !holds.is_empty();
    if seen.ha(partner) != MemberHa::Fenced {
        return match seen.ha(node) == MemberHa::Serving && !kept_away {
            true => Step::Done,
            false => Step::Refuse(format!("there is no proof that {partner} is dead")),
        };
    }
    let served = seen.all_on(node);
    if !kept_away && served.is_ok() {
        return Step::Done;
    }
    if let Some(why) = vetoes::alone(seen) {
        return Step::Refuse(why);
    }
    if let (false, Err(why)) = (kept_away, served) {
        return Step::Wait(why);
    }
    let mut edits = vec![clear(node, mark::STANDBY)];
    edits.extend(holds.into_iter().map(|id| Edit::Release { id }));
    // One that cannot be read is a later release's, which notes for itself what became of it.
    if let Some(mark) = seen.mark(node) {
        let mark = Mark {
            stage: MarkStage::GivenBack,
            ..mark.clone()
        };
        edits.push(set(node, mark::TRANSITION, &mark));
    }
    Step::Change(edits, Expect::Anything)
}

/// Sends a LIF home.
pub(super) fn send_home(seen: &Seen, name: &LifName) -> Step {
    let Some(lif) = seen.layout.lifs.iter().find(|lif| lif.name == *name) else {
        let [one, other] = seen.members.both();
        return Step::Refuse(format!("{name} is not a LIF of {one} or {other}"));
    };
    let home = &lif.home;
    if seen.current(lif).as_ref() == Some(home) {
        return Step::Done;
    }
    if !seen.enabled() {
        return Step::Refuse("the cluster is told to keep its hands off".to_owned());
    }
    if !seen.ha(home).serves() || seen.is_standby(home) {
        return Step::Refuse(format!("{home} does not serve, so {name} cannot go home"));
    }
    if let Some(constraint) = seen.ban(name.as_str(), home) {
        return Step::Refuse(format!(
            "{name} may not run on {home} by constraint {constraint}; remove it"
        ));
    }
    if let Some(pool) = lif.pool.as_ref().and_then(|pool| seen.layout.pool(pool)) {
        return match seen.owner(pool).as_ref() == Some(home) {
            true => Step::Wait(format!("LIF {name} to be on {home}")),
            false => Step::Refuse(format!(
                "{name} goes with pool {}, which is not with {home}",
                pool.name
            )),
        };
    }
    if lif.pull <= 0 {
        return Step::Refuse(format!(
            "{name} would not go home to {home}: lower its resource-stickiness, or raise its preference for {home}"
        ));
    }
    let holds = hold::of(&seen.cib, &seen.layout, home, name.as_str());
    match holds.is_empty() {
        true => Step::Wait(format!("LIF {name} to be on {home}")),
        false => {
            let ends = holds.into_iter().map(|id| Edit::Release { id });
            Step::Change(ends.collect(), Expect::Anything)
        }
    }
}

/// What a node does for its own part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    Nothing,
    /// A note to make.
    Note(Vec<Edit>),
    /// To note that this node is about to shut down, if its partner's addresses answer.
    Leave(Vec<Edit>),
    /// To take back what the partner holds of this node, if it stays so: it does not serve it, for this reason.
    TakeBack(Unserved),
    /// To tell the cluster which boot this is.
    TellBoot,
    /// To shut down cleanly and boot the default slot: the partner serves everything, and that was noted.
    Reboot,
}

/// Looks after this node's part, whose boot is `own`.
pub(super) fn duty(seen: &Seen, own: BootId) -> Duty {
    let node = &seen.members.local;
    if !seen.monitor.is_up(node.as_str()) {
        return Duty::Nothing;
    }
    let life = mark::life(&seen.cib, node);
    // A fencing that this boot has outlived was before it: a node that has just joined learns of those late.
    if life.is_none_or(|life| life.boot != own) || seen.is_fenced(node) {
        // Without the history it would be noted that there was no fencing before.
        return match seen.monitor.fences {
            Ok(_) => Duty::Note(vec![set(node, mark::LIFE, &new_life(seen, own))]),
            Err(_) => Duty::Nothing,
        };
    }
    if seen.boot(node) != Some(own) {
        return Duty::TellBoot;
    }
    if let Some(duty) = leave(seen, own) {
        return duty;
    }
    if let Some(unserved) = unserved(seen) {
        return Duty::TakeBack(unserved);
    }
    let mut over = seen
        .members
        .both()
        .into_iter()
        .filter_map(|n| finish(seen, n));
    over.next().map_or(Duty::Nothing, Duty::Note)
}

fn new_life(seen: &Seen, own: BootId) -> Life {
    Life {
        boot: own,
        fenced: seen.newest_fencing(&seen.members.local),
    }
}

/// This very boot is to end by our takeover, and nothing depends on it any more.
fn leave(seen: &Seen, own: BootId) -> Option<Duty> {
    let (node, partner) = (&seen.members.local, &seen.members.partner);
    let mark = seen.mark(node)?;
    let due = mark.stage == MarkStage::Standing && mark.boot == own && seen.standby_for_good(node);
    let carried = seen.is_empty(node)
        && seen.boot(partner).is_some()
        && !seen.is_standby(partner)
        && seen.all_on(partner).is_ok();
    if !due || !carried {
        return None;
    }
    Some(match seen.was_clean(node, mark) {
        true => Duty::Reboot,
        false => Duty::Leave(vec![set(node, mark::CLEAN, &mark.id)]),
    })
}

/// What this node, which is up, would serve better than its partner serves it by a takeover of ours: all of it, and in the midst of a
/// giveback what is held for a partner that is gone.
fn unserved(seen: &Seen) -> Option<Unserved> {
    let node = &seen.members.local;
    let unserved = seen.unserved(node)?;
    let is_ours = match seen.mark(node)?.stage {
        MarkStage::Standing => seen.standby_for_good(node),
        MarkStage::GivingBack(_) => unserved.doubt == Doubt::Left && !seen.is_standby(node),
        MarkStage::GivenBack => false,
    };
    let leaves = seen.monitor.nodes.get(node.as_str())?.shutdown;
    let mut members = seen.members.both().into_iter();
    let hands_off = members.any(|member| vetoes::hands_off(seen, member).is_some());
    let can_act = seen.monitor.controller && seen.monitor.quorate;
    (is_ours && !leaves && !hands_off && can_act).then_some(unserved)
}

/// Takes back, for this reason, what the partner holds of this node, which is up in boot `own`: all that it took over, or what is left
/// of it in a giveback.
pub(super) fn take_back(seen: &Seen, own: BootId, why: &str) -> Vec<Edit> {
    let node = &seen.members.local;
    let Some(mark) = seen.mark(node) else {
        return Vec::new();
    };
    if mark.stage != MarkStage::Standing {
        let holds = hold::all_on(&seen.cib, node).into_iter();
        return holds.map(|id| Edit::Release { id }).collect();
    }
    let back = Mark {
        stage: MarkStage::GivingBack(own),
        ..mark.clone()
    };
    vec![
        set(node, mark::TRANSITION, &back),
        set(node, mark::UNDONE, &mark::undone(mark.id, why)),
        clear(node, mark::STANDBY),
    ]
}

fn set(node: &NodeName, name: &'static str, value: &dyn std::fmt::Display) -> Edit {
    Edit::Set {
        node: node.to_string(),
        name,
        value: value.to_string(),
    }
}

fn clear(node: &NodeName, name: &'static str) -> Edit {
    Edit::Clear {
        node: node.to_string(),
        name,
    }
}
