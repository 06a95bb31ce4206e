//! What happened to the hardware, and whether it is in a state that must not be.

use std::collections::VecDeque;

use evenkeel_model::{NodeName, Slot, SlotHealth, TransitionId, TransitionStage};
use serde::{Deserialize, Serialize};

use super::devices::Harm;
use super::hardware::{Hardware, PowerState};
use crate::wire::Command;

/// Newest entries that are kept of each list: a lab may run for weeks.
const KEPT: usize = 1_000;

/// On whose account something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A call of a node's platform: ours.
    Ours {
        /// By which node.
        node: NodeName,
        /// Which call.
        command: Command,
    },
    /// Everything else: a fault, an admin's hand, the passing of time.
    Outside {
        /// What.
        what: String,
    },
}

impl Default for Cause {
    fn default() -> Self {
        Self::outside("time passed")
    }
}

impl Cause {
    pub(super) fn outside(what: impl Into<String>) -> Self {
        Self::Outside { what: what.into() }
    }

    /// Whether an act of ours did it.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Ours { .. } => true,
            Self::Outside { .. } => false,
        }
    }
}

/// A time in which neither member of a pair served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The pair.
    pub members: [NodeName; 2],
    /// Why it began.
    pub cause: Cause,
    /// Since when.
    pub from_ms: u64,
    /// Until when; none while it lasts.
    pub until_ms: Option<u64>,
    /// The takeover of ours that was not undone when it began.
    pub during: Option<TransitionId>,
}

/// An act of ours that the hardware refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When.
    pub at_ms: u64,
    /// Who asked.
    pub node: NodeName,
    /// For what.
    pub command: Command,
    /// Why not.
    pub why: String,
}

/// A line of the hardware's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Counts from 1.
    pub seq: u64,
    /// When.
    pub at_ms: u64,
    /// Of which node.
    pub node: NodeName,
    /// What happened.
    pub text: String,
}

/// A time in which addresses were on the move between partners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The node that was taken over or given back.
    pub node: NodeName,
    /// Which of the two.
    pub kind: WindowKind,
    /// From acceptance.
    pub from_ms: u64,
    /// Until pools and LIFs were where they belong; none while they are not.
    pub until_ms: Option<u64>,
}

/// What a [`Window`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// The partner takes the node over.
    Takeover,
    /// The node gets its pools and LIFs back.
    Giveback,
}

/// Everything that is remembered of the past.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct History {
    seq: u64,
    log: VecDeque<LogEntry>,
    incidents: VecDeque<Incident>,
    refused: VecDeque<Refused>,
    windows: VecDeque<Window>,
    #[serde(default)]
    harms: VecDeque<Harm>,
}

impl History {
    pub(super) fn harms(&self) -> impl Iterator<Item = &Harm> {
        self.harms.iter()
    }

    pub(super) fn add_harm(&mut self, harm: Harm) {
        push(&mut self.harms, harm);
    }
}

fn push<T>(list: &mut VecDeque<T>, entry: T) {
    list.push_back(entry);
    if list.len() > KEPT {
        list.pop_front();
    }
}

impl Hardware {
    /// What is wrong with the hardware that no fault can explain. Empty unless the state machine itself,
    /// or an act of ours, broke a rule that may never be broken.
    pub fn check(&self) -> Vec<String> {
        let mut broken = Vec::new();
        self.check_ownership(&mut broken);
        self.check_slots(&mut broken);
        for pair in &self.pairs {
            let Some(transition) = &pair.transition else {
                continue;
            };
            let (taken, by) = (&transition.taken, &transition.by);
            if taken == by || !pair.members.contains(taken) || !pair.members.contains(by) {
                broken.push(format!(
                    "a takeover of {taken} by {by} is not one within a pair"
                ));
            }
            let pending = transition.stage == TransitionStage::TakingOver;
            if pending != pair.takes_over_at.is_some() {
                broken.push(format!(
                    "the takeover of {taken} by {by} is not timed as its stage says"
                ));
            }
        }
        for incident in &self.history.incidents {
            if incident.cause.is_ours() {
                let [first, second] = &incident.members;
                let cause = &incident.cause;
                broken.push(format!(
                    "an act of ours took {first} and {second} down: {cause:?}"
                ));
            }
        }
        for harm in self.history.harms().filter(|harm| harm.cause.is_ours()) {
            let Harm {
                group,
                drives,
                what,
                ..
            } = harm;
            broken.push(format!(
                "an act of ours took {drives:?} out of {group}: {what}"
            ));
        }
        broken
    }

    fn check_ownership(&self, broken: &mut Vec<String>) {
        let pools = self
            .pools
            .iter()
            .map(|p| (p.name.as_str(), &p.home, &p.owner));
        let lifs = self
            .lifs
            .iter()
            .map(|l| (l.name.as_str(), &l.home, &l.current));
        for (name, home, owner) in pools.chain(lifs) {
            let Some(owner) = owner else { continue };
            let partner = self.at(home).partner.as_ref();
            if owner != home && Some(owner) != partner {
                broken.push(format!("{name} of {home} is on {owner}, outside its pair"));
            }
            if self.at(owner).up().is_none() {
                broken.push(format!("{name} is on {owner}, which is not up"));
            }
        }
    }

    fn check_slots(&self, broken: &mut Vec<String>) {
        for (name, node) in &self.nodes {
            let lost = |slot| node.slot(slot).health == SlotHealth::Unbootable;
            if lost(Slot::A) && lost(Slot::B) {
                broken.push(format!("{name} has no bootable slot left"));
            }
            if node.power == PowerState::Halted
                && (node.a.health == SlotHealth::Good && node.a.image.is_some()
                    || node.b.health == SlotHealth::Good && node.b.image.is_some())
            {
                broken.push(format!("{name} halted although it has a good slot"));
            }
        }
    }

    /// Times in which a whole pair was out of service, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.history.incidents.iter()
    }

    /// Acts of ours that were refused, oldest first.
    pub fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.history.refused.iter()
    }

    /// Takeovers and givebacks, oldest first.
    pub fn windows(&self) -> impl Iterator<Item = &Window> {
        self.history.windows.iter()
    }

    /// The log, oldest first.
    pub fn log(&self) -> impl Iterator<Item = &LogEntry> {
        self.history.log.iter()
    }

    pub(super) fn note(&mut self, node: &NodeName, text: impl Into<String>) {
        self.history.seq += 1;
        let entry = LogEntry {
            seq: self.history.seq,
            at_ms: self.now,
            node: node.clone(),
            text: text.into(),
        };
        push(&mut self.history.log, entry);
        self.changed();
    }

    pub(super) fn note_refusal(&mut self, node: &NodeName, command: &Command, why: &str) {
        let refused = Refused {
            at_ms: self.now,
            node: node.clone(),
            command: command.clone(),
            why: why.to_owned(),
        };
        push(&mut self.history.refused, refused);
        self.note(node, format!("refused: {why}"));
    }

    pub(super) fn open_window(&mut self, node: &NodeName, kind: WindowKind) {
        let same = |w: &Window| w.node == *node && w.kind == kind && w.until_ms.is_none();
        if self.history.windows.iter().any(same) {
            return;
        }
        let window = Window {
            node: node.clone(),
            kind,
            from_ms: self.now,
            until_ms: None,
        };
        push(&mut self.history.windows, window);
        self.changed();
    }

    pub(super) fn close_window(&mut self, node: &NodeName, kind: WindowKind) {
        let now = self.now;
        for window in &mut self.history.windows {
            if window.node == *node && window.kind == kind && window.until_ms.is_none() {
                window.until_ms = Some(now);
            }
        }
        self.changed();
    }

    /// Notices when a pair goes out of service, and on whose account, and when it is back.
    pub(super) fn watch_service(&mut self) {
        self.watch_groups();
        for index in 0..self.pairs.len() {
            let members = self.pairs[index].members.clone();
            let out = !members.iter().any(|node| self.member_ha(node).serves());
            if out == self.pairs[index].out_of_service {
                continue;
            }
            self.pairs[index].out_of_service = out;
            if out {
                self.note(&members[0], format!("out of service with {}", members[1]));
                self.begin_incident(index, members);
            } else {
                self.note(&members[0], format!("the pair with {} serves", members[1]));
                self.end_incident(&members);
            }
        }
    }

    fn begin_incident(&mut self, pair: usize, members: [NodeName; 2]) {
        let transition = self.pairs[pair].transition.as_ref();
        let standing = transition.filter(|t| t.stage != TransitionStage::GivenBack);
        let incident = Incident {
            members,
            cause: self.cause.clone(),
            from_ms: self.now,
            until_ms: None,
            during: standing.and_then(|t| t.id),
        };
        push(&mut self.history.incidents, incident);
    }

    fn end_incident(&mut self, members: &[NodeName; 2]) {
        let now = self.now;
        for incident in &mut self.history.incidents {
            if incident.members == *members && incident.until_ms.is_none() {
                incident.until_ms = Some(now);
            }
        }
    }
}
