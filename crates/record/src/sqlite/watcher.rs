//! Notices what other processes commit.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use evenkeel_model::Position;
use evenkeel_seam::watch;
use rusqlite::Connection;

use super::tables::last_position;

/// The doorbell, and the thread that rings it. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    rings: watch::Sender<u64>,
    _stop: Sender<()>,
}

impl Watcher {
    /// `connection` belongs to this alone: `data_version` tells of every commit but one's own.
    pub(super) fn spawn(connection: Connection, poll: Duration) -> io::Result<Self> {
        let rings = watch::Sender::new(0);
        let (stop, stopped) = channel::<()>();
        let bell = rings.clone();
        let mut seen = Seen::default();
        thread::Builder::new()
            .name("record-watcher".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(poll) == Err(RecvTimeoutError::Timeout) {
                    match seen.look(&connection) {
                        Ok(Found::New) => bell.send_modify(|rings| *rings += 1),
                        Ok(Found::Nothing) => {}
                        // The doorbell is lossy by contract, and whoever reads next learns of the trouble.
                        Err(error) => tracing::debug!(%error, "cannot look for new events"),
                    }
                }
            })?;
        Ok(Self { rings, _stop: stop })
    }

    pub(super) fn rings(&self) -> watch::Sender<u64> {
        self.rings.clone()
    }
}

#[derive(Debug, Default)]
struct Seen {
    version: Option<i64>,
    position: Position,
}

enum Found {
    New,
    Nothing,
}

impl Seen {
    fn look(&mut self, connection: &Connection) -> Result<Found, rusqlite::Error> {
        let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.version == Some(version) {
            return Ok(Found::Nothing);
        }
        // Leases and values change the file too; only events ring.
        let position = last_position(connection)?;
        self.version = Some(version);
        if position == self.position {
            return Ok(Found::Nothing);
        }
        self.position = position;
        Ok(Found::New)
    }
}
