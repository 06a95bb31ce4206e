//! The journal of orders.

use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{Generation, Progress, ReportState, TaskEnd, TaskKey, TaskOrder, TaskReport};

use super::open::{DbError, NodeDb};
use super::rules;

/// How far a journaled order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was done for it.
    Accepted,
    /// An effect of it may have begun.
    Acting,
    /// Over.
    Ended,
}

/// A journaled order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// What was ordered.
    pub order: TaskOrder,
    /// How far it is.
    pub stage: Stage,
    /// How often a restarted daemon took it up again.
    pub resumed: u32,
    /// How it ended.
    pub end: Option<TaskEnd>,
}

impl JournalEntry {
    /// An order that was just accepted.
    pub(crate) fn new(order: TaskOrder) -> Self {
        Self {
            order,
            stage: Stage::Accepted,
            resumed: 0,
            end: None,
        }
    }

    /// The report on it; the progress of one that runs is not in the journal.
    pub fn report(&self) -> TaskReport {
        let state = match &self.end {
            Some(end) => ReportState::Ended { end: end.clone() },
            None => ReportState::Running {
                progress: Progress::default(),
            },
        };
        TaskReport {
            key: self.order.key,
            state,
        }
    }
}

/// What became of an order that was brought to the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is journaled now.
    New,
    /// It was journaled before.
    Known(Box<JournalEntry>),
    /// The node works on another one.
    Busy(Box<TaskOrder>),
    /// The node has consented to be taken over: the order must wait.
    Consented(Box<ConsentRequest>),
    /// A higher generation was seen.
    Stale(Generation),
}

impl NodeDb {
    /// Journals an order unless it is known, stale, or the node is busy. Its generation is remembered
    /// in the same transaction.
    pub fn accept(&self, order: &TaskOrder) -> Result<Accepted, DbError> {
        self.transact(|tables| rules::accept(tables, order))
    }

    /// An order, if it is journaled.
    pub fn order(&self, key: TaskKey) -> Result<Option<JournalEntry>, DbError> {
        self.look(|tables| tables.order(key))
    }

    /// Orders that have not ended.
    pub fn open_orders(&self) -> Result<Vec<JournalEntry>, DbError> {
        self.look(|tables| tables.open())
    }

    /// Open orders and the newest `limit` ended ones, oldest first.
    pub fn recent_orders(&self, limit: u32) -> Result<Vec<JournalEntry>, DbError> {
        self.look(|tables| tables.recent(limit))
    }

    /// From now on an effect of the order may have begun. The generation is looked at in the same
    /// transaction: `false` if a higher one was seen or the order has ended, and then nothing is noted.
    pub fn begin_acting(&self, key: TaskKey, generation: Generation) -> Result<bool, DbError> {
        self.transact(|tables| rules::begin_acting(tables, key, generation))
    }

    /// Counts that a restarted daemon takes the order up again. Returns how often that was.
    pub fn resume(&self, key: TaskKey) -> Result<u32, DbError> {
        self.transact(|tables| rules::resume(tables, key))
    }

    /// The order is over.
    pub fn end(&self, key: TaskKey, end: &TaskEnd) -> Result<(), DbError> {
        self.transact(|tables| rules::end(tables, key, end))
    }
}
