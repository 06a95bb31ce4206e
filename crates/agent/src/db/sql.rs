//! The memory in SQLite's tables.

use evenkeel_firmware::DeviceStep;
use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{Generation, OperationId, TaskKey, TaskOrder, TransitionId};
use evenkeel_platform::devices::DeviceId;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::open::unreadable;
use super::tables::Tables;
use super::{JournalEntry, Side, Stage};

/// Orders that ended stay this many orders long: a coordinator asks for far newer ones.
const KEEP: i64 = 2000;

const COLUMNS: &str = "body, stage, resumed, ending";

/// The tables as a connection sees them: within its transaction, if it has one.
pub(super) struct Sql<'a>(pub(super) &'a Connection);

impl Sql<'_> {
    /// Prepared once a connection: all of them are kept.
    fn execute(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
        self.0.prepare_cached(sql)?.execute(values)
    }
}

impl Tables for Sql<'_> {
    fn generation(&self) -> rusqlite::Result<Generation> {
        let sql = "SELECT value FROM meta WHERE key = 'generation'";
        let mut statement = self.0.prepare_cached(sql)?;
        let value: i64 = statement.query_row([], |row| row.get(0))?;
        Ok(Generation(value as u64))
    }

    fn set_generation(&mut self, to: Generation) -> rusqlite::Result<()> {
        let sql = "UPDATE meta SET value = ?1 WHERE key = 'generation'";
        self.execute(sql, [to.0 as i64]).map(drop)
    }

    fn order(&self, key: TaskKey) -> rusqlite::Result<Option<JournalEntry>> {
        let (operation, task, attempt) = columns(key);
        let sql = format!(
            "SELECT {COLUMNS} FROM task WHERE operation = ?1 AND task = ?2 AND attempt = ?3"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        statement
            .query_row(params![operation, task, attempt], entry)
            .optional()
    }

    fn open(&self) -> rusqlite::Result<Vec<JournalEntry>> {
        let sql = format!("SELECT {COLUMNS} FROM task WHERE stage <> 'ended' ORDER BY number");
        entries(self.0, &sql)
    }

    fn recent(&self, limit: u32) -> rusqlite::Result<Vec<JournalEntry>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM task WHERE stage <> 'ended' OR number IN
             (SELECT number FROM task WHERE stage = 'ended' ORDER BY number DESC LIMIT {limit})
             ORDER BY number"
        );
        entries(self.0, &sql)
    }

    fn add(&mut self, order: &TaskOrder) -> rusqlite::Result<()> {
        let body = serde_json::to_string(order).expect("orders are plain data: JSON can say it");
        let (operation, task, attempt) = columns(order.key);
        let sql = "INSERT INTO task (operation, task, attempt, body, stage)
                   VALUES (?1, ?2, ?3, ?4, 'accepted')";
        self.execute(sql, params![operation, task, attempt, body])?;
        let sql = "DELETE FROM task WHERE stage = 'ended'
                   AND number <= (SELECT max(number) FROM task) - ?1";
        self.execute(sql, [KEEP]).map(drop)
    }

    fn change(&mut self, entry: &JournalEntry) -> rusqlite::Result<()> {
        let ending = entry
            .end
            .as_ref()
            .map(|end| serde_json::to_string(end).expect("ends are plain data: JSON can say it"));
        let (operation, task, attempt) = columns(entry.order.key);
        let stage = match entry.stage {
            Stage::Accepted => "accepted",
            Stage::Acting => "acting",
            Stage::Ended => "ended",
        };
        let sql = "UPDATE task SET stage = ?4, resumed = ?5, ending = ?6
                   WHERE operation = ?1 AND task = ?2 AND attempt = ?3";
        let values = params![operation, task, attempt, stage, entry.resumed, ending];
        self.execute(sql, values).map(drop)
    }

    fn consents(&self, side: Side) -> rusqlite::Result<Vec<ConsentRequest>> {
        let sql = "SELECT body FROM consent WHERE side = ?1 ORDER BY transition";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([side.as_str()], |row| row.get::<_, String>(0))?;
        rows.map(|body| serde_json::from_str(&body?).map_err(unreadable))
            .collect()
    }

    fn put_consent(&mut self, side: Side, request: &ConsentRequest) -> rusqlite::Result<()> {
        let body =
            serde_json::to_string(request).expect("requests are plain data: JSON can say it");
        let sql = "INSERT OR REPLACE INTO consent (side, transition, body) VALUES (?1, ?2, ?3)";
        let transition = request.transition.to_string();
        self.execute(sql, params![side.as_str(), transition, body])
            .map(drop)
    }

    fn drop_consent(&mut self, side: Side, transition: TransitionId) -> rusqlite::Result<()> {
        let sql = "DELETE FROM consent WHERE side = ?1 AND transition = ?2";
        self.execute(sql, params![side.as_str(), transition.to_string()])
            .map(drop)
    }

    fn device_steps(&self) -> rusqlite::Result<Vec<DeviceStep>> {
        let sql = "SELECT body FROM device_step";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let steps = rows.map(|body| serde_json::from_str(&body?).map_err(unreadable));
        let mut steps = steps.collect::<rusqlite::Result<Vec<DeviceStep>>>()?;
        steps.sort_by(|left, right| left.step.device.cmp(&right.step.device));
        Ok(steps)
    }

    fn put_device_step(&mut self, step: &DeviceStep) -> rusqlite::Result<()> {
        let body = serde_json::to_string(step).expect("steps are plain data: JSON can say it");
        let sql = "INSERT OR REPLACE INTO device_step (device, body) VALUES (?1, ?2)";
        let values = params![device_key(&step.step.device), body];
        self.execute(sql, values).map(drop)
    }

    fn drop_device_step(&mut self, device: &DeviceId) -> rusqlite::Result<()> {
        let sql = "DELETE FROM device_step WHERE device = ?1";
        self.execute(sql, [device_key(device)]).map(drop)
    }

    fn value(&self, key: &str) -> rusqlite::Result<Option<String>> {
        let sql = "SELECT value FROM small WHERE key = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        statement.query_row([key], |row| row.get(0)).optional()
    }

    fn set_value(&mut self, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
        let changed = match value {
            Some(value) => {
                let sql = "INSERT OR REPLACE INTO small (key, value) VALUES (?1, ?2)";
                self.execute(sql, params![key, value])
            }
            None => self.execute("DELETE FROM small WHERE key = ?1", [key]),
        };
        changed.map(drop)
    }
}

fn device_key(device: &DeviceId) -> String {
    serde_json::to_string(device).expect("ids are plain data: JSON can say it")
}

fn columns(key: TaskKey) -> (String, u32, u32) {
    let OperationId(operation) = key.operation;
    (operation.to_string(), key.task.0, key.attempt)
}

/// Those that can be read. One that has ended may be of a newer release, which this one follows after a fallback:
/// nobody waits for it. One that is open is an error: what it does to the pair is not known.
fn entries(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<JournalEntry>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        match entry(row) {
            Ok(entry) => entries.push(entry),
            Err(_) if row.get::<_, String>(1)? == "ended" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::NodeDb;
    use evenkeel_model::{Action, Before, Digest, Executor, How, NodeName, Task, TaskEnd, TaskId};

    const DONE: TaskEnd = TaskEnd::Done {
        how: How::Completed,
    };

    fn order(n: u32) -> TaskOrder {
        let node: NodeName = "a".parse().unwrap();
        TaskOrder {
            key: TaskKey {
                operation: OperationId(uuid::Uuid::from_u128(1)),
                task: TaskId(n),
                attempt: 1,
            },
            generation: Generation(1),
            task: Task {
                id: TaskId(n),
                node: node.clone(),
                executor: Executor::Agent(node),
                action: Action::MarkGood,
                estimate_s: 1,
            },
            partner: None,
            transition: None,
            before: Before::default(),
            package: Digest([1; 32]),
            target: "9.2".parse().unwrap(),
            no_progress_ms: None,
        }
    }

    /// What a newer release journaled is read by this one after a fallback.
    #[test]
    fn an_ended_order_of_another_release_is_passed_over_and_an_open_one_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.db");
        let db = NodeDb::open(&path).unwrap();
        for n in [1, 2] {
            db.accept(&order(n)).unwrap();
            db.end(order(n).key, &DONE).unwrap();
        }
        let other = Connection::open(&path).unwrap();
        let strange = "UPDATE task SET body = '{\"action\":\"fly\"}' WHERE task = 1";
        other.execute_batch(strange).unwrap();
        let known: Vec<TaskId> = db
            .recent_orders(9)
            .unwrap()
            .iter()
            .map(|e| e.order.task.id)
            .collect();
        assert_eq!(known, [TaskId(2)]);
        assert!(db.open_orders().unwrap().is_empty());
        other
            .execute_batch("UPDATE task SET stage = 'acting'")
            .unwrap();
        assert!(db.open_orders().is_err());
    }

    #[test]
    fn nothing_begins_for_an_order_that_has_ended() {
        let db = NodeDb::open_in_memory().unwrap();
        db.accept(&order(1)).unwrap();
        assert!(db.begin_acting(order(1).key, Generation(1)).unwrap());
        db.end(order(1).key, &DONE).unwrap();
        assert!(!db.begin_acting(order(1).key, Generation(1)).unwrap());
        assert!(!db.begin_acting(order(2).key, Generation(1)).unwrap());
    }
}
