//! What is seen of the pair, and what it means. Pure: every answer follows from one look at the cluster.

use std::collections::BTreeSet;

use evenkeel_model::{
    BootId, LifState, MemberHa, MemberState, NodeName, PairState, Transition, TransitionStage,
};

use super::cib::Cib;
use super::hold;
use super::layout::{Layout, Lif, Members, Pool};
use super::mark::{self, BOOT, Mark, MarkStage, STANDBY};
use super::monitor::{Failure, FenceStatus, Monitor, ServiceSeen};
use super::vetoes;
use super::xml::is_true;

/// What speaks against a takeover of ours that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Something does not start on the partner.
    Failed,
    /// The same, and the cluster is at it.
    Retried,
    /// Nothing has failed, as far as is still known, and the cluster is at it.
    Moves,
    /// Nothing has failed, and the cluster does nothing.
    Rests,
    /// The partner is no member of the cluster, and was not fenced.
    Left,
    /// The partner serves everything, and an address of what it has taken over does not answer.
    Silent,
}

/// What nobody serves by a takeover of ours that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unserved {
    /// The first thing that is missing where it should be.
    pub(super) missing: String,
    /// And why, if that is known.
    pub(super) because: Option<String>,
    pub(super) doubt: Doubt,
}

impl Unserved {
    /// A sentence about it.
    pub(super) fn why(&self) -> String {
        match &self.because {
            Some(because) => format!("{}: {because}", self.missing),
            None => self.missing.clone(),
        }
    }
}

/// One look at the cluster: its configuration, and then its state.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) members: Members,
    pub(super) cib: Cib,
    /// The configuration as it was printed.
    pub(super) text: String,
    pub(super) monitor: Monitor,
    pub(super) layout: Layout,
    /// Our newest takeover of this node, and that of its partner; or why it cannot be read.
    local_mark: Result<Option<Mark>, String>,
    partner_mark: Result<Option<Mark>, String>,
}

impl Seen {
    /// Puts both together. An error is a sentence about what cannot be understood.
    pub(super) fn new(
        members: Members,
        (cib, text): (Cib, String),
        monitor: Monitor,
    ) -> Result<Self, String> {
        for node in members.both() {
            if !monitor.nodes.contains_key(node.as_str()) || !cib.nodes.contains_key(node.as_str())
            {
                return Err(format!("the cluster has no node {node}"));
            }
        }
        Ok(Self {
            layout: Layout::read(&cib, &members),
            local_mark: mark::of(&cib, &members.local),
            partner_mark: mark::of(&cib, &members.partner),
            members,
            cib,
            text,
            monitor,
        })
    }

    /// The pair, as the trait tells it.
    pub(super) fn pair(&self) -> PairState {
        let Members { local, partner } = &self.members;
        let (takeover, giveback) = (vetoes::takeover(self), vetoes::announced_giveback(self));
        PairState {
            enabled: self.enabled(),
            local: self.member(local),
            partner: self.member(partner),
            takeover_veto_passes: takeover.as_ref().is_some_and(|veto| veto.passes),
            takeover_veto: takeover.map(|veto| veto.why),
            giveback_veto_passes: giveback.as_ref().is_some_and(|veto| veto.passes),
            giveback_veto: giveback.map(|veto| veto.why),
            transition: self.transition(),
        }
    }

    /// The cluster acts at all.
    pub(super) fn enabled(&self) -> bool {
        !self.monitor.maintenance && !self.monitor.stopping_all
    }

    fn member(&self, node: &NodeName) -> MemberState {
        MemberState {
            node: node.clone(),
            ha: self.ha(node),
            boot_id: self.boot(node),
        }
    }

    /// The boot that a node in good standing has told.
    pub(super) fn boot(&self, node: &NodeName) -> Option<BootId> {
        let up = self.monitor.is_up(node.as_str());
        let told = self.cib.passing(node.as_str(), BOOT).filter(|_| up)?;
        told.parse().ok()
    }

    /// What a node does, as the cluster can tell.
    pub(super) fn ha(&self, node: &NodeName) -> MemberHa {
        let Some(seen) = self.monitor.nodes.get(node.as_str()) else {
            return MemberHa::Down;
        };
        if seen.unclean {
            return MemberHa::Down;
        }
        if !seen.online {
            return match self.is_fenced(node) {
                true => MemberHa::Fenced,
                false => MemberHa::Down,
            };
        }
        if seen.pending || self.boot(node).is_none() {
            return MemberHa::Booting;
        }
        let (home, total) = self.at_home(node);
        match (home, total) {
            (0, 0) if seen.standby => MemberHa::WaitingForGiveback,
            (home, total) if home == total => MemberHa::Serving,
            (0, _) => MemberHa::WaitingForGiveback,
            (_, _) => MemberHa::PartialGiveback,
        }
    }

    /// How many of a node's pools it serves itself, and how many it has.
    fn at_home(&self, node: &NodeName) -> (usize, usize) {
        let home = |pool: &&Pool| self.owner(pool).as_ref() == Some(node);
        let served = self.layout.pools_of(node).filter(home).count();
        (served, self.layout.pools_of(node).count())
    }

    /// A fencing succeeded that the node's newest boot had not seen yet. Without a note of that boot nothing is proven:
    /// a clean leave looks the same.
    pub(super) fn is_fenced(&self, node: &NodeName) -> bool {
        let Some(life) = mark::life(&self.cib, node) else {
            return false;
        };
        let newest = self.newest_fencing(node);
        newest.is_some_and(|newest| life.fenced.is_none_or(|seen| newest > seen))
    }

    /// When the newest successful fencing of the node was over.
    pub(super) fn newest_fencing(&self, node: &NodeName) -> Option<String> {
        let fences = self.monitor.fences.as_ref().ok()?;
        let ours = fences.iter().filter(|fence| {
            fence.target == node.as_str()
                && fence.status == FenceStatus::Success
                && ["off", "reboot"].contains(&fence.action.as_str())
        });
        ours.filter_map(|fence| fence.completed.clone()).max()
    }

    fn services(&self, pool: &Pool) -> impl Iterator<Item = Option<&ServiceSeen>> {
        pool.services.iter().map(|id| self.monitor.services.get(id))
    }

    /// The member that serves a pool: all of its services run there, and nowhere else, and nothing is wrong with them or
    /// being done to them.
    pub(super) fn owner(&self, pool: &Pool) -> Option<NodeName> {
        let mut nodes = BTreeSet::new();
        for service in self.services(pool) {
            nodes.insert(self.server(service?)?);
        }
        match nodes.len() {
            1 => nodes.pop_first(),
            _ => None,
        }
    }

    /// The one member on which a service runs soundly.
    fn server(&self, service: &ServiceSeen) -> Option<NodeName> {
        let sound = service.active && !service.failed && !service.blocked;
        if !sound || service.pending.is_some() || service.nodes.len() != 1 {
            return None;
        }
        let node = service.nodes.first()?;
        let member = self
            .members
            .both()
            .into_iter()
            .find(|m| m.as_str() == node)?;
        self.monitor.is_up(node).then(|| member.clone())
    }

    /// Where a LIF is, by Pacemaker's word: its agent has configured the address there and announced it, and has found it there
    /// since. Whether it answers from there, the other node asks ([`answers`](super::answers)).
    pub(super) fn current(&self, lif: &Lif) -> Option<NodeName> {
        self.server(self.monitor.services.get(lif.name.as_str())?)
    }

    /// All LIFs, as the trait tells them.
    pub(super) fn lifs(&self) -> Vec<LifState> {
        let lif = |lif: &Lif| LifState {
            name: lif.name.clone(),
            home: lif.home.clone(),
            current: self.current(lif),
            has_failover_target: {
                let other = self.members.other(&lif.home);
                let own = [lif.name.as_str()];
                let pool = lif.pool.as_ref().map(|pool| pool.as_str());
                let mut names = own.into_iter().chain(pool);
                names.all(|name| self.ban(name, other).is_none())
            },
        };
        self.layout.lifs.iter().map(lif).collect()
    }

    /// The constraint, not of ours, that keeps a resource from a node.
    pub(super) fn ban(&self, resource: &str, node: &NodeName) -> Option<&str> {
        let bans = self.monitor.bans.iter().filter(|ban| {
            ban.resource == resource
                && ban.node == node.as_str()
                && !ban.promoted_only
                && !hold::is_ours(&ban.id)
        });
        bans.map(|ban| ban.id.as_str()).next()
    }

    /// Everything of the pair that can be on `node` is served there.
    pub(super) fn all_on(&self, node: &NodeName) -> Result<(), String> {
        for pool in &self.layout.pools {
            if self.owner(pool).as_ref() != Some(node) {
                return Err(format!("pool {} is not served by {node}", pool.name));
            }
        }
        for lif in &self.layout.lifs {
            let can = self.ban(lif.name.as_str(), node).is_none();
            if can && self.current(lif).as_ref() != Some(node) {
                return Err(format!("LIF {} is not on {node}", lif.name));
            }
        }
        Ok(())
    }

    /// Why the takeover of a node does not go on. What may only be between two steps of the cluster's is told once it has lasted.
    fn trouble(&self, taken: &NodeName) -> Option<String> {
        let unserved = self.unserved(taken)?;
        let mut members = self.members.both().into_iter();
        let veto = members.find_map(|member| vetoes::hands_off(self, member));
        match (veto, unserved.doubt) {
            (Some(veto), _) => Some(format!("{}: {}", unserved.missing, veto.why)),
            (None, Doubt::Moves | Doubt::Rests) => None,
            (None, Doubt::Failed | Doubt::Retried | Doubt::Left | Doubt::Silent) => {
                Some(unserved.why())
            }
        }
    }

    /// What is served by nobody by a takeover of ours: while it stands because the partner does not serve it, while it is given back
    /// because it is held for the partner, which does not. And what speaks against that.
    pub(super) fn unserved(&self, taken: &NodeName) -> Option<Unserved> {
        let by = self.members.other(taken);
        let missing = match self.mark(taken)?.stage {
            MarkStage::Standing => self.all_on(by).err()?,
            MarkStage::GivingBack(_) => self.held_from_all(taken)?,
            MarkStage::GivenBack => return None,
        };
        let partner = self.monitor.nodes.get(by.as_str())?;
        // It may serve unseen, or is proven dead, which somebody else acts upon.
        if partner.unclean || (!partner.online && self.is_fenced(by)) {
            return None;
        }
        let found = |because, doubt| {
            Some(Unserved {
                missing,
                because,
                doubt,
            })
        };
        if !self.monitor.is_up(by.as_str()) {
            let left = format!("{by} is no member of the cluster");
            return found(Some(left), Doubt::Left);
        }
        // Also what has no home, as that which a pool needs.
        let mut services = self.monitor.services.values();
        let is_moving = services.any(|service| service.pending.is_some());
        let own = self.layout.services();
        let failed = self.failure_on(by, |id| own.contains(id));
        let failed = failed.or_else(|| self.failure_on(by, |_| !is_moving));
        let doubt = match (failed.is_some(), is_moving) {
            (true, true) => Doubt::Retried,
            (true, false) => Doubt::Failed,
            (false, true) => Doubt::Moves,
            (false, false) => Doubt::Rests,
        };
        found(failed.map(Failure::text), doubt)
    }

    /// Something that is held from a node to which it is to be given back, and that nobody serves.
    fn held_from_all(&self, node: &NodeName) -> Option<String> {
        let is_held = |name: &str| !hold::of(&self.cib, &self.layout, node, name).is_empty();
        let mut pools = self.layout.pools_of(node);
        let pool = pools.find(|pool| self.owner(pool).is_none() && is_held(pool.name.as_str()));
        let mut lifs = self.layout.lone_lifs_of(node);
        let lif = lifs.find(|lif| self.current(lif).is_none() && is_held(lif.name.as_str()));
        let by = self.members.other(node);
        let told = |what: &str| format!("{what} is held for {by} and served by nobody");
        let pool = pool.map(|pool| told(&format!("pool {}", pool.name)));
        pool.or_else(|| lif.map(|lif| told(&format!("LIF {}", lif.name))))
    }

    /// What has failed on a node and does not run there.
    fn failure_on(&self, node: &NodeName, is_meant: impl Fn(&str) -> bool) -> Option<&Failure> {
        let runs = |id: &str| {
            let service = self.monitor.services.get(id);
            service.and_then(|it| self.server(it)).as_ref() == Some(node)
        };
        let mut failures = self.monitor.failures.iter();
        failures.find(|one| {
            let id = one.resource();
            one.node == node.as_str() && is_meant(id) && !runs(id)
        })
    }

    /// Nothing is left on a node.
    pub(super) fn is_empty(&self, node: &NodeName) -> bool {
        let seen = self.monitor.nodes.get(node.as_str());
        seen.is_some_and(|seen| seen.running == 0)
    }

    /// Everything of a node is served by itself, and nothing is held from it.
    pub(super) fn is_home(&self, node: &NodeName) -> bool {
        let (home, total) = self.at_home(node);
        home == total && hold::all_on(&self.cib, node).is_empty()
    }

    /// Standby until it is taken back, whoever set it.
    pub(super) fn standby_for_good(&self, node: &NodeName) -> bool {
        self.cib
            .attribute(node.as_str(), STANDBY)
            .is_some_and(is_true)
    }

    pub(super) fn is_standby(&self, node: &NodeName) -> bool {
        let seen = self.monitor.nodes.get(node.as_str());
        self.standby_for_good(node) || seen.is_some_and(|seen| seen.standby)
    }

    /// Our newest takeover of a node, if it can be read.
    pub(super) fn mark(&self, node: &NodeName) -> Option<&Mark> {
        self.mark_of(node).as_ref().ok()?.as_ref()
    }

    /// Why our newest takeover of a node cannot be read: a later release has written it.
    pub(super) fn unread(&self, node: &NodeName) -> Option<&str> {
        self.mark_of(node).as_ref().err().map(String::as_str)
    }

    fn mark_of(&self, node: &NodeName) -> &Result<Option<Mark>, String> {
        match *node == self.members.local {
            true => &self.local_mark,
            false => &self.partner_mark,
        }
    }

    /// Counts on from both nodes' takeovers.
    pub(super) fn next_seq(&self) -> u64 {
        let marks = self.members.both().map(|node| self.mark(node));
        let highest = marks.into_iter().flatten().map(|mark| mark.seq).max();
        highest.map_or(1, |seq| seq + 1)
    }

    /// The newest takeover in the pair: the one that stands, or our newest one.
    pub(super) fn transition(&self) -> Option<Transition> {
        let both = self.members.both();
        let seen = both.map(|node| self.transition_of(node));
        let over = |t: &Transition| t.stage == TransitionStage::GivenBack;
        let standing = seen.iter().flatten().find(|t| !over(t)).cloned();
        standing.or_else(|| {
            let marks = both
                .into_iter()
                .filter_map(|node| Some((node, self.mark(node)?)));
            let (taken, mark) = marks.max_by_key(|(_, mark)| mark.seq)?;
            Some(self.ours(taken, mark, TransitionStage::GivenBack))
        })
    }

    /// The newest takeover of a node.
    fn transition_of(&self, node: &NodeName) -> Option<Transition> {
        let Some(mark) = self.mark(node) else {
            return self.foreign(node);
        };
        match mark.stage {
            MarkStage::Standing if self.standby_for_good(node) => {
                Some(self.ours(node, mark, self.stage_in_standby(node, mark)))
            }
            // Someone else has lifted it.
            MarkStage::Standing if !self.is_standby(node) => {
                Some(self.ours(node, mark, self.stage_of_return(node)))
            }
            MarkStage::Standing => self.foreign(node),
            MarkStage::GivingBack(boot) => self.giving_back(node, mark, boot),
            MarkStage::GivenBack => self
                .foreign(node)
                .or_else(|| Some(self.ours(node, mark, TransitionStage::GivenBack))),
        }
    }

    fn ours(&self, node: &NodeName, mark: &Mark, stage: TransitionStage) -> Transition {
        let trouble = match stage {
            TransitionStage::TakingOver | TransitionStage::TakenOver => self.trouble(node),
            TransitionStage::GivingBack | TransitionStage::GivenBack => {
                mark::why_undone(&self.cib, node, mark.id)
            }
        };
        Transition {
            id: Some(mark.id),
            taken: node.clone(),
            by: mark.by.clone(),
            boot_before: Some(mark.boot),
            clean: self.was_clean(node, mark),
            stage,
            trouble,
        }
    }

    /// The node said so before it shut down.
    pub(super) fn was_clean(&self, node: &NodeName, mark: &Mark) -> bool {
        let clean = self.cib.attribute(node.as_str(), mark::CLEAN);
        clean.is_some_and(|id| id == mark.id.to_string())
    }

    /// Whole when the node's old boot has ended and its partner serves everything.
    fn stage_in_standby(&self, node: &NodeName, mark: &Mark) -> TransitionStage {
        let seen = self.monitor.nodes.get(node.as_str());
        let in_sight = seen.is_some_and(|seen| seen.unclean || seen.online);
        let ended = self.was_clean(node, mark) || self.is_fenced(node);
        match self.boot(node) {
            Some(boot) if boot != mark.boot => TransitionStage::TakenOver,
            Some(_) => TransitionStage::TakingOver,
            // What is a member again and has not told its boot may be the old one still.
            None if in_sight => match ended && self.is_returning(node) {
                true => TransitionStage::TakenOver,
                false => TransitionStage::TakingOver,
            },
            None if self.all_on(self.members.other(node)).is_ok() => TransitionStage::TakenOver,
            None => TransitionStage::TakingOver,
        }
    }

    /// Up, without what it had told before it left.
    fn is_returning(&self, node: &NodeName) -> bool {
        let seen = self.monitor.nodes.get(node.as_str());
        let told = self.cib.passing(node.as_str(), BOOT).is_some();
        seen.is_some_and(|seen| seen.online && !seen.unclean && !seen.shutdown) && !told
    }

    fn stage_of_return(&self, node: &NodeName) -> TransitionStage {
        match self.is_home(node) {
            true => TransitionStage::GivenBack,
            false => TransitionStage::GivingBack,
        }
    }

    /// A giveback of ours goes on for as long as the node stays in the boot that it began in. One that was lost in the
    /// midst of it was taken over anew, by no order of ours.
    fn giving_back(&self, node: &NodeName, mark: &Mark, back: BootId) -> Option<Transition> {
        let stage = self.stage_of_return(node);
        let online = self.monitor.is_up(node.as_str());
        let same = self.boot(node).map_or(online, |boot| boot == back);
        if !self.is_standby(node) && (same || stage == TransitionStage::GivenBack) {
            return Some(self.ours(node, mark, stage));
        }
        Some(Transition {
            id: None,
            taken: node.clone(),
            by: mark.by.clone(),
            boot_before: Some(back),
            clean: false,
            stage: match self.at_home(node) {
                (0, _) => TransitionStage::TakenOver,
                (_, _) => TransitionStage::GivingBack,
            },
            trouble: None,
        })
    }

    /// A takeover that is none of ours: standby by hand, or a node that is gone and whose pools are with its partner.
    fn foreign(&self, node: &NodeName) -> Option<Transition> {
        let by = self.members.other(node);
        let up = self.monitor.is_up(node.as_str());
        let (home, total) = self.at_home(node);
        let theirs = |pool: &Pool| self.owner(pool).as_ref() == Some(by);
        let with_partner = self.layout.pools_of(node).any(theirs);
        let standby = self.is_standby(node);
        if !standby && (home > 0 || !with_partner) {
            return None;
        }
        let whole = (home == 0 && with_partner) || (total == 0 && self.is_empty(node));
        let life = mark::life(&self.cib, node);
        let lost = |boot: &BootId| !up || self.boot(node) != Some(*boot);
        Some(Transition {
            id: None,
            taken: node.clone(),
            by: by.clone(),
            boot_before: match standby {
                true => None,
                false => life.map(|life| life.boot).filter(lost),
            },
            clean: standby && !self.is_fenced(node),
            stage: match whole {
                true => TransitionStage::TakenOver,
                false => TransitionStage::TakingOver,
            },
            trouble: None,
        })
    }
}
