//! A state of the explored world: the pair's machines, the record, what each node remembers and has under
//! way, what coordinators know and hold, and what is on the wire.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use evenkeel_agent::{JournalEntry, Memory, Stage};
use evenkeel_model::{
    BootId, Generation, NodeName, Operation, OperationId, ReportState, TaskKey, TaskOrder,
    TaskState,
};
use evenkeel_platform::sim::Hardware;
use evenkeel_record::{Append, MemoryHub, View};
use uuid::Uuid;

use super::kept::{Kept, join, print};
use super::stage::{Ask, Scenery, Script, entry_print};

/// The names of the two nodes.
pub(crate) fn name(number: usize) -> NodeName {
    static NAMES: LazyLock<[NodeName; 2]> =
        LazyLock::new(|| [0, 1].map(|node| crate::Settings::new(2).name(node)));
    NAMES[number].clone()
}

/// The update that is explored.
pub(crate) fn operation_id() -> OperationId {
    OperationId(Uuid::from_u128(0xE7))
}

/// The record and its fold.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) hub: MemoryHub,
    pub(crate) view: View,
}

/// What an order's work waits for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Waits {
    /// The explorer, to let it go on.
    Turn,
    For(Ask),
    Sleeps,
}

/// An order under way in a daemon.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// As it was when the work began.
    pub(crate) entry: Arc<JournalEntry>,
    pub(crate) script: Arc<Script>,
    pub(crate) waits: Waits,
}

impl Work {
    pub(crate) fn new(entry: Arc<JournalEntry>) -> Self {
        Self {
            entry,
            script: Arc::default(),
            waits: Waits::Turn,
        }
    }

    fn print(&self) -> u64 {
        let key = self.entry.order.key;
        let script: Vec<u64> = self.script.iter().map(|answer| answer.print).collect();
        let waits = match &self.waits {
            Waits::Turn => 0,
            Waits::For(_) => 1,
            Waits::Sleeps => 2,
        };
        join(&(
            key,
            self.entry.resumed,
            self.entry.stage as u8,
            script,
            waits,
        ))
    }
}

/// What a coordinator is about to append.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) by: usize,
    pub(crate) generation: Generation,
    pub(crate) append: Append,
}

/// What a coordinator knows.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    pub(crate) generation: Generation,
    /// Nodes that refuse older generations.
    pub(crate) installed: [bool; 2],
    pub(crate) reports: BTreeMap<TaskKey, ReportState>,
    /// Decided, and not appended yet.
    pub(crate) holds: Option<Kept<Letter>>,
}

/// A node's daemon, and what outlives it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) memory: Kept<Memory>,
    /// The boot that its daemon runs in.
    pub(crate) up: Option<BootId>,
    pub(crate) work: Option<Work>,
    pub(crate) coordinator: Option<Kept<Coordinator>>,
}

/// An order on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) to: usize,
    pub(crate) from: usize,
    pub(crate) order: TaskOrder,
}

/// How much more may go wrong, and be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) faults: u8,
    pub(crate) requests: u8,
}

/// The world.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) hardware: Kept<Hardware>,
    pub(crate) recorded: Kept<Recorded>,
    pub(crate) nodes: [Node; 2],
    /// Orders under way, by fingerprint.
    pub(crate) mail: BTreeMap<u64, Kept<Mail>>,
    /// Appends of which nobody awaits the answer any more.
    pub(crate) late: BTreeMap<u64, Kept<Letter>>,
    /// The third of the record's voters is away: beside it the record lies on both nodes, and needs two of three.
    pub(crate) voter_away: bool,
    pub(crate) budget: Budget,
}

impl Recorded {
    /// Of what decisions depend on: what was tried before, and when, is left out.
    pub(crate) fn print(view: &View) -> u64 {
        let control = view.control();
        let leads = (
            &control.generation,
            &control.coordinator,
            &control.handed_to,
        );
        let Some(operation) = view.operation(operation_id()) else {
            return print(&leads);
        };
        let tasks = operation.tasks.values().map(|task| {
            let (kind, more) = match &task.state {
                TaskState::Running => (0, print(&(task.attempt, task.since, task.tries))),
                TaskState::Done { .. } => (1, 0),
                TaskState::Failed { error, .. } => (2, print(&(error.kind, task.tries))),
            };
            let before = print(&task.before);
            join(&(task.task.id, task.transition, before, kind, more))
        });
        let tasks: Vec<u64> = tasks.collect();
        let stands = (
            (&operation.state, operation.pause_asked),
            operation.findings.is_some(),
            operation.restoring.keys().collect::<Vec<_>>(),
            &operation.passed,
            operation.updated.keys().collect::<Vec<_>>(),
            operation.plan.as_ref().map(|plan| plan.revision),
        );
        let plan = operation.plan.iter().flat_map(|plan| plan.tasks());
        let plan: Vec<_> = plan.map(|task| task.id).collect();
        join(&(print(&leads), print(&stands), plan, tasks))
    }
}

impl State {
    /// Of all that the future depends on. What is over and can no longer be asked for is left out, so that
    /// ways which differ in nothing else meet again.
    pub(crate) fn print(&self) -> u64 {
        let asked = self.asked_for();
        let nodes = self.nodes.each_ref().map(|node| {
            let ended =
                node.memory.orders.iter().filter(|entry| {
                    entry.stage == Stage::Ended && asked.contains(&entry.order.key)
                });
            let ended: Vec<u64> = ended.map(|entry| entry_print(entry)).collect();
            let work = node.work.as_ref().map(Work::print);
            let coordinator = node.coordinator.as_ref().map(|c| c.print);
            (node.memory.print, ended, node.up, work, coordinator)
        });
        let mail: Vec<u64> = self.mail.keys().copied().collect();
        let late: Vec<u64> = self.late.keys().copied().collect();
        let (hardware, recorded) = (self.hardware.print, self.recorded.print);
        join(&(
            hardware,
            recorded,
            nodes,
            (mail, late),
            self.fits(),
            (self.voter_away, self.budget),
        ))
    }

    /// Orders that someone may still ask a journal for.
    fn asked_for(&self) -> Vec<TaskKey> {
        let tasks = self.operation().tasks.values();
        let running = tasks.filter(|task| matches!(task.state, TaskState::Running));
        let running = running.map(|task| TaskKey {
            operation: operation_id(),
            task: task.task.id,
            attempt: task.attempt,
        });
        let mail = self.mail.values().map(|mail| mail.order.key);
        let given = self.nodes.iter().flat_map(|node| &node.memory.given);
        let given = given.map(|consent| consent.key);
        running.chain(mail).chain(given).collect()
    }

    /// Which of the appends under way the record would take.
    fn fits(&self) -> Vec<bool> {
        let held = self.nodes.iter().filter_map(|node| {
            let coordinator = node.coordinator.as_ref()?;
            coordinator.holds.as_ref()
        });
        let letters = held.chain(self.late.values());
        let fits = letters.map(|letter| {
            let mut writes = letter.append.writes.iter();
            writes.all(|write| write.expected == self.recorded.view.head(write.stream))
        });
        fits.collect()
    }

    pub(crate) fn scenery(&self) -> Scenery {
        Scenery {
            hardware: self.hardware.clone(),
            memories: self.nodes.each_ref().map(|node| node.memory.clone()),
            up: self.nodes.each_ref().map(|node| node.up),
        }
    }

    /// Whether the record could be written without these nodes.
    pub(crate) fn survives_without(&self, down: &[NodeName]) -> Result<(), String> {
        match down.len() + usize::from(self.voter_away) {
            0 | 1 => Ok(()),
            lost => Err(format!("it would lack {lost} of its 3 voters")),
        }
    }

    pub(crate) fn operation(&self) -> &Operation {
        let operation = self.recorded.view.operation(operation_id());
        operation.expect("every explored record begins with it")
    }

    /// Whether a daemon coordinates that the record knows as the coordinator.
    pub(crate) fn is_led(&self) -> bool {
        let control = self.recorded.view.control();
        let is_named = |number: usize| {
            let named = control.coordinator.as_ref();
            named.is_some_and(|c| c.node == name(number))
        };
        (0..2).any(|number| {
            let coordinator = self.nodes[number].coordinator.as_ref();
            is_named(number) && coordinator.is_some_and(|c| c.generation == control.generation)
        })
    }
}
