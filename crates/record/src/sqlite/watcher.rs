//! Notices what other processes commit.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use evenkeel_model::Position;
use evenkeel_seam::watch;
use rusqlite::Connection;

use super::changes::{Changes, Woken};
use super::tables::last_position;
use super::worker::Held;

/// How soon to look after a write to the log: it becomes a commit once it is synchronized and pointed at, which
/// nobody tells. Each further look waits twice as long as the one before.
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// How often to look without any reason: writes that go unnoticed cost no more than this.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The doorbell, and the thread that rings it. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    rings: watch::Sender<u64>,
    stop: UnixStream,
}

impl Watcher {
    /// `connection` belongs to this alone: `data_version` tells of every commit but one's own. Where writes are
    /// not noticed, it looks every `poll`. `held` is dropped after the connection is closed.
    pub(super) fn spawn(
        connection: Connection,
        path: &Path,
        poll: Duration,
        held: Held,
    ) -> io::Result<Self> {
        let rings = watch::Sender::new(0);
        let (changes, stop) = Changes::of(path)?;
        let bell = rings.clone();
        let mut looks = Looks::new(changes.are_noticed(), poll);
        let mut seen = Seen::default();
        thread::Builder::new()
            .name("record-watcher".to_owned())
            .spawn(move || {
                loop {
                    let woken = changes.wait(looks.next);
                    if woken == Woken::Stopped {
                        break;
                    }
                    let found = seen.look(&connection);
                    looks.plan(woken, matches!(found, Ok(Found::Nothing)));
                    match found {
                        Ok(Found::Events) => bell.send_modify(|rings| *rings += 1),
                        Ok(Found::OtherThings | Found::Nothing) => {}
                        // The doorbell is lossy by contract, and whoever reads next learns of the trouble.
                        Err(error) => tracing::debug!(%error, "cannot look for new events"),
                    }
                }
                drop((connection, changes));
                drop(held);
            })?;
        Ok(Self { rings, stop })
    }

    /// Ends the thread, which closes its connection. Does not wait for it.
    pub(super) fn end(&self) {
        // It fails when the thread has ended already.
        let _gone = self.stop.shutdown(Shutdown::Both);
    }

    pub(super) fn rings(&self) -> watch::Sender<u64> {
        self.rings.clone()
    }
}

/// When to look next.
#[derive(Debug)]
struct Looks {
    next: Duration,
    most: Duration,
    first: Duration,
}

impl Looks {
    fn new(are_noticed: bool, poll: Duration) -> Self {
        match are_noticed {
            true => Self {
                next: FIRST_LOOK,
                most: LAST_LOOK,
                first: FIRST_LOOK,
            },
            false => Self {
                next: poll,
                most: poll,
                first: poll,
            },
        }
    }

    /// After a look. One at a write may have found the commit before it, and the write's own is still to come; one
    /// later that finds something has found it, since the next writer begins after that, and is noticed.
    fn plan(&mut self, woken: Woken, found_nothing: bool) {
        self.next = match (woken, found_nothing) {
            (Woken::Written | Woken::Stopped, _) => self.first,
            (Woken::Time, true) => (self.next * 2).min(self.most),
            (Woken::Time, false) => self.most,
        };
    }
}

#[derive(Debug, Default)]
struct Seen {
    version: Option<i64>,
    position: Position,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Events,
    /// Leases and values change the file too; only events ring.
    OtherThings,
    Nothing,
}

impl Seen {
    fn look(&mut self, connection: &Connection) -> Result<Found, rusqlite::Error> {
        let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.version == Some(version) {
            return Ok(Found::Nothing);
        }
        let position = last_position(connection)?;
        self.version = Some(version);
        if position == self.position {
            return Ok(Found::OtherThings);
        }
        self.position = position;
        Ok(Found::Events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_close_after_a_write_until_its_commit_is_seen() {
        let mut looks = Looks::new(true, Duration::from_millis(25));
        // A write that found the commit before it: its own comes.
        looks.plan(Woken::Written, false);
        assert_eq!(looks.next, FIRST_LOOK);
        looks.plan(Woken::Time, true);
        assert_eq!(looks.next, 2 * FIRST_LOOK);
        looks.plan(Woken::Time, false);
        assert_eq!(looks.next, LAST_LOOK);
        // One that was taken back.
        looks.plan(Woken::Written, true);
        for _ in 0..20 {
            looks.plan(Woken::Time, true);
        }
        assert_eq!(looks.next, LAST_LOOK);
    }

    #[test]
    fn where_writes_are_not_noticed_looks_come_evenly() {
        let poll = Duration::from_millis(25);
        let mut looks = Looks::new(false, poll);
        for found_nothing in [true, false, true] {
            assert_eq!(looks.next, poll);
            looks.plan(Woken::Time, found_nothing);
        }
    }
}
