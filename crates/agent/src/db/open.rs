//! The handle, and opening the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::Generation;
use rusqlite::types::Type;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations};

use super::disk::{Commit, Disk, Sound};
use super::plain::Keeper;
use super::rules;
use super::sql::Sql;
use super::tables::Tables;

/// The schema that this release writes. A newer one is read as long as its `min_reader` is not higher.
const SCHEMA: i64 = 2;
/// "EVKN": tells a node's database from any other SQLite file.
const APPLICATION_ID: i64 = 0x4556_4b4e;
/// Numbered by their place; each only adds, because the previous release must still run on the result.
const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("schema_1.sql")),
    M::up(include_str!("schema_2.sql")),
];
/// Only this daemon uses the file; during a restart the one before may still be closing it.
const BUSY: Duration = Duration::from_secs(5);

/// More than there are statements: each is prepared once.
const STATEMENTS: usize = 64;

/// The node's database. Clones are the same connection.
#[derive(Clone)]
pub struct NodeDb {
    kept: Kept,
    disk: Arc<dyn Disk>,
}

/// Where the memory is.
#[derive(Clone)]
enum Kept {
    Sqlite(Arc<Mutex<Connection>>),
    Plain(Arc<Mutex<dyn Keeper>>),
}

/// Why the file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenDbError {
    /// The file or its folder cannot be made.
    #[error("cannot prepare {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An SQLite file of something else.
    #[error("the file is no node's database")]
    NotANodeDb,
    /// A newer release has made changes that this one must not read past.
    #[error(
        "the node's database needs a reader of at least {min_reader}, this release is {reader}"
    )]
    TooNew {
        /// What the file asks for.
        min_reader: i64,
        /// What this release is.
        reader: i64,
    },
    /// A migration failed; it left nothing behind.
    #[error("cannot bring the schema up to date")]
    Migration(#[from] rusqlite_migration::Error),
    /// SQLite refused.
    #[error("cannot open the database")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why the database did not do or say something. What was to be written is not there.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// SQLite refused: a full disk, say.
    #[error("the node's database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl NodeDb {
    /// Opens the file (mode 0600), making it when it is not there.
    pub fn open(path: &Path) -> Result<Self, OpenDbError> {
        make_file(path).map_err(|source| OpenDbError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::prepare(Connection::open(path)?)
    }

    /// A database that lives as long as its handles: for tests and the simulation.
    pub fn open_in_memory() -> Result<Self, OpenDbError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut connection: Connection) -> Result<Self, OpenDbError> {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        migrate(&mut connection)?;
        let kept = Kept::Sqlite(Arc::new(Mutex::new(connection)));
        let disk = Arc::new(Sound);
        Ok(Self { kept, disk })
    }

    /// The same rules over plain data: for whoever explores what they lead to.
    pub fn plain(keeper: impl Keeper + 'static) -> Self {
        let kept = Kept::Plain(Arc::new(Mutex::new(keeper)));
        let disk = Arc::new(Sound);
        Self { kept, disk }
    }

    /// The same memory, reached through a storage that may fail: for tests and the simulation.
    #[must_use]
    pub fn on(&self, disk: Arc<dyn Disk>) -> Self {
        let kept = self.kept.clone();
        Self { kept, disk }
    }

    /// The highest generation that this node has seen.
    pub fn generation(&self) -> Result<Generation, DbError> {
        self.look(|tables| tables.generation())
    }

    /// Remembers a generation unless a higher one was seen. Returns the highest.
    pub fn raise(&self, to: Generation) -> Result<Generation, DbError> {
        self.transact(|tables| rules::raise(tables, to))
    }

    /// Reads what was written before, by one query: it needs no transaction, which would cost more than itself.
    pub(super) fn look<T>(
        &self,
        query: impl FnOnce(&dyn Tables) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        self.disk.read().map_err(rusqlite::Error::from)?;
        let value = match &self.kept {
            Kept::Sqlite(connection) => {
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                query(&Sql(&connection))
            }
            Kept::Plain(keeper) => {
                let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
                query(&keeper.load())
            }
        };
        Ok(value?)
    }

    /// Runs `work` as one transaction; on an error nothing of it stays.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&mut dyn Tables) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        self.disk.begin().map_err(rusqlite::Error::from)?;
        let fate = || self.disk.commit();
        match &self.kept {
            Kept::Sqlite(connection) => in_sqlite(connection, fate, |t| work(&mut Sql(t))),
            Kept::Plain(keeper) => {
                let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
                let before = keeper.load();
                let mut memory = before.clone();
                let value = work(&mut memory)?;
                let told = match fate() {
                    Commit::Done => Ok(value),
                    Commit::Lost(fault) => return Err(rusqlite::Error::from(fault).into()),
                    Commit::Unheard(fault) => Err(rusqlite::Error::from(fault).into()),
                };
                if memory != before {
                    keeper.store(memory);
                }
                told
            }
        }
    }

    /// Runs `work` as one transaction in SQLite, if that is what keeps this memory.
    pub(super) fn sql<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, DbError> {
        match &self.kept {
            Kept::Sqlite(connection) => {
                self.disk.begin().map_err(rusqlite::Error::from)?;
                in_sqlite(connection, || self.disk.commit(), work).map(Some)
            }
            Kept::Plain(_) => Ok(None),
        }
    }
}

fn in_sqlite<T>(
    connection: &Mutex<Connection>,
    fate: impl FnOnce() -> Commit,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, DbError> {
    // A panic elsewhere left no transaction open: they roll back when dropped.
    let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    match fate() {
        Commit::Done => {
            transaction.commit()?;
            Ok(value)
        }
        Commit::Lost(fault) => Err(rusqlite::Error::from(fault).into()),
        Commit::Unheard(fault) => {
            transaction.commit()?;
            Err(rusqlite::Error::from(fault).into())
        }
    }
}

/// A value that this build cannot read, as SQLite's error for the column.
pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}

fn migrate(connection: &mut Connection) -> Result<(), OpenDbError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != APPLICATION_ID && (version != 0 || tables != 0) {
        return Err(OpenDbError::NotANodeDb);
    }
    if version < SCHEMA {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        Migrations::from_slice(MIGRATIONS).to_latest(connection)?;
    }
    let sql = "SELECT value FROM meta WHERE key = 'min_reader'";
    let min_reader: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    match min_reader > SCHEMA {
        true => Err(OpenDbError::TooNew {
            min_reader,
            reader: SCHEMA,
        }),
        false => Ok(()),
    }
}

/// The file exists, is the owner's only, and its name is on disk.
fn make_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_generation_is_forgotten_and_a_higher_one_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.db");
        let db = NodeDb::open(&path).unwrap();
        assert_eq!(db.raise(Generation(7)).unwrap(), Generation(7));
        assert_eq!(db.raise(Generation(3)).unwrap(), Generation(7));
        drop(db);
        assert_eq!(
            NodeDb::open(&path).unwrap().generation().unwrap(),
            Generation(7)
        );
    }

    fn tampered(sql: &str) -> Result<NodeDb, OpenDbError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.db");
        NodeDb::open(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        NodeDb::open(&path)
    }

    #[test]
    fn a_newer_schema_opens_if_it_says_so_and_is_refused_if_not() {
        let readable = "PRAGMA user_version = 9; ALTER TABLE task ADD COLUMN more TEXT;";
        assert!(tampered(readable).is_ok());
        let newer = "PRAGMA user_version = 9; UPDATE meta SET value = 3 WHERE key = 'min_reader'";
        let refused = tampered(newer).err().expect("refused");
        assert!(
            matches!(refused, OpenDbError::TooNew { min_reader: 3, .. }),
            "{refused}"
        );
        let other = tampered("PRAGMA application_id = 5")
            .err()
            .expect("refused");
        assert!(matches!(other, OpenDbError::NotANodeDb), "{other}");
    }
}
