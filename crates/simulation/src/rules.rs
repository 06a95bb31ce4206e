//! What the record may say, held against what was true when it was said. Every event is judged once, in
//! order, as soon as it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::{
    Action, ControlEvent, Event, EventId, Finding, JobOutcome, MemberHa, NodeName, Operation,
    OperationEnd, OperationEvent, OperationKind, Severity, SlotHealth, TaskId, TransitionId,
};
use evenkeel_model::{Generation, OperationId, StreamId};
use evenkeel_platform::sim::Fault;
use evenkeel_record::{Entry, Fence, View};
use tokio::time::Instant;

use crate::settings::digest;
use crate::world::{World, lock};

/// A coordinator's knowledge of a node is at most so old: an observation's longest round, and some.
const STALE: Duration = Duration::from_secs(25);

/// What the judge remembers.
#[derive(Default)]
pub(crate) struct Rules {
    /// Who sent an event to the record, and as whom.
    authors: BTreeMap<EventId, (NodeName, Option<Generation>)>,
    /// Since when a node does not serve.
    pub(crate) away: BTreeMap<NodeName, Instant>,
    /// Since when a fault blinds a node.
    pub(crate) blind: BTreeMap<(NodeName, Fault), Instant>,
    /// Since when a node lacks what it needs to carry its partner.
    lame: BTreeMap<(NodeName, Fault), Instant>,
    /// When operations were asked for.
    requested: BTreeMap<OperationId, Instant>,
    /// The takeover that a task makes.
    takeovers: BTreeMap<(OperationId, TaskId), TransitionId>,
    /// What people ever acknowledged.
    acknowledged: Vec<(String, BTreeSet<String>)>,
    /// Operations whose first job succeeded.
    promised_done: BTreeSet<OperationId>,
}

/// Which facts a check of the cluster cannot do without, by what hides them.
const BLINDING: [Fault; 4] = [
    Fault::BlindPair,
    Fault::BlindSlots,
    Fault::BlindPools,
    Fault::BlindLifs,
];

/// Without that a pair's nodes cannot stand in for each other.
const LAMING: [Fault; 4] = [
    Fault::HideDisk,
    Fault::LosePath,
    Fault::LoseDomain,
    Fault::NoFailoverTarget,
];

impl World {
    /// Notes who is about to append what.
    pub(crate) fn signs(&self, author: &NodeName, fence: Fence, ids: Vec<EventId>) {
        let claimed = match fence {
            Fence::Holds(generation) => Some(generation),
            Fence::None | Fence::Advance { .. } => None,
        };
        let mut rules = lock(&self.rules);
        for id in ids {
            rules.authors.insert(id, (author.clone(), claimed));
        }
    }

    /// Notes which nodes serve.
    pub(crate) fn note_service(&self) {
        let now = Instant::now();
        let mut rules = lock(&self.rules);
        self.hardware(|hardware, _| {
            for node in self.topology.names() {
                match hardware.ha(node) {
                    Some(MemberHa::Serving) => drop(rules.away.remove(node)),
                    _ => drop(rules.away.entry(node.clone()).or_insert(now)),
                }
            }
        });
    }

    /// Notes what a node cannot see, and what it lacks.
    pub(crate) fn note_fault(&self, node: &NodeName, fault: Fault, on: bool) {
        let rules = &mut *lock(&self.rules);
        for (concerned, since) in [
            (BLINDING.contains(&fault), &mut rules.blind),
            (LAMING.contains(&fault), &mut rules.lame),
        ] {
            let key = (node.clone(), fault);
            match on && concerned {
                true => drop(since.entry(key).or_insert_with(Instant::now)),
                false => drop(since.remove(&key)),
            }
        }
    }

    /// Judges an event by what was folded before it.
    pub(crate) fn judge(&self, before: &View, entry: &Entry) {
        let mut broken = Vec::new();
        {
            let mut rules = lock(&self.rules);
            let event = match Event::decode(entry.stream, &entry.body) {
                Ok(Event::Operation(event)) => event,
                Ok(Event::Control(ControlEvent::WarningAcknowledged { check, about, .. })) => {
                    rules.acknowledged.push((check, about));
                    return;
                }
                Ok(Event::Control(_) | Event::Catalogue(_) | Event::Foreign { .. }) | Err(_) => {
                    return;
                }
            };
            let StreamId::Operation(id) = entry.stream else {
                return;
            };
            let author = rules.authors.get(&entry.id).cloned();
            broken.extend(self.judge_author(before, id, &event, author));
            broken.extend(self.judge_event(&mut rules, before, id, &event));
        }
        broken.into_iter().for_each(|what| self.violated(what));
    }

    /// What coordinating comes to is only the coordinator's to say.
    fn judge_author(
        &self,
        before: &View,
        id: OperationId,
        event: &OperationEvent,
        author: Option<(NodeName, Option<Generation>)>,
    ) -> Option<String> {
        let (author, claimed) = author?;
        let control = before.control();
        if let Some(claimed) = claimed.filter(|claimed| *claimed != control.generation) {
            return Some(format!(
                "{author} appended as generation {claimed} in generation {}",
                control.generation
            ));
        }
        let kind = before.operation(id).map(|operation| operation.kind());
        let coordinates = control.coordinator.as_ref().map(|c| &c.node);
        let is_due = is_coordinators(event, kind) && coordinates != Some(&author);
        is_due.then(|| format!("{author} does not coordinate and appended {event:?}"))
    }

    fn judge_event(
        &self,
        rules: &mut Rules,
        before: &View,
        id: OperationId,
        event: &OperationEvent,
    ) -> Option<String> {
        let operation = before.operation(id);
        match event {
            OperationEvent::Requested { .. } => {
                rules.requested.insert(id, Instant::now());
                None
            }
            OperationEvent::Validated { findings, .. } => {
                let has_error = findings.iter().any(|f| f.severity == Severity::Error);
                let since = *rules.requested.get(&id)?;
                let mut hidden = rules.blind.iter().filter(|(_, at)| **at < since);
                if let Some(((node, fault), _)) = hidden.find(|_| !has_error) {
                    return Some(format!("{node} has {fault}, and validation found no error"));
                }
                let mut false_names = findings.iter().filter(|f| !rules.is_true(f));
                let named = false_names.next()?;
                Some(format!("nobody acknowledged {named:?}"))
            }
            OperationEvent::Planned { .. } => {
                let operation = operation?;
                (operation.revisions == 0).then(|| not_admitted(operation))?
            }
            OperationEvent::TaskStarted {
                task, transition, ..
            } => {
                let plan = operation?.plan.as_ref()?;
                let task = plan.tasks().find(|known| known.id == *task)?;
                if task.action != Action::Takeover {
                    return None;
                }
                let (key, transition) = ((id, task.id), (*transition)?);
                let first = *rules.takeovers.entry(key).or_insert(transition);
                if first != transition && self.stands(first) {
                    return Some(format!("takeover {first} stands, and {transition} begins"));
                }
                let partner = self.topology.partner_of(&task.node)?;
                let mut lame = rules.lame.iter().filter(|(_, at)| at.elapsed() > STALE);
                let in_pair = |name: &NodeName| *name == task.node || name == partner;
                if let Some(((name, fault), _)) = lame.find(|((name, _), _)| in_pair(name))
                    && !self.stands(transition)
                {
                    let node = &task.node;
                    return Some(format!(
                        "a takeover of {node} begins, and {name} has {fault}"
                    ));
                }
                let away = rules.away.get(partner)?.elapsed();
                (away > STALE && !self.stands(transition)).then(|| {
                    let node = &task.node;
                    format!("a takeover of {node} begins, and {partner} is away for {away:?}")
                })
            }
            OperationEvent::JobClosed { job, outcome, .. } => {
                if let Some(lost) = operation.and_then(|get| lost_upload(before, get, outcome)) {
                    return Some(lost);
                }
                let is_first = operation?
                    .jobs
                    .first()
                    .is_some_and(|first| first.id == *job);
                if is_first && matches!(outcome, JobOutcome::Success { .. }) {
                    rules.promised_done.insert(id);
                }
                None
            }
            OperationEvent::Ended {
                end: OperationEnd::Completed,
                ..
            } => lost_history(operation?),
            OperationEvent::NodeUpdated { node, to, .. } => {
                let to = digest(to.as_ref());
                self.hardware(|hardware, _| {
                    let slots = hardware.slots_state(node)?;
                    let booted = slots.slot(slots.booted);
                    let runs = booted.image.as_ref().is_some_and(|i| i.digest == to);
                    let good = booted.health == SlotHealth::Good;
                    (!runs || !good).then(|| format!("{node} is said to be updated: {booted:?}"))
                })
            }
            _ => None,
        }
    }

    /// Whether that takeover is not given back.
    fn stands(&self, id: TransitionId) -> bool {
        self.hardware(|hardware, _| {
            self.topology.names().any(|node| {
                let pair = hardware.pair_state(node);
                let transition = pair.and_then(|pair| pair.transition);
                transition.is_some_and(|t| {
                    t.id == Some(id) && t.stage != evenkeel_model::TransitionStage::GivenBack
                })
            })
        })
    }

    /// Jobs that were said to be done, of operations that never were.
    pub(crate) fn broken_promises(&self, view: &View) -> Vec<String> {
        let rules = lock(&self.rules);
        let open = rules.promised_done.iter().filter(|id| {
            let operation = view.operation(**id);
            operation.is_some_and(|operation| !operation.is_ended())
        });
        open.map(|id| format!("the job of {id} succeeded before it ended"))
            .collect()
    }
}

impl Rules {
    /// Whether the finding is marked as acknowledged only if somebody did so.
    fn is_true(&self, finding: &Finding) -> bool {
        let covers = |(check, about): &(String, BTreeSet<String>)| {
            *check == finding.check && finding.about.is_subset(about)
        };
        let is_warning = finding.severity == Severity::Warning;
        finding.acknowledged.is_none() || (is_warning && self.acknowledged.iter().any(covers))
    }
}

/// Whoever is told that a package was taken in finds it in the catalogue.
fn lost_upload(view: &View, get: &Operation, outcome: &JobOutcome) -> Option<String> {
    let (digest, version) = get.staged.as_ref()?;
    let succeeded = matches!(outcome, JobOutcome::Success { .. });
    let is_there = view.catalogue().packages.contains_key(digest);
    (succeeded && !is_there).then(|| format!("package {version} was taken in and is lost"))
}

/// Every node that an update brought to another version is in its history.
fn lost_history(update: &Operation) -> Option<String> {
    let plan = update.plan.as_ref()?;
    let changes = |node: &NodeName| plan.from.get(node).is_some_and(|from| *from != plan.target);
    let mut nodes = plan.lanes().map(|lane| &lane.node);
    let lost = nodes.find(|node| changes(node) && !update.updated.contains_key(*node))?;
    Some(format!("the history of {lost} is lost"))
}

/// What should have kept an update from being planned.
fn not_admitted(operation: &Operation) -> Option<String> {
    let skips = operation.update().is_some_and(|u| u.skip_warnings);
    let blocks = |finding: &&Finding| match finding.severity {
        Severity::Error => true,
        Severity::Warning => !skips && finding.acknowledged.is_none(),
    };
    let found = operation.findings.iter().flatten().find(blocks)?;
    Some(format!("an update is planned in spite of {found:?}"))
}

/// Whether only a coordinator says this. A package get is its receiver's until the package is there.
fn is_coordinators(event: &OperationEvent, kind: Option<OperationKind>) -> bool {
    match event {
        OperationEvent::Validated { .. }
        | OperationEvent::Planned { .. }
        | OperationEvent::TaskStarted { .. }
        | OperationEvent::TaskEnded { .. }
        | OperationEvent::Restoring { .. }
        | OperationEvent::Paused { .. }
        | OperationEvent::NodeUpdated { .. }
        | OperationEvent::PostChecked { .. } => true,
        OperationEvent::Ended { .. } => kind != Some(OperationKind::PackageGet),
        _ => false,
    }
}
