//! The record that the front end shows: all that the update of a simulated cluster has written, or the half of it.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{
    BootId, ControlEvent, Event, OperationEnd, OperationEvent, PlatformName, StreamId, WallTime,
};
use evenkeel_record::{
    Append, Entry, Fence, NewEvent, Record, SqliteOptions, SqliteRecord, StreamWrite, View, Write,
    Writer,
};
use evenkeel_rest::hash_password;
use evenkeel_seam::{RandomIds, TokioClock};
use evenkeel_simulation::{Cluster, Settings, Stand as Rest, run};
use tokio::time::Instant;

use crate::client::{PASSWORD, USER};
use crate::{Result, package};

/// Nodes of the cluster.
const NODES: usize = 24;
/// The file, in its folder.
pub(crate) const FILE: &str = "record.db";
/// Longer than any update of that many nodes, in simulated time.
const BOUND: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far the update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Half of its tasks are done.
    Midway,
    /// All is done: packages may come in.
    Completed,
}

impl FromStr for Stand {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "midway" => Ok(Self::Midway),
            "completed" => Ok(Self::Completed),
            other => Err(format!("{other} is neither midway nor completed")),
        }
    }
}

/// The platform of the simulated nodes.
pub(crate) fn platform() -> Result<PlatformName> {
    Ok("sim-x86_64".parse()?)
}

/// Writes the record of such a cluster into a new folder.
pub(crate) fn make(folder: &Path, stand: Stand) -> Result<()> {
    let mut entries = run(update())?;
    if stand == Stand::Midway {
        entries.truncate(half(&entries)?);
    }
    fs::create_dir_all(folder)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(write(&folder.join(FILE), entries))
}

/// All that an update of the whole cluster records, in minutes of 60 s.
async fn update() -> Result<Vec<Entry>> {
    let settings = Settings {
        minute: Duration::from_secs(60),
        ..Settings::new(NODES)
    };
    let cluster = Cluster::start(settings).await;
    let started = cluster.start_update(Cluster::request()).await;
    started.map_err(|refusal| refusal.message)?;
    match cluster.rest(BOUND).await {
        Ok(Rest::Ended(OperationEnd::Completed)) => Ok(cluster.entries()),
        Ok(other) => Err(format!("the update came to {other:?}").into()),
        Err(stuck) => Err(format!("the update does not end: {stuck:?}").into()),
    }
}

/// How many entries there are when half of the tasks are done.
fn half(entries: &[Entry]) -> Result<usize> {
    let mut ends = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let event = Event::decode(entry.stream, &entry.body)?;
        if let Event::Operation(OperationEvent::TaskEnded { .. }) = event {
            ends.push(at + 1);
        }
    }
    let middle = ends.get(ends.len() / 2).copied();
    Ok(middle.ok_or("the update had no tasks")?)
}

/// The entries, and then the user and the key that the simulation does without.
async fn write(path: &Path, entries: Vec<Entry>) -> Result<()> {
    let at = last_time(&entries)?;
    let record: Arc<dyn Record> = Arc::new(open(path, at)?);
    for entry in &entries {
        let event = NewEvent {
            id: entry.id,
            body: entry.body.clone(),
        };
        let write = StreamWrite {
            stream: entry.stream,
            expected: evenkeel_model::Seq(entry.seq.0 - 1),
            events: vec![event],
        };
        let append = Append {
            fence: Fence::None,
            writes: vec![write],
        };
        record.append(append).await?;
    }
    let key = package::key().public();
    let events = [
        ControlEvent::UserSet {
            at,
            user: USER.parse()?,
            password_hash: hash_password(PASSWORD)?,
            account: None,
            by: None,
        },
        ControlEvent::KeyTrusted {
            at,
            public_key: key.to_pem(),
            key_id: key.id().to_string(),
            name: None,
            by: None,
        },
    ];
    let view = View::replay(&entries)?;
    let write = Write {
        stream: StreamId::Control,
        expected: view.head(StreamId::Control),
        events: events.map(Event::Control).into(),
    };
    let writer = Writer::new(record, Arc::new(RandomIds));
    writer.append(Fence::None, vec![write]).await?;
    Ok(())
}

/// The clock of a node to whom it is `now` when this is called.
pub(crate) fn clock(now: WallTime) -> TokioClock {
    TokioClock::new(BootId(uuid::Uuid::from_u128(1)), Instant::now(), now)
}

pub(crate) fn open(path: &Path, now: WallTime) -> Result<SqliteRecord> {
    let options = SqliteOptions::new(Arc::new(clock(now)))?;
    Ok(SqliteRecord::open(path, options)?)
}

/// When the last event happened.
pub(crate) fn last_time(entries: &[Entry]) -> Result<WallTime> {
    let last = entries.last().ok_or("the record is empty")?;
    let event: serde_json::Value = serde_json::from_str(&last.body)?;
    Ok(serde_json::from_value(event["at"].clone())?)
}
