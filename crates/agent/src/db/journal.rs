//! The journal of orders.

use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{
    Action, Generation, OperationId, Progress, ReportState, TaskEnd, TaskKey, TaskOrder, TaskReport,
};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::consents::{Side, list};
use super::open::{DbError, NodeDb, raise, unreadable};

/// Orders that ended stay this many orders long: a coordinator asks for far newer ones.
const KEEP: i64 = 2000;

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

const COLUMNS: &str = "body, stage, resumed, ending";

impl NodeDb {
    /// Journals an order unless it is known, stale, or the node is busy. Its generation is remembered
    /// in the same transaction.
    pub fn accept(&self, order: &TaskOrder) -> Result<Accepted, DbError> {
        let body = serde_json::to_string(order).expect("orders are plain data: JSON can say it");
        self.write(|transaction| {
            if let Some(known) = find(transaction, order.key)? {
                return Ok(Accepted::Known(Box::new(known)));
            }
            let highest = raise(transaction, order.generation)?;
            if highest > order.generation {
                return Ok(Accepted::Stale(highest));
            }
            if let Some(running) = open(transaction)?.into_iter().next() {
                return Ok(Accepted::Busy(Box::new(running.order)));
            }
            if waits_for_release(&order.task.action)
                && let Some(given) = list(transaction, Side::Given)?.into_iter().next()
            {
                return Ok(Accepted::Consented(Box::new(given)));
            }
            let (operation, task, attempt) = columns(order.key);
            let sql = "INSERT INTO task (operation, task, attempt, body, stage)
                       VALUES (?1, ?2, ?3, ?4, 'accepted')";
            transaction.execute(sql, params![operation, task, attempt, body])?;
            let sql = "DELETE FROM task WHERE stage = 'ended'
                       AND number <= (SELECT max(number) FROM task) - ?1";
            transaction.execute(sql, [KEEP])?;
            Ok(Accepted::New)
        })
    }

    /// An order, if it is journaled.
    pub fn order(&self, key: TaskKey) -> Result<Option<JournalEntry>, DbError> {
        self.write(|transaction| find(transaction, key))
    }

    /// Orders that have not ended.
    pub fn open_orders(&self) -> Result<Vec<JournalEntry>, DbError> {
        self.write(open)
    }

    /// Open orders and the newest `limit` ended ones, oldest first.
    pub fn recent_orders(&self, limit: u32) -> Result<Vec<JournalEntry>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM task WHERE stage <> 'ended' OR number IN
             (SELECT number FROM task WHERE stage = 'ended' ORDER BY number DESC LIMIT {limit})
             ORDER BY number"
        );
        self.write(|transaction| entries(transaction, &sql))
    }

    /// From now on an effect of the order may have begun. The generation is looked at in the same
    /// transaction: `false` if a higher one was seen, and then nothing is noted.
    pub fn begin_acting(&self, key: TaskKey, generation: Generation) -> Result<bool, DbError> {
        self.write(|transaction| {
            if super::open::generation(transaction)? > generation {
                return Ok(false);
            }
            let (operation, task, attempt) = columns(key);
            let sql = "UPDATE task SET stage = 'acting'
                       WHERE operation = ?1 AND task = ?2 AND attempt = ?3 AND stage = 'accepted'";
            transaction.execute(sql, params![operation, task, attempt])?;
            Ok(true)
        })
    }

    /// Counts that a restarted daemon takes the order up again. Returns how often that was.
    pub fn resume(&self, key: TaskKey) -> Result<u32, DbError> {
        let (operation, task, attempt) = columns(key);
        self.write(|transaction| {
            let sql = "UPDATE task SET resumed = resumed + 1
                       WHERE operation = ?1 AND task = ?2 AND attempt = ?3 RETURNING resumed";
            transaction.query_row(sql, params![operation, task, attempt], |row| row.get(0))
        })
    }

    /// The order is over.
    pub fn end(&self, key: TaskKey, end: &TaskEnd) -> Result<(), DbError> {
        let ending = serde_json::to_string(end).expect("ends are plain data: JSON can say it");
        let (operation, task, attempt) = columns(key);
        self.write(|transaction| {
            let sql = "UPDATE task SET stage = 'ended', ending = ?4
                       WHERE operation = ?1 AND task = ?2 AND attempt = ?3 AND stage <> 'ended'";
            transaction.execute(sql, params![operation, task, attempt, ending])?;
            Ok(())
        })
    }
}

/// What a node that is about to be taken over does not begin: taking its partner over, and changing
/// the slot that it is about to boot. Giving back and marking good are allowed: they come after.
fn waits_for_release(action: &Action) -> bool {
    match action {
        Action::Takeover
        | Action::Install { .. }
        | Action::Activate { .. }
        | Action::Deactivate => true,
        Action::Giveback
        | Action::MarkGood
        | Action::AwaitBoot { .. }
        | Action::Stabilize { .. }
        | Action::VerifyHome { .. } => false,
    }
}

fn columns(key: TaskKey) -> (String, u32, u32) {
    let OperationId(operation) = key.operation;
    (operation.to_string(), key.task.0, key.attempt)
}

fn find(transaction: &Transaction<'_>, key: TaskKey) -> rusqlite::Result<Option<JournalEntry>> {
    let (operation, task, attempt) = columns(key);
    let sql =
        format!("SELECT {COLUMNS} FROM task WHERE operation = ?1 AND task = ?2 AND attempt = ?3");
    transaction
        .query_row(&sql, params![operation, task, attempt], entry)
        .optional()
}

pub(super) fn open(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<JournalEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM task WHERE stage <> 'ended' ORDER BY number");
    entries(transaction, &sql)
}

fn entries(transaction: &Transaction<'_>, sql: &str) -> rusqlite::Result<Vec<JournalEntry>> {
    transaction.prepare(sql)?.query_map([], entry)?.collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<JournalEntry> {
    let (body, stage): (String, String) = (row.get(0)?, row.get(1)?);
    let ending: Option<String> = row.get(3)?;
    let end = ending
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(unreadable)?;
    Ok(JournalEntry {
        order: serde_json::from_str(&body).map_err(unreadable)?,
        stage: match stage.as_str() {
            "accepted" => Stage::Accepted,
            "ended" => Stage::Ended,
            // The schema allows no fourth; the careful reading is that an effect may have begun.
            _ => Stage::Acting,
        },
        resumed: row.get(2)?,
        end,
    })
}
