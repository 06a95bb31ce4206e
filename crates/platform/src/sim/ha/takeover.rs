//! Takeovers: negotiated, forced, by hand.

use evenkeel_model::{MemberHa, NodeName, Transition, TransitionId, TransitionStage};

use super::alone::Take;
use crate::sim::boot::refuse;
use crate::sim::check::{Cause, WindowKind};
use crate::sim::fault::Fault;
use crate::sim::hardware::{Hardware, UnknownNode};
use crate::traits::{PlatformError, TakeoverRequest};
use crate::wire::Command;

impl Hardware {
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

    pub(in crate::sim) fn take_over(
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
            trouble: None,
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
    pub(in crate::sim) fn complete_takeover(&mut self, pair: usize) {
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
        if self.at(&taken).up().is_some() && self.at(&taken).has(Fault::FailTakeover) {
            return self.undo_takeover(pair, transition);
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

    /// The partner does not serve everything: the node, which is up, serves on.
    fn undo_takeover(&mut self, pair: usize, mut transition: Transition) {
        let (taken, by) = (transition.taken.clone(), transition.by.clone());
        transition.stage = TransitionStage::GivenBack;
        transition.trouble = Some(format!("a pool of {taken} does not start on {by}"));
        self.pairs[pair].transition = Some(transition);
        self.close_window(&taken, WindowKind::Takeover);
        self.note(&by, format!("gave the takeover of {taken} up"));
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
    pub(in crate::sim) fn abort_takeover(&mut self, pair: usize) {
        let pair = &mut self.pairs[pair];
        pair.takes_over_at = None;
        let pending = |t: &Transition| t.stage == TransitionStage::TakingOver;
        if let Some(transition) = pair.transition.take_if(|t| pending(t)) {
            let text = format!("did not take {} over", transition.taken);
            self.close_window(&transition.taken, WindowKind::Takeover);
            self.note(&transition.by, text);
        }
    }
}
