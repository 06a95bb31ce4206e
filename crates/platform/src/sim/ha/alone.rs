//! Serving without the partner: what a node does when the other is lost.

use evenkeel_model::{LifName, MemberHa, NodeName, Transition, TransitionStage};

use crate::sim::boot::refuse;
use crate::sim::check::{Cause, WindowKind};
use crate::sim::hardware::{Hardware, Pool};
use crate::traits::PlatformError;

impl Hardware {
    pub(in crate::sim) fn serve_alone(&mut self, node: &NodeName) -> Result<(), PlatformError> {
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
    pub(in crate::sim) fn serve_after_boot(&mut self, node: &NodeName) {
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
        // One without pools waits as well, for as long as its partner is there.
        let without_pools = !self.pools.iter().any(|pool| pool.home == *node);
        if without_pools && self.is_carried(node) && self.at(&partner).up().is_some() {
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
    pub(in crate::sim) fn detect_loss(&mut self, lost: &NodeName) {
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
            trouble: None,
        });
        self.open_window(taken, WindowKind::Takeover);
        self.close_window(taken, WindowKind::Takeover);
        self.note(by, format!("has taken {taken} over unasked"));
    }

    /// `node` serves every pool and LIF of its pair that no one serves. Says whether a pool of the
    /// partner was among them.
    pub(super) fn take_unowned(&mut self, node: &NodeName, what: Take) -> bool {
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
}

/// Which pools and LIFs a node takes.
#[derive(Clone, Copy)]
pub(super) enum Take {
    Own,
    All,
}
