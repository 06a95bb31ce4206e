//! The handle: opening the file, and each call of the trait handed to the right thread.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootId, Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_seam::Clock;
use evenkeel_seam::watch;

use super::connect::{connect, examine, prepare};
use super::holder::{LastHolder, Mark, PoolHolder};
use super::lease::LeaseClock;
use super::tables;
use super::watcher::Watcher;
use super::worker::{Farewell, Held, NoResult, Worker};
use crate::append::{Append, AppendError, Entry};
use crate::blob::{check_blob_size, digest_of};
use crate::record::{LeaseState, PutBlobError, Record, Survival, Unavailable};

/// How long opening waits for another process that is preparing the file: a migration is short.
const PREPARE_WAIT: Duration = Duration::from_secs(10);
/// How often it looks again meanwhile.
const PREPARE_RETRY: Duration = Duration::from_millis(20);

const TOO_MUCH: &str = "too much work waits for the database";
const CLOSING: &str = "the database is being closed on this node";

/// How to open a record in SQLite.
#[derive(Clone)]
pub struct SqliteOptions {
    /// Measures leases. All processes of the machine must read the same CLOCK_BOOTTIME.
    pub clock: Arc<dyn Clock>,
    /// The machine's boot, the same for every process on it (a lab's nodes boot, their host does not).
    pub machine_boot: BootId,
    /// The node that the file goes down with; `None` when it stands outside every node, as in a lab.
    pub host: Option<NodeName>,
    /// Set when the file is on a pair's shared pool: then no other process has it open.
    pub holder: Option<PoolHolder>,
    /// The record that it must be ([`SqliteRecord::id`]), if one is known: in another one nothing is written, and none is begun.
    pub expected: Option<u64>,
    /// How often to look for commits of other processes where the kernel cannot tell of their writes.
    pub poll: Duration,
    /// How long to wait for another process's transaction before the record counts as unavailable.
    pub busy: Duration,
}

impl SqliteOptions {
    /// The ordinary bounds, and this machine's boot.
    pub fn new(clock: Arc<dyn Clock>) -> io::Result<Self> {
        Ok(Self {
            clock,
            machine_boot: machine_boot_id()?,
            host: None,
            holder: None,
            expected: None,
            poll: Duration::from_millis(25),
            busy: Duration::from_secs(5),
        })
    }
}

/// The boot of this machine, as its kernel tells it.
pub fn machine_boot_id() -> io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().parse().map_err(io::Error::other)
}

/// Why the file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be made or made safe.
    #[error("cannot prepare {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process has been preparing the file for too long.
    #[error("another process has held {path} for more than {waited:?}")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this one waited.
        waited: Duration,
    },
    /// An SQLite file of something else.
    #[error("the file is no record")]
    NotARecord,
    /// Another record than the one that it must be. Nothing was written to it.
    #[error("the record is {found}, not {expected}")]
    Other {
        /// Which one it is; 0 is one of a release that gave them no number.
        found: u64,
        /// Which one it must be.
        expected: u64,
    },
    /// The filesystem does not allow write-ahead logging.
    #[error("the journal mode is {mode}, not wal: the record needs a local filesystem")]
    NoWal {
        /// What SQLite fell back to.
        mode: String,
    },
    /// A newer release has made changes that this one must not read past.
    #[error("the record needs a reader of at least {min_reader}, this release is {reader}")]
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
    /// No thread for it.
    #[error("cannot start a thread for the database")]
    Thread(#[source] io::Error),
}

/// The record in an SQLite file. Dropping it ends its threads; the file stays.
pub struct SqliteRecord {
    file: TheFile,
    writer: Worker,
    reader: Worker,
    watcher: Watcher,
    lease_clock: LeaseClock,
    host: Option<NodeName>,
    mark: Option<Mark>,
    before: Option<LastHolder>,
    id: u64,
}

impl SqliteRecord {
    /// Opens the file, making it (mode 0600) when it is not there. Blocks: for start-up.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, OpenError> {
        if let Some(expected) = options.expected {
            examine(path, expected, options.busy)?;
        }
        let _preparing = lock_preparation(path)?;
        make_file(path).map_err(|source| OpenError::File {
            path: path.to_owned(),
            source,
        })?;
        let mut connection = connect(path, options.busy)?;
        prepare(&mut connection)?;
        let lease_clock = LeaseClock {
            clock: options.clock,
            machine_boot: options.machine_boot,
        };
        let holder = options.holder.as_ref();
        let mark = holder.map(|holder| Mark::new(holder.node.clone(), options.machine_boot));
        let before = match &mark {
            Some(mark) => mark.take(&mut connection, &lease_clock)?,
            None => None,
        };
        let id = tables::record_id(&connection)?;
        let file = TheFile::at(path).map_err(|source| OpenError::File {
            path: path.to_owned(),
            source,
        })?;
        let hold = options.holder.map(|holder| holder.hold);
        // Twice the wait for others' transactions leaves ample time for the work itself, fsync included.
        let answer_wait = options.busy * 2 + Duration::from_secs(5);
        let spawn = |name: &str, connection, farewell: Farewell, held: Held| {
            Worker::spawn(name, connection, answer_wait, farewell, held).map_err(OpenError::Thread)
        };
        let (open, closed) = mpsc::channel();
        let held = |by: &mpsc::Sender<()>| Held {
            _hold: hold.clone(),
            _open: Some(by.clone()),
        };
        let second = connect(path, options.busy)?;
        let reader = spawn("record-reader", second, Box::new(|_| ()), held(&open))?;
        let third = connect(path, options.busy)?;
        let watcher = Watcher::spawn(third, path, options.poll, held(&open));
        let watcher = watcher.map_err(OpenError::Thread)?;
        drop(open);
        let farewell = farewell(mark.clone(), closed);
        let held = Held {
            _hold: hold,
            _open: None,
        };
        let writer = spawn("record-writer", connection, farewell, held)?;
        Ok(Self {
            file,
            writer,
            reader,
            watcher,
            lease_clock,
            host: options.host,
            mark,
            before,
            id,
        })
    }

    /// Closes the file: what is under way ends, what waits is not begun, and every later call is refused. Does not wait for
    /// it; [`PoolHolder::hold`] is dropped when it is done.
    pub fn let_go(&self) {
        self.watcher.end();
        self.reader.end();
        self.writer.end();
    }

    /// What tells this record, and every copy of it, from any other.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// On a pair's pool: who had the file open before.
    pub fn held_before(&self) -> Option<&LastHolder> {
        self.before.as_ref()
    }

    /// The place of the newest event.
    pub async fn last_position(&self) -> Result<Position, Unavailable> {
        self.ask(|connection| tables::last_position(connection))
            .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut rusqlite::Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let file = self.file.clone();
        let checked = move |connection: &mut rusqlite::Connection| -> Result<T, String> {
            file.check()?;
            question(connection).map_err(|error| error.to_string())
        };
        finish(self.reader.run(checked).await)
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (file, mark) = (self.file.clone(), self.mark.clone());
        let checked = move |connection: &mut rusqlite::Connection| -> Result<T, String> {
            file.check()?;
            if let Some(mark) = mark {
                let looking = connection.transaction();
                mark.check(&looking.map_err(|error| error.to_string())?)?;
            }
            work(connection).map_err(|error| error.to_string())
        };
        finish(self.writer.run(checked).await)
    }
}

/// The file that was opened. Whoever has it open goes on with it after its name is gone, or leads to another one: what is written then
/// is lost with the last process that has it open.
#[derive(Debug, Clone)]
struct TheFile {
    path: PathBuf,
    /// Device and inode.
    is: (u64, u64),
}

impl TheFile {
    fn at(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            is: (file.dev(), file.ino()),
        })
    }

    /// Still is what its name leads to. The error is for people.
    fn check(&self) -> Result<(), String> {
        let path = self.path.display();
        let what = match fs::metadata(&self.path) {
            Ok(now) if (now.dev(), now.ino()) == self.is => return Ok(()),
            Ok(_) => "is another file than the one that was opened".to_owned(),
            Err(error) => format!("cannot be seen any more ({error})"),
        };
        Err(format!(
            "{path} {what}: nothing is written. Put the cluster's record there, or a backup of it, and restart evenkeeld"
        ))
    }
}

/// Only a file on a pool has a mark to take back.
/// The writer marks the file as closed in good order, and is the last to close it: that writes the log back into it, which of two that
/// close at the same time neither does.
fn farewell(mark: Option<Mark>, others: mpsc::Receiver<()>) -> Farewell {
    Box::new(move |connection| {
        let _closed = others.recv();
        let released = mark.map(|mark| mark.release(connection));
        if let Some(Err(error)) = released {
            // The next holder takes the file all the same, and says how it found it.
            tracing::warn!(%error, "the record's file cannot be marked as closed in good order");
        }
    })
}

fn finish<T, E: std::fmt::Display>(
    result: Result<Result<T, E>, NoResult>,
) -> Result<T, Unavailable> {
    match result {
        Ok(answer) => answer.map_err(|error| Unavailable::new(error.to_string())),
        Err(NoResult::NotBegun) => Err(Unavailable::new(TOO_MUCH)),
        Err(NoResult::Closing) => Err(Unavailable::new(CLOSING)),
        Err(NoResult::Unknown) => Err(Unavailable::new("the database does not answer in time")),
    }
}

/// Keeps two processes from preparing the file at once. Held until the returned file is dropped.
fn lock_preparation(path: &Path) -> Result<File, OpenError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let path = path.with_file_name(name);
    let failed = |source| OpenError::File {
        path: path.clone(),
        source,
    };
    let mut how = OpenOptions::new();
    let file = how
        .write(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if waited < PREPARE_WAIT => {
                thread::sleep(PREPARE_RETRY);
                waited += PREPARE_RETRY;
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path, waited }),
        }
    }
}

/// The file exists, is the owner's only, and its name is on disk.
fn make_file(path: &Path) -> io::Result<()> {
    let mut how = OpenOptions::new();
    let file = how
        .read(true)
        .write(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

#[async_trait]
impl Record for SqliteRecord {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        append.check()?;
        let (rings, mark) = (self.watcher.rings(), self.mark.clone());
        let file = self.file.clone();
        let work = move |connection: &mut _| {
            file.check().map_err(Unavailable::new)?;
            let appended = tables::append(connection, &append, mark.as_ref());
            if appended.is_ok() {
                // From the writer's thread: the caller may be gone, the other readers are not.
                rings.send_modify(|rings| *rings += 1);
            }
            appended
        };
        match self.writer.run(work).await {
            Ok(outcome) => outcome,
            Err(NoResult::NotBegun) => Err(Unavailable::new(TOO_MUCH).into()),
            Err(NoResult::Closing) => Err(Unavailable::new(CLOSING).into()),
            Err(NoResult::Unknown) => Err(AppendError::Unknown(
                "the database does not answer in time".to_owned(),
            )),
        }
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.ask(move |connection| tables::read(connection, stream, after, limit))
            .await
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        self.ask(move |connection| tables::read_since(connection, after, limit))
            .await
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        self.ask(|connection| tables::generation(connection)).await
    }

    fn doorbell(&self) -> watch::Receiver<u64> {
        self.watcher.rings().subscribe()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        let (name, holder, clock) = (name.to_owned(), holder.clone(), self.lease_clock.clone());
        self.change(move |connection| clock.take(connection, &name, &holder, ttl))
            .await
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        let (name, holder, clock) = (name.to_owned(), holder.clone(), self.lease_clock.clone());
        self.change(move |connection| clock.release(connection, &name, &holder))
            .await
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        check_blob_size(&bytes)?;
        let digest = digest_of(&bytes);
        self.change(move |connection| tables::put_blob(connection, digest, &bytes))
            .await?;
        Ok(digest)
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        let bytes = self
            .ask(move |connection| tables::get_blob(connection, digest))
            .await?;
        match bytes {
            Some(bytes) if digest_of(&bytes) != digest => Err(Unavailable::new(format!(
                "the value stored as {digest} is damaged"
            ))),
            Some(_) | None => Ok(bytes),
        }
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        match &self.host {
            Some(host) if down.contains(host) => Survival::Lost {
                why: format!("the record's only file is on {host}"),
            },
            Some(_) | None => Survival::Survives,
        }
    }
}
