//! Opening connections, and bringing the schema to where this release needs it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rusqlite_migration::{M, Migrations};

use super::open::OpenError;
use super::tables;

/// The schema this release writes, and the newest reader number it counts as. A newer schema is read as
/// long as its `min_reader` is not higher.
pub(super) const SCHEMA: i64 = 2;

/// "EVKR": tells a record from any other SQLite file.
const APPLICATION_ID: i64 = 0x4556_4b52;

/// Numbered by their place; each only adds, because the previous release must still run on the result.
const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("schema/1.sql")),
    M::up(include_str!("schema/2.sql")),
];

/// A connection with the settings every thread needs.
pub(super) fn connect(path: &Path, busy: Duration) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Whether the file is the record `expected`, before anything is written to it.
pub(super) fn examine(path: &Path, expected: u64, busy: Duration) -> Result<(), OpenError> {
    // Such a connection leaves the log of whoever had the file open where it is, too.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    if application_id(&connection)? != APPLICATION_ID {
        return Err(OpenError::NotARecord);
    }
    match tables::record_id(&connection).optional()?.unwrap_or(0) {
        found if found == expected => Ok(()),
        found => Err(OpenError::Other { found, expected }),
    }
}

fn application_id(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// Brings the schema up to date. The caller holds the lock that keeps other processes from doing so too.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let id = application_id(connection)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != APPLICATION_ID && (version != 0 || tables != 0) {
        return Err(OpenError::NotARecord);
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(OpenError::NoWal { mode });
    }
    if version < SCHEMA {
        Migrations::from_slice(MIGRATIONS).to_latest(connection)?;
    }
    let min_reader: i64 = connection.query_row(
        "SELECT value FROM meta WHERE key = 'min_reader'",
        [],
        |row| row.get(0),
    )?;
    match min_reader > SCHEMA {
        true => Err(OpenError::TooNew {
            min_reader,
            reader: SCHEMA,
        }),
        false => Ok(()),
    }
}
