//! A disposable copy of the record's events, so that this node answers while the record does not.

use evenkeel_model::{EventId, Position, Seq, StreamId};
use rusqlite::{Row, params};

use super::open::{DbError, NodeDb, unreadable};

/// An event as the record holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRow {
    /// Its place among all events.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its number there.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// Its text.
    pub body: String,
}

impl NodeDb {
    /// All mirrored events by position. A database of plain data mirrors nothing.
    pub fn mirror_load(&self) -> Result<Vec<MirrorRow>, DbError> {
        let rows = self.sql(|transaction| {
            let sql = "SELECT position, stream, seq, id, body FROM mirror ORDER BY position";
            let mut statement = transaction.prepare_cached(sql)?;
            statement.query_map([], row)?.collect()
        })?;
        Ok(rows.unwrap_or_default())
    }

    /// Adds events in one transaction. One that is there already stays.
    pub fn mirror_store(&self, rows: &[MirrorRow]) -> Result<(), DbError> {
        self.sql(|transaction| {
            let sql = "INSERT OR IGNORE INTO mirror (position, stream, seq, id, body)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut statement = transaction.prepare_cached(sql)?;
            for row in rows {
                let (position, seq) = (row.position.0 as i64, row.seq.0 as i64);
                let (stream, id) = (row.stream.to_string(), row.id.to_string());
                statement.execute(params![position, stream, seq, id, row.body])?;
            }
            Ok(())
        })
        .map(drop)
    }

    /// Forgets the copy.
    pub fn mirror_clear(&self) -> Result<(), DbError> {
        self.sql(|transaction| transaction.execute("DELETE FROM mirror", []))
            .map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<MirrorRow> {
    let (position, seq): (i64, i64) = (row.get(0)?, row.get(2)?);
    let (stream, id): (String, String) = (row.get(1)?, row.get(3)?);
    Ok(MirrorRow {
        position: Position(position as u64),
        stream: stream.parse().map_err(unreadable)?,
        seq: Seq(seq as u64),
        id: id.parse().map_err(unreadable)?,
        body: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_read_back_in_order_and_can_be_forgotten() {
        let db = NodeDb::open_in_memory().unwrap();
        let row = |n: u64| MirrorRow {
            position: Position(n),
            stream: StreamId::Control,
            seq: Seq(n),
            id: EventId(uuid::Uuid::from_u128(n.into())),
            body: format!("{{\"n\":{n}}}"),
        };
        db.mirror_store(&[row(2), row(3)]).unwrap();
        db.mirror_store(&[row(1), row(2)]).unwrap();
        assert_eq!(db.mirror_load().unwrap(), [row(1), row(2), row(3)]);
        db.mirror_clear().unwrap();
        assert_eq!(db.mirror_load().unwrap(), []);
    }
}
