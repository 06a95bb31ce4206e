//! Givebacks, pool by pool.

use evenkeel_model::{LifName, MemberHa, NodeName, PoolName, TransitionStage};

use crate::sim::boot::refuse;
use crate::sim::check::{Cause, WindowKind};
use crate::sim::hardware::{Hardware, Lif, Pool, UnknownNode};
use crate::traits::{GivebackRequest, PlatformError};

impl Hardware {
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

    pub(in crate::sim) fn give_back(
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
        let Some(name) = &request.pool else {
            return self.give_nothing_back(by, &taken);
        };
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

    /// Ends a takeover that holds no pool.
    fn give_nothing_back(&mut self, by: &NodeName, taken: &NodeName) -> Result<(), PlatformError> {
        let away = |pool: &&Pool| pool.home == *taken && pool.owner.as_ref() != Some(taken);
        if let Some(pool) = self.pools.iter().find(away) {
            return refuse(format!("pool {} of {taken} is to go home", pool.name));
        }
        if !self.is_carried(taken) {
            return Ok(());
        }
        if let Some(why) = self.giveback_veto(by, taken) {
            return refuse(why);
        }
        self.open_window(taken, WindowKind::Giveback);
        self.end_transition(taken);
        self.close_giveback(taken);
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
    pub(super) fn end_transition(&mut self, taken: &NodeName) {
        let pair = self.pair_of_mut(taken);
        if let Some(transition) = pair.and_then(|pair| pair.transition.as_mut())
            && transition.taken == *taken
        {
            transition.stage = TransitionStage::GivenBack;
        }
    }

    /// Pools and LIFs of `node` are home: its giveback is over.
    pub(super) fn close_giveback(&mut self, node: &NodeName) {
        let away = |lif: &Lif| {
            lif.home == *node && lif.current.as_ref() != Some(node) && !self.lif_down(&lif.name)
        };
        if self.member_ha(node) == MemberHa::Serving && !self.lifs.iter().any(away) {
            self.close_window(node, WindowKind::Giveback);
        }
    }
}
