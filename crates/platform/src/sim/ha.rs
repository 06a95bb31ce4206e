//! The HA engine: who serves what.

use evenkeel_model::{
    LifName, MemberHa, MemberState, NodeName, PairState, PoolName, Transition, TransitionId,
    TransitionStage,
};

use super::boot::refuse;
use super::check::{Cause, WindowKind};
use super::command::{Command, Effect};
use super::fault::Fault;
use super::hardware::{Hardware, Lif, Node, Pair, Pool, PowerState, UnknownNode};
use crate::traits::{GivebackRequest, PlatformError, TakeoverRequest};

impl Hardware {
    /// The pair as a node's engine sees it.
    pub fn pair_state(&self, node: &NodeName) -> Option<PairState> {
        let pair = self.pair_of(node)?;
        let partner = self.nodes.get(node)?.partner.as_ref()?;
        Some(PairState {
            enabled: self.ha_enabled(pair),
            local: self.member(node),
            partner: self.member(partner),
            takeover_veto: self.takeover_veto(node, partner),
            takeover_veto_passes: self.only_held(
                partner,
                Fault::HoldTakeover,
                Fault::RefuseTakeover,
            ),
            giveback_veto: self.announced_veto(node, partner),
            giveback_veto_passes: self.only_held(
                partner,
                Fault::HoldGiveback,
                Fault::RefuseGiveback,
            ),
            transition: pair.transition.clone(),
        })
    }

    fn only_held(&self, node: &NodeName, holds: Fault, refuses: Fault) -> bool {
        self.at(node).has(holds) && !self.at(node).has(refuses)
    }

    /// An admin has `node` taken over by its partner, by hand: the engine keeps no id with it.
    pub fn take_over_by_hand(
        &mut self,
        node: &NodeName,
        now_ms: u64,
    ) -> Result<Result<(), PlatformError>, UnknownNode> {
        let partner = self.node_mut(node)?.partner.clone();
        let effects = self.advance(now_ms);
        self.effects = effects;
        self.cause = Cause::outside(format!("takeover of {node} by hand"));
        let Some(by) = partner else {
            return Ok(refuse(format!("{node} has no partner")));
        };
        if let Some(why) = self.takeover_veto(&by, node) {
            return Ok(refuse(why));
        }
        self.begin_takeover(&by, node, None);
        Ok(Ok(()))
    }

    /// An admin has everything given back to `node`, LIFs too, whoever had it taken over.
    pub fn give_back_by_hand(
        &mut self,
        node: &NodeName,
        now_ms: u64,
    ) -> Result<Result<(), PlatformError>, UnknownNode> {
        let partner = self.node_mut(node)?.partner.clone();
        let effects = self.advance(now_ms);
        self.effects = effects;
        self.cause = Cause::outside(format!("giveback to {node} by hand"));
        let Some(by) = partner else {
            return Ok(refuse(format!("{node} has no partner")));
        };
        if let Some(why) = self.giveback_veto(&by, node) {
            return Ok(refuse(why));
        }
        let away = |pool: &&Pool| pool.home == *node && pool.owner.as_ref() != Some(node);
        let pools = self.pools.iter().filter(away);
        let pools: Vec<PoolName> = pools.map(|pool| pool.name.clone()).collect();
        for pool in &pools {
            self.move_pool_home(pool);
        }
        let lifs = self.lifs.iter().filter(|lif| lif.home == *node);
        let lifs: Vec<LifName> = lifs.map(|lif| lif.name.clone()).collect();
        for lif in &lifs {
            self.place_lif(lif, Some(node.clone()));
        }
        self.close_giveback(node);
        self.watch_service();
        Ok(Ok(()))
    }

    pub(super) fn pair_of(&self, node: &NodeName) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.members.contains(node))
    }

    fn pair_of_mut(&mut self, node: &NodeName) -> Option<&mut Pair> {
        self.pairs
            .iter_mut()
            .find(|pair| pair.members.contains(node))
    }

    fn ha_enabled(&self, pair: &Pair) -> bool {
        let disabled = |node| self.at(node).has(Fault::DisableHa);
        !pair.members.iter().any(disabled)
    }

    fn member(&self, node: &NodeName) -> MemberState {
        MemberState {
            node: node.clone(),
            ha: self.member_ha(node),
            boot_id: self.boot_of(node),
        }
    }

    /// What a node does, as its partner can tell.
    pub(super) fn member_ha(&self, name: &NodeName) -> MemberHa {
        let node = self.at(name);
        match node.power {
            PowerState::Off | PowerState::Halted if node.proven_lost => MemberHa::Fenced,
            PowerState::Off | PowerState::Halted => MemberHa::Down,
            PowerState::Booting { .. } => MemberHa::Booting,
            PowerState::Up { .. } => {
                let home = || self.pools.iter().filter(|pool| pool.home == *name);
                let served = home().filter(|pool| pool.owner.as_ref() == Some(name));
                match served.count() {
                    0 => MemberHa::WaitingForGiveback,
                    n if n < home().count() => MemberHa::PartialGiveback,
                    _ => MemberHa::Serving,
                }
            }
        }
    }

    /// Why `by` would not take `taken` over now. The one place that decides it.
    fn takeover_veto(&self, by: &NodeName, taken: &NodeName) -> Option<String> {
        let pair = self.pair_of(by)?;
        if !self.ha_enabled(pair) {
            return Some(format!("takeover is switched off between {by} and {taken}"));
        }
        if let Some(transition) = &pair.transition {
            let (taken, by) = (&transition.taken, &transition.by);
            match transition.stage {
                TransitionStage::TakingOver => {
                    return Some(format!("{by} is taking {taken} over"));
                }
                TransitionStage::TakenOver | TransitionStage::GivingBack => {
                    return Some(format!(
                        "{by} has taken {taken} over, which is not given back"
                    ));
                }
                TransitionStage::GivenBack => {}
            }
        }
        for node in [by, taken] {
            if self.member_ha(node) != MemberHa::Serving {
                return Some(format!("{node} does not serve its own pools"));
            }
        }
        if self.at(taken).has(Fault::RefuseTakeover) {
            return Some(format!(
                "a veto of {taken}: an operation on its disks is running"
            ));
        }
        self.at(taken)
            .has(Fault::HoldTakeover)
            .then(|| format!("a veto of {taken} that passes: a backup of its volumes is running"))
    }

    /// What would be in the way of a giveback. That there is nothing to give back is no veto.
    fn announced_veto(&self, by: &NodeName, to: &NodeName) -> Option<String> {
        match self.member_ha(to) {
            MemberHa::Serving => self.locks_veto(by, to),
            MemberHa::WaitingForGiveback
            | MemberHa::PartialGiveback
            | MemberHa::Booting
            | MemberHa::Down
            | MemberHa::Fenced => self.giveback_veto(by, to),
        }
    }

    fn locks_veto(&self, by: &NodeName, to: &NodeName) -> Option<String> {
        if self.at(to).has(Fault::RefuseGiveback) {
            return Some(format!(
                "a veto of {by}: locks on pools of {to} are not released"
            ));
        }
        let holds = self.at(to).has(Fault::HoldGiveback);
        holds.then(|| format!("a veto of {by} that passes: a disk inventory is running"))
    }

    /// Why `by` would not give anything back to `to` now.
    fn giveback_veto(&self, by: &NodeName, to: &NodeName) -> Option<String> {
        match self.member_ha(to) {
            MemberHa::WaitingForGiveback | MemberHa::PartialGiveback => {}
            MemberHa::Serving => return Some(format!("{to} has all its pools")),
            MemberHa::Booting | MemberHa::Down | MemberHa::Fenced => {
                return Some(format!("{to} does not wait for giveback"));
            }
        }
        if !self.member_ha(by).serves() {
            return Some(format!("{by} does not serve"));
        }
        self.locks_veto(by, to)
    }

    pub(super) fn take_over(
        &mut self,
        by: &NodeName,
        request: &TakeoverRequest,
    ) -> Result<(), PlatformError> {
        let Some(taken) = self.at(by).partner.clone() else {
            return refuse(format!("{by} has no partner"));
        };
        let standing = self.pair_of(by).and_then(|pair| pair.transition.as_ref());
        if standing.is_some_and(|t| t.id == Some(request.id)) {
            return Ok(());
        }
        for (node, expected) in [(by, request.local_boot), (&taken, request.partner_boot)] {
            if self.boot_of(node) != Some(expected) {
                return refuse(format!("{node} does not run in boot {expected}"));
            }
        }
        if let Some(why) = self.takeover_veto(by, &taken) {
            return refuse(why);
        }
        self.begin_takeover(by, &taken, Some(request.id));
        Ok(())
    }

    fn begin_takeover(&mut self, by: &NodeName, taken: &NodeName, id: Option<TransitionId>) {
        let transition = Transition {
            id,
            taken: taken.clone(),
            by: by.clone(),
            boot_before: self.boot_of(taken),
            clean: false,
            stage: TransitionStage::TakingOver,
        };
        let at = self.now + self.settings.takeover_ms;
        if let Some(pair) = self.pair_of_mut(by) {
            pair.transition = Some(transition);
            pair.takes_over_at = Some(at);
        }
        self.open_window(taken, WindowKind::Takeover);
        self.note(by, format!("takes {taken} over"));
    }

    /// The accepted takeover happens: the taken node shuts down, and its partner serves.
    pub(super) fn complete_takeover(&mut self, pair: usize) {
        self.pairs[pair].takes_over_at = None;
        let Some(mut transition) = self.pairs[pair].transition.clone() else {
            return;
        };
        let (taken, by) = (transition.taken.clone(), transition.by.clone());
        self.cause = self.cause_of(&transition);
        // The one who was to serve is gone: the other one must not be shut down.
        if self.member_ha(&by) != MemberHa::Serving {
            return self.abort_takeover(pair);
        }
        transition.clean = self.at(&taken).up().is_some();
        transition.stage = TransitionStage::TakenOver;
        self.pairs[pair].transition = Some(transition.clone());
        if transition.clean {
            self.shut_down(&taken);
        }
        self.take_unowned(&by, Take::All);
        self.close_window(&taken, WindowKind::Takeover);
        self.note(&by, format!("has taken {taken} over"));
    }

    fn cause_of(&self, transition: &Transition) -> Cause {
        let boots = (self.boot_of(&transition.by), transition.boot_before);
        match (transition.id, boots) {
            (Some(id), (Some(local_boot), Some(partner_boot))) => Cause::Ours {
                node: transition.by.clone(),
                command: Command::TakeOver(TakeoverRequest {
                    id,
                    partner_boot,
                    local_boot,
                }),
            },
            _ => Cause::outside(format!("takeover of {} by hand", transition.taken)),
        }
    }

    /// A takeover that was accepted and did not happen leaves nothing behind.
    pub(super) fn abort_takeover(&mut self, pair: usize) {
        let pair = &mut self.pairs[pair];
        pair.takes_over_at = None;
        let pending = |t: &Transition| t.stage == TransitionStage::TakingOver;
        if let Some(transition) = pair.transition.take_if(|t| pending(t)) {
            let text = format!("did not take {} over", transition.taken);
            self.close_window(&transition.taken, WindowKind::Takeover);
            self.note(&transition.by, text);
        }
    }

    pub(super) fn give_back(
        &mut self,
        by: &NodeName,
        request: &GivebackRequest,
    ) -> Result<(), PlatformError> {
        let transition = self.pair_of(by).and_then(|pair| pair.transition.clone());
        let ours = transition.filter(|t| t.id == Some(request.id) && t.by == *by);
        let Some(transition) = ours else {
            return refuse(format!("{by} does not hold takeover {}", request.id));
        };
        let taken = transition.taken;
        let name = &request.pool;
        let pool = self.pools.iter().find(|pool| pool.name == *name);
        let Some(pool) = pool.filter(|pool| pool.home == taken) else {
            return refuse(format!("{name} is not a pool of {taken}"));
        };
        if pool.owner.as_ref() == Some(&taken) {
            return Ok(());
        }
        if let Some(why) = self.giveback_veto(by, &taken) {
            return refuse(why);
        }
        let root_home = |p: &Pool| p.root && p.owner.as_ref() == Some(&taken);
        if !pool.root && !self.pools.iter().any(root_home) {
            return refuse(format!("the root pool of {taken} goes before {name}"));
        }
        self.move_pool_home(name);
        self.close_giveback(&taken);
        Ok(())
    }

    fn move_pool_home(&mut self, name: &PoolName) {
        let Some(pool) = self.pools.iter_mut().find(|pool| pool.name == *name) else {
            return;
        };
        let home = pool.home.clone();
        pool.owner = Some(home.clone());
        self.open_window(&home, WindowKind::Giveback);
        self.note(&home, format!("pool {name} is home"));
        let pair = self.pair_of_mut(&home);
        if let Some(transition) = pair.and_then(|pair| pair.transition.as_mut())
            && transition.taken == home
        {
            transition.stage = TransitionStage::GivingBack;
        }
        if self.member_ha(&home) == MemberHa::Serving {
            self.end_transition(&home);
        }
    }

    /// All pools of `taken` are home.
    fn end_transition(&mut self, taken: &NodeName) {
        let pair = self.pair_of_mut(taken);
        if let Some(transition) = pair.and_then(|pair| pair.transition.as_mut())
            && transition.taken == *taken
        {
            transition.stage = TransitionStage::GivenBack;
        }
    }

    /// Pools and LIFs of `node` are home: its giveback is over.
    fn close_giveback(&mut self, node: &NodeName) {
        let away = |lif: &Lif| {
            lif.home == *node && lif.current.as_ref() != Some(node) && !self.lif_down(&lif.name)
        };
        if self.member_ha(node) == MemberHa::Serving && !self.lifs.iter().any(away) {
            self.close_window(node, WindowKind::Giveback);
        }
    }

    pub(super) fn serve_alone(&mut self, node: &NodeName) -> Result<(), PlatformError> {
        let Some(partner) = self.at(node).partner.clone() else {
            return refuse(format!("{node} has no partner"));
        };
        if self.member_ha(node) == MemberHa::Serving {
            return Ok(());
        }
        if self.at(&partner).up().is_some() || !self.at(&partner).proven_lost {
            return refuse(format!("there is no proof that {partner} is dead"));
        }
        self.note(node, format!("serves alone: {partner} is dead"));
        if self.take_unowned(node, Take::All) {
            self.record_forced_takeover(node, &partner);
        }
        Ok(())
    }

    /// A node that has just booted serves what no one else does.
    pub(super) fn serve_after_boot(&mut self, node: &NodeName) {
        let Some(partner) = self.at(node).partner.clone() else {
            self.take_unowned(node, Take::Own);
            return;
        };
        let partner_has_mine =
            |pool: &Pool| pool.home == *node && pool.owner.as_ref() == Some(&partner);
        if self.pools.iter().any(partner_has_mine) {
            // What it had back before it fell is its own still, unless the partner took it again.
            let idle = |pool: &Pool| pool.home == *node && pool.owner.is_none();
            if self.pools.iter().any(idle) {
                self.take_unowned(node, Take::Own);
            }
            return self.note(node, "waits for giveback");
        }
        let enabled = self.pair_of(node).is_some_and(|pair| self.ha_enabled(pair));
        let other = self.at(&partner);
        let lost = other.up().is_none() && other.proven_lost;
        // A partner that is up without its pools waits for this node, which carried it before it fell.
        let waits = match self.member_ha(&partner) {
            MemberHa::WaitingForGiveback | MemberHa::PartialGiveback => true,
            MemberHa::Serving | MemberHa::Booting | MemberHa::Down | MemberHa::Fenced => false,
        };
        let carries = self.carries(node, &partner);
        if carries || waits || (enabled && lost) {
            let took = self.take_unowned(node, Take::All);
            if took && !carries {
                self.record_forced_takeover(node, &partner);
            }
        } else {
            self.take_unowned(node, Take::Own);
            let detect_at = self.now + self.settings.detect_ms;
            let other = self.at_mut(&partner);
            if other.up().is_none() {
                other.detect_at.get_or_insert(detect_at);
            }
        }
        self.end_transition(node);
    }

    /// The partner has proof that `lost` is gone, and serves in its place if it serves at all.
    pub(super) fn detect_loss(&mut self, lost: &NodeName) {
        self.cause = Cause::outside(format!("{lost} was lost"));
        let node = self.at_mut(lost);
        (node.detect_at, node.proven_lost) = (None, true);
        let Some(survivor) = node.partner.clone() else {
            return;
        };
        self.note(lost, "its partner has proof that it is lost");
        let enabled = self.pair_of(lost).is_some_and(|pair| self.ha_enabled(pair));
        if enabled && self.member_ha(&survivor).serves() && self.take_unowned(&survivor, Take::All)
        {
            self.record_forced_takeover(&survivor, lost);
        }
    }

    /// Whether the node is taken over.
    pub(super) fn is_carried(&self, node: &NodeName) -> bool {
        let partner = self.at(node).partner.as_ref();
        partner.is_some_and(|partner| self.carries(partner, node))
    }

    /// Whether a takeover of `taken` by `by` stands.
    fn carries(&self, by: &NodeName, taken: &NodeName) -> bool {
        let transition = self.pair_of(by).and_then(|pair| pair.transition.as_ref());
        transition.is_some_and(|t| {
            let stands = match t.stage {
                TransitionStage::TakenOver | TransitionStage::GivingBack => true,
                TransitionStage::TakingOver | TransitionStage::GivenBack => false,
            };
            stands && t.taken == *taken && t.by == *by
        })
    }

    /// A takeover that no one asked for.
    fn record_forced_takeover(&mut self, by: &NodeName, taken: &NodeName) {
        let boot_before = self.at(taken).last_boot;
        let Some(pair) = self.pair_of_mut(by) else {
            return;
        };
        pair.takes_over_at = None;
        pair.transition = Some(Transition {
            id: None,
            taken: taken.clone(),
            by: by.clone(),
            boot_before,
            clean: false,
            stage: TransitionStage::TakenOver,
        });
        self.open_window(taken, WindowKind::Takeover);
        self.close_window(taken, WindowKind::Takeover);
        self.note(by, format!("has taken {taken} over unasked"));
    }

    /// `node` serves every pool and LIF of its pair that no one serves. Says whether a pool of the
    /// partner was among them.
    fn take_unowned(&mut self, node: &NodeName, what: Take) -> bool {
        let partner = self.at(node).partner.clone();
        let mine = |home: &NodeName| match what {
            Take::Own => home == node,
            Take::All => home == node || Some(home) == partner.as_ref(),
        };
        let mut took_partners = false;
        for pool in &mut self.pools {
            if pool.owner.is_none() && mine(&pool.home) {
                pool.owner = Some(node.clone());
                took_partners |= pool.home != *node;
            }
        }
        let idle = self.lifs.iter();
        let idle = idle.filter(|lif| lif.current.is_none() && mine(&lif.home));
        let idle: Vec<LifName> = idle.map(|lif| lif.name.clone()).collect();
        for lif in &idle {
            self.place_lif(lif, Some(node.clone()));
        }
        self.changed();
        took_partners
    }

    pub(super) fn send_home(
        &mut self,
        node: &NodeName,
        name: &LifName,
    ) -> Result<(), PlatformError> {
        let partner = self.at(node).partner.clone();
        let lif = self.lifs.iter().find(|lif| lif.name == *name);
        let ours = lif.filter(|lif| lif.home == *node || Some(&lif.home) == partner.as_ref());
        let Some(lif) = ours else {
            return refuse(format!("{name} is not a LIF of {node} or its partner"));
        };
        let home = lif.home.clone();
        if lif.current.as_ref() != Some(&home) {
            if !self.member_ha(&home).serves() {
                return refuse(format!("{home} does not serve, so {name} cannot go home"));
            }
            if self.lif_down(name) {
                return refuse(format!("the port of {name} on {home} is down"));
            }
            self.place_lif(name, Some(home.clone()));
        }
        self.close_giveback(&home);
        Ok(())
    }

    /// Moves a LIF if it can be there; else it is down.
    fn place_lif(&mut self, name: &LifName, to: Option<NodeName>) {
        let to = to.filter(|to| self.can_host(to, name));
        let Some(lif) = self.lifs.iter_mut().find(|lif| lif.name == *name) else {
            return;
        };
        if lif.current == to {
            return;
        }
        let home = lif.home.clone();
        let from = std::mem::replace(&mut lif.current, to.clone());
        match &to {
            Some(host) => self.note(host, format!("hosts {name}")),
            None => self.note(&home, format!("{name} is down")),
        }
        for node in from.into_iter().chain(to) {
            if self.at(&node).up().is_some() {
                let hosting = self.hosting(&node);
                self.effects.push(Effect::Lifs { node, hosting });
            }
        }
        self.changed();
    }

    fn can_host(&self, node: &NodeName, name: &LifName) -> bool {
        let lif = self.lifs.iter().find(|lif| lif.name == *name);
        let Some(lif) = lif else { return false };
        if self.lif_down(name) {
            return false;
        }
        lif.home == *node || !self.without_target(name)
    }

    /// LIF faults of a node concern its first LIF.
    fn first_lif(&self, node: &NodeName) -> Option<&LifName> {
        let lif = self.lifs.iter().find(|lif| lif.home == *node)?;
        Some(&lif.name)
    }

    fn lif_has(&self, name: &LifName, fault: Fault) -> bool {
        let faulty = |(node, state): (&NodeName, &Node)| {
            state.has(fault) && self.first_lif(node) == Some(name)
        };
        self.nodes.iter().any(faulty)
    }

    fn lif_down(&self, name: &LifName) -> bool {
        self.lif_has(name, Fault::LifDown)
    }

    pub(super) fn without_target(&self, name: &LifName) -> bool {
        self.lif_has(name, Fault::NoFailoverTarget)
    }

    /// After a LIF fault of `node` was set or cleared.
    pub(super) fn move_faulty_lif(&mut self, node: &NodeName) {
        let Some(name) = self.first_lif(node).cloned() else {
            return;
        };
        let partner = self.at(node).partner.clone();
        let serves = |node: &NodeName| self.member_ha(node).serves();
        let partner = partner.filter(serves);
        let home = Some(node.clone()).filter(serves);
        let away = self.at(node).has(Fault::LifAway);
        let to = if away {
            partner.or(home)
        } else {
            home.or(partner)
        };
        self.place_lif(&name, to);
    }
}

/// Which pools and LIFs a node takes.
#[derive(Clone, Copy)]
enum Take {
    Own,
    All,
}
