//! Taking the seat: everything that is examined before the record's file is opened.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::error_chain;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::known::NotKnown;
use super::peer::PeerError;
use super::seat::{Seat, SeatLock};
use super::state::{MountRule, Pool};
use super::wire::{Call, Reply, decode_reply, encode_call};
use crate::sqlite::{OpenError, PoolHolder, SqliteOptions, SqliteRecord};

/// How long the partner may take to say whether it has the record open. One that is dead never says it, and then the HA engine's
/// fencing is what is relied on; one that lives says it at once.
const PARTNER_SAYS: Duration = Duration::from_secs(1);
/// How long a transaction waits for another process's. Nobody but this daemon has the file open, save for a backup.
const BUSY: Duration = Duration::from_secs(1);

/// The open file, and what ends when its last connection is closed and the seat's lock is dropped.
pub(super) struct Taken {
    pub(super) record: Arc<SqliteRecord>,
    pub(super) let_go: oneshot::Receiver<()>,
}

/// Why the seat was not taken.
pub(super) enum NotTaken {
    /// It may pass by itself, at any moment.
    Passing(String),
    /// It passes when somebody mends it: there is no use in trying all the time.
    Standing(String),
}

impl From<String> for NotTaken {
    fn from(why: String) -> Self {
        Self::Passing(why)
    }
}

/// Opens the record's file, or says why not.
pub(super) async fn take(pool: &Pool, seat: &Seat) -> Result<Taken, NotTaken> {
    let options = &pool.options;
    match &seat.record {
        Ok(path) if *path == options.path => {}
        Ok(path) => {
            return Err(NotTaken::Standing(format!(
                "the seat is that of {}, and the configuration names {}: the HA engine's resource and record.path must name the same file",
                path.display(),
                options.path.display()
            )));
        }
        Err(why) => {
            let why = format!("{}: {why}", options.seat.display());
            return Err(NotTaken::Standing(why));
        }
    }
    let (record, mount) = (options.path.clone(), options.mount);
    blocking(move || check_mount(&record, mount)).await?;
    // From here on this node says to its partner that it holds the file: of two that open it at once both find out.
    let (lock, let_go) = SeatLock::take(&options.seat, &pool.holds)?;
    // The agent takes the seat away first and looks at the lock then: whoever has the lock and sees the seat is seen.
    if Seat::look(&options.seat).as_ref() != Some(seat) {
        return Err("the HA engine took the seat away at this moment"
            .to_owned()
            .into());
    }
    ask_partner(pool).await?;
    let record = open(pool, lock).await?;
    Ok(Taken { record, let_go })
}

/// Two machines with the same filesystem mounted destroy it. Fencing keeps that from happening, and this finds a fencing
/// that does not.
async fn ask_partner(pool: &Pool) -> Result<(), String> {
    let partner = &pool.options.partner;
    let asked = pool.peer.call(encode_call(&Call::Seat, None));
    let said = match timeout(PARTNER_SAYS, asked).await {
        Ok(Ok(said)) => decode_reply(&said),
        Ok(Err(PeerError::Unreachable(why) | PeerError::NoAnswer(why))) => Err(why),
        Err(_) => Err(format!("it did not answer within {PARTNER_SAYS:?}")),
    };
    match said {
        Ok(Reply::Seat { holds: false }) => Ok(()),
        Ok(Reply::Seat { holds: true }) => Err(format!(
            "{partner} says that it has the record open: if the pool is mounted on both nodes, unmount it on one of them at once"
        )),
        Ok(other) => {
            tracing::warn!(?other, "{partner} does not say whether it holds the record");
            Ok(())
        }
        Err(why) => {
            tracing::warn!(%partner, why, "the partner is silent: that it does not hold the record is the HA engine's word alone");
            Ok(())
        }
    }
}

/// Everything that touches the pool, on a thread that may wait for it.
async fn open(pool: &Pool, lock: SeatLock) -> Result<Arc<SqliteRecord>, NotTaken> {
    let options = &pool.options;
    let mut sqlite = SqliteOptions {
        clock: Arc::clone(&options.clock),
        machine_boot: options.machine_boot,
        host: None,
        holder: Some(PoolHolder {
            node: options.node.clone(),
            hold: Arc::new(lock),
        }),
        expected: None,
        poll: Duration::from_millis(25),
        busy: BUSY,
    };
    let (path, known) = (options.path.clone(), Arc::clone(&pool.known));
    let opened = blocking(move || {
        sqlite.expected = known.check_exists(&path).map_err(|error| unknown(&error))?;
        let record = SqliteRecord::open(&path, sqlite).map_err(|error| match error {
            OpenError::Other { found, .. } => match known.check(found) {
                Ok(()) => NotTaken::Passing(error_chain(&error)),
                Err(other) => unknown(&other),
            },
            error => refused(&error),
        })?;
        known.check(record.id()).map_err(|error| unknown(&error))?;
        Ok(record)
    });
    opened.await.map(Arc::new)
}

/// Another pool is mounted, or the memory cannot be had.
fn unknown(error: &NotKnown) -> NotTaken {
    match error {
        NotKnown::Lost { .. } | NotKnown::Other { .. } | NotKnown::Parse { .. } => {
            NotTaken::Standing(error_chain(error))
        }
        NotKnown::Read { .. } | NotKnown::Write { .. } => NotTaken::Passing(error_chain(error)),
    }
}

fn refused(error: &OpenError) -> NotTaken {
    match error {
        OpenError::NotARecord
        | OpenError::Other { .. }
        | OpenError::NoWal { .. }
        | OpenError::TooNew { .. } => NotTaken::Standing(error_chain(error)),
        OpenError::File { .. }
        | OpenError::Locked { .. }
        | OpenError::Migration(_)
        | OpenError::Sqlite(_)
        | OpenError::Thread(_) => NotTaken::Passing(error_chain(error)),
    }
}

/// A disk that does not answer may hold it for ever. Then the seat's lock stays taken, which is the truth.
async fn blocking<T: Send + 'static, E: From<String> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(format!("opening it failed: {error}").into()),
    }
}

/// The folder is there, and on a filesystem of its own where that is demanded.
fn check_mount(record: &Path, rule: MountRule) -> Result<(), String> {
    let folder = record.parent().map_or(PathBuf::from("/"), Path::to_owned);
    let device = |path: &Path| -> Result<u64, String> {
        let known = fs::metadata(path);
        let known = known.map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
        Ok(known.dev())
    };
    let (of_record, of_root) = (device(&folder)?, device(Path::new("/"))?);
    match rule {
        MountRule::Mounted if of_record == of_root => Err(format!(
            "{} is on the root filesystem: the pool is not mounted there, or this daemon does not see that it is",
            folder.display()
        )),
        MountRule::Mounted | MountRule::Anywhere => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_the_root_filesystem_is_no_file_on_a_pool() {
        let why = check_mount(Path::new("/usr/record.db"), MountRule::Mounted).unwrap_err();
        assert!(why.contains("/usr is on the root filesystem"), "{why}");
        check_mount(Path::new("/usr/record.db"), MountRule::Anywhere).unwrap();
        check_mount(Path::new("/proc/record.db"), MountRule::Mounted).unwrap();
        let why = check_mount(Path::new("/nowhere/at/all"), MountRule::Anywhere).unwrap_err();
        assert!(why.contains("/nowhere/at: No such file"), "{why}");
    }
}
