//! Why the HA engine refuses.

use evenkeel_model::{MemberHa, NodeName, TransitionStage};

use crate::sim::fault::Fault;
use crate::sim::hardware::Hardware;

impl Hardware {
    /// Why `by` would not take `taken` over now. The one place that decides it.
    pub(super) fn takeover_veto(&self, by: &NodeName, taken: &NodeName) -> Option<String> {
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
    pub(super) fn announced_veto(&self, by: &NodeName, to: &NodeName) -> Option<String> {
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
    pub(super) fn giveback_veto(&self, by: &NodeName, to: &NodeName) -> Option<String> {
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
}
