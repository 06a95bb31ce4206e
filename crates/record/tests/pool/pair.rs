//! Two nodes in one process, a folder for a pool, and a hand in the place of the HA engine.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootId, EventId, Monotonic, NodeName, Seq, StreamId, WallTime};
use evenkeel_record::{
    Append, Fence, MountRule, NewEvent, PeerError, PoolOptions, RecordPeer, SharedPoolRecord,
    StreamWrite, lock_path,
};
use evenkeel_seam::{Clock, Ids, RandomIds, SystemClock};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longest that anything here may take: generous, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that stands still until it is moved.
pub(crate) struct ManualClock {
    boot_id: BootId,
    since_boot_ms: AtomicU64,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            boot_id: BootId(RandomIds.uuid()),
            since_boot_ms: AtomicU64::new(1_000_000),
        })
    }

    pub(crate) fn pass(&self, time: Duration) {
        let millis = time.as_millis() as u64;
        self.since_boot_ms.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> WallTime {
        SystemClock::new(self.boot_id).wall()
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic {
            boot_id: self.boot_id,
            since_boot_ms: self.since_boot_ms.load(Ordering::Relaxed),
        }
    }
}

/// The way to a node, and what goes wrong on it.
#[derive(Default)]
pub(crate) struct Line {
    to: Mutex<Weak<SharedPoolRecord>>,
    /// Nothing arrives.
    pub(crate) cut: std::sync::atomic::AtomicBool,
    /// Of so many answers one is lost after the request had its effect; none of zero.
    pub(crate) lose_every: AtomicU32,
    /// Of so many requests one arrives once more, later; none of zero.
    pub(crate) echo_every: AtomicU32,
    calls: AtomicU32,
}

impl Line {
    pub(crate) fn leads_to(&self, node: &Arc<SharedPoolRecord>) {
        *self.to.lock().unwrap() = Arc::downgrade(node);
    }

    fn is_turn(&self, every: &AtomicU32, call: u32) -> bool {
        let every = every.load(Ordering::Relaxed);
        every > 0 && call.is_multiple_of(every)
    }
}

#[async_trait]
impl RecordPeer for Line {
    async fn call(&self, request: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        let to = self.to.lock().unwrap().upgrade();
        let unreachable = || PeerError::Unreachable("connection refused".to_owned());
        let to = to.ok_or_else(unreachable)?;
        if self.cut.load(Ordering::Relaxed) {
            return Err(unreachable());
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.is_turn(&self.echo_every, call) {
            let (to, request) = (Arc::clone(&to), request.clone());
            tokio::spawn(async move {
                sleep(Duration::from_millis(u64::from(call % 97))).await;
                to.serve(&request).await;
            });
        }
        let answer = to.serve(&request).await;
        match self.is_turn(&self.lose_every, call) {
            true => Err(PeerError::NoAnswer("the answer was lost".to_owned())),
            false => Ok(answer),
        }
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) record: Arc<SharedPoolRecord>,
    pub(crate) line: Arc<Line>,
    pub(crate) options: PoolOptions,
}

impl Node {
    pub(crate) fn start(options: PoolOptions) -> Self {
        let line = Arc::new(Line::default());
        let peer = Arc::clone(&line) as Arc<dyn RecordPeer>;
        let record = Arc::new(SharedPoolRecord::start(options.clone(), peer).unwrap());
        Self {
            record,
            line,
            options,
        }
    }

    /// What the agent's `start` does.
    pub(crate) fn give(&self) {
        seat(&self.options.seat, &self.options.path);
    }

    /// Gives it the seat, and waits until the record is open.
    pub(crate) async fn sit(&self) {
        self.give();
        until("the node to sit", || self.record.sits()).await;
    }

    /// What the agent's `stop` does: returns once nobody has the file open.
    pub(crate) async fn take(&self) -> Duration {
        let begun = Instant::now();
        fs::remove_file(&self.options.seat).unwrap();
        let lock = lock_path(&self.options.seat);
        until("the file to be closed", || is_free(&lock)).await;
        begun.elapsed()
    }
}

pub(crate) fn seat(seat: &Path, record: &Path) {
    let new = seat.with_extension("new");
    fs::write(&new, format!("{}\n", record.display())).unwrap();
    fs::rename(&new, seat).unwrap();
}

fn is_free(lock: &Path) -> bool {
    let file = match OpenOptions::new().write(true).open(lock) {
        Ok(file) => file,
        Err(_never_made) => return true,
    };
    file.try_lock().is_ok()
}

/// A pair over one pool.
pub(crate) struct Pair {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) nodes: [Node; 2],
}

pub(crate) fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

impl Pair {
    /// On machines of different boots; nobody sits.
    pub(crate) fn new() -> Self {
        let boot = || BootId(RandomIds.uuid());
        Self::of([boot(), boot()])
    }

    /// Both on one machine: the clocks of both have run since the same boot.
    pub(crate) fn on_one_machine() -> Self {
        let boot = BootId(RandomIds.uuid());
        Self::of([boot, boot])
    }

    fn of(boots: [BootId; 2]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let pool = dir.path().join("pool");
        fs::create_dir(&pool).unwrap();
        let [n1, n2] = boots;
        let node = |node, partner, boot| {
            let own = dir.path().join(node);
            fs::create_dir(&own).unwrap();
            let clock = Arc::clone(&clock) as Arc<dyn Clock>;
            Node::start(options(&own, &pool, [node, partner], boot, clock))
        };
        let nodes = [node("n1", "n2", n1), node("n2", "n1", n2)];
        nodes[0].line.leads_to(&nodes[1].record);
        nodes[1].line.leads_to(&nodes[0].record);
        Self { dir, clock, nodes }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("pool/record.db")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("pool/record.db-wal")
    }
}

pub(crate) fn options(
    own: &Path,
    pool: &Path,
    [node, partner]: [&str; 2],
    machine_boot: BootId,
    clock: Arc<dyn Clock>,
) -> PoolOptions {
    PoolOptions {
        node: name(node),
        partner: name(partner),
        path: pool.join("record.db"),
        seat: own.join("record-seat"),
        memory: own.join("record-known.json"),
        mount: MountRule::Anywhere,
        clock,
        machine_boot,
        stand_in: None,
    }
}

pub(crate) async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// One event.
pub(crate) fn one(stream: StreamId, expected: u64) -> Append {
    let event = NewEvent {
        id: EventId(RandomIds.uuid()),
        body: "{}".to_owned(),
    };
    let write = StreamWrite {
        stream,
        expected: Seq(expected),
        events: vec![event],
    };
    Append {
        fence: Fence::None,
        writes: vec![write],
    }
}

/// Held so that nobody else opens it: for tests of what is in the way.
pub(crate) fn lock(path: &Path) -> File {
    let file = File::create(path).unwrap();
    file.try_lock().unwrap();
    file
}
