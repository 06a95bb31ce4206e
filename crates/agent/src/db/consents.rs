//! Promises between partners.

use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{Generation, TaskOrder, TransitionId};

use super::open::{DbError, NodeDb};
use super::rules;

/// Who promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node promised its partner to start nothing against it.
    Given,
    /// The partner promised, or was asked to.
    Held,
}

impl Side {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Held => "held",
        }
    }
}

/// What became of a promise that was to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Promised {
    /// It is durable.
    Yes,
    /// A higher generation was seen.
    Stale(Generation),
    /// This node has promised another takeover.
    Given(Box<ConsentRequest>),
    /// This node asked its partner, or holds its promise, to take it over.
    Held(Box<ConsentRequest>),
    /// This node works on an order.
    Busy(Box<TaskOrder>),
}

impl NodeDb {
    /// Writes down this node's promise, unless something stands against it.
    pub(crate) fn give(&self, request: &ConsentRequest) -> Result<Promised, DbError> {
        self.transact(|tables| rules::give(tables, request))
    }

    /// Writes down that this node asks its partner for a promise, unless it has promised one itself.
    pub(crate) fn ask(&self, request: &ConsentRequest) -> Result<Promised, DbError> {
        self.transact(|tables| rules::ask(tables, request))
    }

    /// The promises of one side.
    pub fn consents(&self, side: Side) -> Result<Vec<ConsentRequest>, DbError> {
        self.look(|tables| tables.consents(side))
    }

    /// One promise.
    pub fn consent(
        &self,
        side: Side,
        transition: TransitionId,
    ) -> Result<Option<ConsentRequest>, DbError> {
        Ok(self
            .consents(side)?
            .into_iter()
            .find(|c| c.transition == transition))
    }

    /// The promise no longer holds.
    pub fn release(&self, side: Side, transition: TransitionId) -> Result<(), DbError> {
        self.transact(|tables| tables.drop_consent(side, transition))
    }
}
