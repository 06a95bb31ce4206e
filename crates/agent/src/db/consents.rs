//! Promises between partners.

use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{Generation, TaskOrder, TransitionId};
use rusqlite::{Connection, Transaction, params};

use super::journal::open;
use super::open::{DbError, NodeDb, raise, unreadable};

/// Who promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node promised its partner to start nothing against it.
    Given,
    /// The partner promised, or was asked to.
    Held,
}

impl Side {
    fn as_str(self) -> &'static str {
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
    /// Writes down this node's promise, unless something stands against it: all judged in the
    /// transaction that writes, so that two promises which exclude each other cannot both be made.
    pub(crate) fn give(&self, request: &ConsentRequest) -> Result<Promised, DbError> {
        self.write(|transaction| {
            let highest = raise(transaction, request.generation)?;
            if highest > request.generation {
                return Ok(Promised::Stale(highest));
            }
            let given = list(transaction, Side::Given)?;
            if given.contains(request) {
                return Ok(Promised::Yes);
            }
            // The same takeover under a newer generation replaces what was promised before.
            let other = given
                .into_iter()
                .find(|c| c.transition != request.transition);
            if let Some(other) = other {
                return Ok(Promised::Given(Box::new(other)));
            }
            if let Some(held) = list(transaction, Side::Held)?.into_iter().next() {
                return Ok(Promised::Held(Box::new(held)));
            }
            if let Some(running) = open(transaction)?.into_iter().next() {
                return Ok(Promised::Busy(Box::new(running.order)));
            }
            put(transaction, Side::Given, request)?;
            Ok(Promised::Yes)
        })
    }

    /// Writes down that this node asks its partner for a promise, unless it has promised one itself.
    pub(crate) fn ask(&self, request: &ConsentRequest) -> Result<Promised, DbError> {
        self.write(|transaction| {
            if let Some(given) = list(transaction, Side::Given)?.into_iter().next() {
                return Ok(Promised::Given(Box::new(given)));
            }
            put(transaction, Side::Held, request)?;
            Ok(Promised::Yes)
        })
    }

    /// The promises of one side.
    pub fn consents(&self, side: Side) -> Result<Vec<ConsentRequest>, DbError> {
        Ok(list(&self.lock(), side)?)
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
        self.write(|transaction| {
            let sql = "DELETE FROM consent WHERE side = ?1 AND transition = ?2";
            transaction.execute(sql, params![side.as_str(), transition.to_string()])?;
            Ok(())
        })
    }
}

fn put(
    transaction: &Transaction<'_>,
    side: Side,
    request: &ConsentRequest,
) -> rusqlite::Result<()> {
    let body = serde_json::to_string(request).expect("requests are plain data: JSON can say it");
    let sql = "INSERT OR REPLACE INTO consent (side, transition, body) VALUES (?1, ?2, ?3)";
    let transition = request.transition.to_string();
    transaction
        .execute(sql, params![side.as_str(), transition, body])
        .map(drop)
}

pub(super) fn list(connection: &Connection, side: Side) -> rusqlite::Result<Vec<ConsentRequest>> {
    let sql = "SELECT body FROM consent WHERE side = ?1 ORDER BY transition";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([side.as_str()], |row| row.get::<_, String>(0))?;
    rows.map(|body| serde_json::from_str(&body?).map_err(unreadable))
        .collect()
}
