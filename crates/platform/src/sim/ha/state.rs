//! Who is where: the pair as its members see it.

use evenkeel_model::{MemberHa, MemberState, NodeName, PairState, TransitionStage};

use crate::sim::fault::Fault;
use crate::sim::hardware::{Hardware, Pair, PowerState};

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

    pub(in crate::sim) fn pair_of(&self, node: &NodeName) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.members.contains(node))
    }

    pub(super) fn pair_of_mut(&mut self, node: &NodeName) -> Option<&mut Pair> {
        self.pairs
            .iter_mut()
            .find(|pair| pair.members.contains(node))
    }

    pub(super) fn ha_enabled(&self, pair: &Pair) -> bool {
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
    pub(in crate::sim) fn member_ha(&self, name: &NodeName) -> MemberHa {
        let node = self.at(name);
        match node.power {
            PowerState::Off | PowerState::Halted if node.proven_lost => MemberHa::Fenced,
            PowerState::Off | PowerState::Halted => MemberHa::Down,
            PowerState::Booting { .. } => MemberHa::Booting,
            PowerState::Up { .. } => {
                let home = || self.pools.iter().filter(|pool| pool.home == *name);
                let served = home().filter(|pool| pool.owner.as_ref() == Some(name));
                match served.count() {
                    // Without pools of its own it serves, unless its partner has taken it over.
                    0 if home().count() == 0 && !self.is_carried(name) => MemberHa::Serving,
                    0 => MemberHa::WaitingForGiveback,
                    n if n < home().count() => MemberHa::PartialGiveback,
                    _ => MemberHa::Serving,
                }
            }
        }
    }

    /// Whether the node is taken over.
    pub(in crate::sim) fn is_carried(&self, node: &NodeName) -> bool {
        let partner = self.at(node).partner.as_ref();
        partner.is_some_and(|partner| self.carries(partner, node))
    }

    /// Whether a takeover of `taken` by `by` stands.
    pub(super) fn carries(&self, by: &NodeName, taken: &NodeName) -> bool {
        let transition = self.pair_of(by).and_then(|pair| pair.transition.as_ref());
        transition.is_some_and(|t| {
            let stands = match t.stage {
                TransitionStage::TakenOver | TransitionStage::GivingBack => true,
                TransitionStage::TakingOver | TransitionStage::GivenBack => false,
            };
            stands && t.taken == *taken && t.by == *by
        })
    }
}
