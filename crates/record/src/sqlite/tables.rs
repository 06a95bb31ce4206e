//! The statements. Each function is one transaction.

use evenkeel_model::{Digest, EventId, Generation, Position, Seq, StreamId};
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params,
    types::Type,
};

use super::holder::Mark;
use crate::append::{Append, AppendError, Entry, Fence, PARTLY_THERE, REUSED_ID, StreamWrite};
use crate::record::Unavailable;

/// `mark`: on a pair's pool, what says that the file is this node's.
pub(super) fn append(
    connection: &mut Connection,
    append: &Append,
    mark: Option<&Mark>,
) -> Result<Position, AppendError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(not_done)?;
    if let Some(mark) = mark {
        mark.check(&transaction).map_err(Unavailable::new)?;
    }
    if let Some(position) = find_retry(&transaction, append)? {
        return Ok(position);
    }
    check_fence(&transaction, append.fence)?;
    for write in &append.writes {
        check_expected(&transaction, write)?;
    }
    let last = insert(&transaction, append).map_err(not_done)?;
    if let Fence::Advance { to, .. } = append.fence {
        transaction
            .execute(
                "UPDATE meta SET value = ?1 WHERE key = 'generation'",
                [signed(to.0)],
            )
            .map_err(not_done)?;
    }
    transaction.commit().map_err(commit_failed)?;
    Ok(last)
}

/// Before the commit nothing has happened: dropping the transaction rolls it back.
fn not_done(error: rusqlite::Error) -> AppendError {
    Unavailable::new(error.to_string()).into()
}

/// A busy commit has not happened; of any other failure the log on disk may tell otherwise later.
fn commit_failed(error: rusqlite::Error) -> AppendError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => not_done(error),
        Some(_) | None => AppendError::Unknown(error.to_string()),
    }
}

/// The last position of the append if all its events are there already.
fn find_retry(
    transaction: &Transaction<'_>,
    append: &Append,
) -> Result<Option<Position>, AppendError> {
    let mut find = transaction
        .prepare_cached("SELECT position, stream, seq, id, body FROM event WHERE id = ?1")
        .map_err(not_done)?;
    let mut last = None;
    let mut missing = false;
    for write in &append.writes {
        for event in &write.events {
            let found = find
                .query_row([event.id.to_string()], entry)
                .optional()
                .map_err(not_done)?;
            match found {
                None => missing = true,
                Some(found) if found.stream != write.stream || found.body != event.body => {
                    return Err(AppendError::Invalid(REUSED_ID));
                }
                Some(found) => last = last.max(Some(found.position)),
            }
        }
    }
    match (last, missing) {
        (Some(_), true) => Err(AppendError::Invalid(PARTLY_THERE)),
        (Some(position), false) => Ok(Some(position)),
        (None, _) => Ok(None),
    }
}

fn check_fence(transaction: &Transaction<'_>, fence: Fence) -> Result<(), AppendError> {
    let mine = match fence {
        Fence::None => return Ok(()),
        Fence::Holds(mine) | Fence::Advance { from: mine, .. } => mine,
    };
    let current = generation(transaction).map_err(not_done)?;
    if mine == current {
        return Ok(());
    }
    Err(AppendError::Fenced { mine, current })
}

fn check_expected(transaction: &Transaction<'_>, write: &StreamWrite) -> Result<(), AppendError> {
    let mut head = transaction
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM event WHERE stream = ?1")
        .map_err(not_done)?;
    let actual = head
        .query_row([write.stream.to_string()], |row| number(row, 0).map(Seq))
        .map_err(not_done)?;
    if actual == write.expected {
        return Ok(());
    }
    Err(AppendError::Conflict {
        stream: write.stream,
        expected: write.expected,
        actual,
    })
}

fn insert(transaction: &Transaction<'_>, append: &Append) -> Result<Position, rusqlite::Error> {
    let mut insert = transaction
        .prepare_cached("INSERT INTO event (stream, seq, id, body) VALUES (?1, ?2, ?3, ?4)")?;
    let mut last = 0;
    for write in &append.writes {
        let stream = write.stream.to_string();
        let mut seq = write.expected;
        for event in &write.events {
            seq = seq.next();
            let id = event.id.to_string();
            last = insert.insert(params![stream, signed(seq.0), id, event.body])?;
        }
    }
    Ok(Position(last.unsigned_abs()))
}

pub(super) fn read(
    connection: &Connection,
    stream: StreamId,
    after: Seq,
    limit: usize,
) -> Result<Vec<Entry>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT position, stream, seq, id, body FROM event
         WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let rows = select.query_map(
        params![stream.to_string(), signed(after.0), count(limit)],
        entry,
    )?;
    rows.collect()
}

pub(super) fn read_since(
    connection: &Connection,
    after: Position,
    limit: usize,
) -> Result<Vec<Entry>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT position, stream, seq, id, body FROM event
         WHERE position > ?1 ORDER BY position LIMIT ?2",
    )?;
    let rows = select.query_map(params![signed(after.0), count(limit)], entry)?;
    rows.collect()
}

pub(super) fn last_position(connection: &Connection) -> Result<Position, rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT coalesce(max(position), 0) FROM event")?;
    select.query_row([], |row| number(row, 0).map(Position))
}

pub(super) fn generation(connection: &Connection) -> Result<Generation, rusqlite::Error> {
    let mut select =
        connection.prepare_cached("SELECT value FROM meta WHERE key = 'generation'")?;
    select.query_row([], |row| number(row, 0).map(Generation))
}

/// What tells this record from any other.
pub(super) fn record_id(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE key = 'record_id'")?;
    select.query_row([], |row| number(row, 0))
}

pub(super) fn put_blob(
    connection: &mut Connection,
    digest: Digest,
    bytes: &[u8],
) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "INSERT INTO blob (digest, bytes) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING",
        params![digest.to_string(), bytes],
    )?;
    transaction.commit()
}

pub(super) fn get_blob(
    connection: &Connection,
    digest: Digest,
) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT bytes FROM blob WHERE digest = ?1")?;
    select
        .query_row([digest.to_string()], |row| row.get(0))
        .optional()
}

fn entry(row: &Row<'_>) -> Result<Entry, rusqlite::Error> {
    let stream: String = row.get(1)?;
    let id: String = row.get(3)?;
    Ok(Entry {
        position: number(row, 0).map(Position)?,
        stream: stream.parse().map_err(|error| damaged(1, error))?,
        seq: number(row, 2).map(Seq)?,
        id: id.parse::<EventId>().map_err(|error| damaged(3, error))?,
        body: row.get(4)?,
    })
}

pub(super) fn damaged(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// Numbers here count up from zero; a negative one is damage.
fn number(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// SQLite's integers are signed. What is beyond them matches nothing, as it should.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
