//! The SQLite backend: conformance, and what only files and processes can do.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{
    BootId, EventId, Monotonic, NodeName, OperationId, Position, Seq, StreamId, WallTime,
};
use evenkeel_record::conformance::Backend;
use evenkeel_record::{
    Append, AppendError, Fence, NewEvent, OpenError, Record, SqliteOptions, SqliteRecord,
    StreamWrite, Survival, machine_boot_id,
};
use evenkeel_seam::{Clock, Ids, RandomIds, SystemClock};
use tempfile::TempDir;

/// A clock that stands still until it is moved.
struct ManualClock {
    boot_id: BootId,
    since_boot_ms: AtomicU64,
}

impl Clock for ManualClock {
    fn wall(&self) -> WallTime {
        SystemClock::new(self.boot_id).wall()
    }

    fn monotonic(&self) -> Monotonic {
        let since_boot_ms = self.since_boot_ms.load(Ordering::Relaxed);
        Monotonic {
            boot_id: self.boot_id,
            since_boot_ms,
        }
    }
}

struct Files {
    dir: TempDir,
    clock: Arc<ManualClock>,
}

impl Files {
    fn new() -> Self {
        let boot_id = BootId(RandomIds.uuid());
        let clock = Arc::new(ManualClock {
            boot_id,
            since_boot_ms: AtomicU64::new(1000),
        });
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock,
        }
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions::new(Arc::clone(&self.clock) as Arc<dyn Clock>).unwrap()
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("record.db")
    }

    fn record(&self) -> SqliteRecord {
        SqliteRecord::open(&self.path(), self.options()).unwrap()
    }

    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

#[async_trait]
impl Backend for Files {
    async fn open(&self) -> Arc<dyn Record> {
        Arc::new(self.record())
    }

    async fn pass(&self, time: Duration) {
        self.clock
            .since_boot_ms
            .fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

evenkeel_record::conformance_tests!(Files::new, flavor = "multi_thread");

fn one(stream: StreamId, expected: u64) -> Append {
    let events = vec![NewEvent {
        id: EventId(RandomIds.uuid()),
        body: "{}".to_owned(),
    }];
    let write = StreamWrite {
        stream,
        expected: Seq(expected),
        events,
    };
    Append {
        fence: Fence::None,
        writes: vec![write],
    }
}

#[tokio::test]
async fn the_file_is_the_owners_only() {
    let files = Files::new();
    let record = files.record();
    record.append(one(StreamId::Control, 0)).await.unwrap();
    for entry in std::fs::read_dir(files.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn a_lease_of_an_earlier_boot_of_the_machine_has_expired() {
    let files = Files::new();
    let (one, two) = (NodeName::new("one").unwrap(), NodeName::new("two").unwrap());
    let hour = Duration::from_secs(3600);
    files.record().lease("c", &one, hour).await.unwrap();
    let options = SqliteOptions {
        machine_boot: BootId(RandomIds.uuid()),
        ..files.options()
    };
    let rebooted = SqliteRecord::open(&files.path(), options).unwrap();
    assert!(
        rebooted
            .lease("c", &two, hour)
            .await
            .unwrap()
            .is_held_by(&two)
    );
}

#[tokio::test]
async fn another_process_holding_the_file_makes_it_unavailable_in_bounded_time() {
    let files = Files::new();
    let options = SqliteOptions {
        busy: Duration::from_millis(50),
        ..files.options()
    };
    let record = SqliteRecord::open(&files.path(), options).unwrap();
    let holder = files.raw();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let append = one(StreamId::Control, 0);
    let refused = record.append(append.clone()).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::Unavailable(_)),
        "{refused:?}"
    );
    assert_eq!(
        record.read_since(Position(0), 9).await,
        Ok(vec![]),
        "readers do not wait"
    );
    holder.execute_batch("ROLLBACK").unwrap();
    record.append(append).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_read_unless_it_says_not_to() {
    let files = Files::new();
    files
        .record()
        .append(one(StreamId::Control, 0))
        .await
        .unwrap();
    let raw = files.raw();
    raw.execute_batch(
        "PRAGMA user_version = 7;
         ALTER TABLE event ADD COLUMN tomorrow TEXT;
         CREATE TABLE unheard_of (key TEXT) STRICT;",
    )
    .unwrap();
    let record = files.record();
    record.append(one(StreamId::Control, 1)).await.unwrap();
    assert_eq!(record.read_since(Position(0), 9).await.unwrap().len(), 2);

    raw.execute_batch("UPDATE meta SET value = 7 WHERE key = 'min_reader'")
        .unwrap();
    let refused = SqliteRecord::open(&files.path(), files.options())
        .err()
        .unwrap();
    assert!(
        matches!(
            refused,
            OpenError::TooNew {
                min_reader: 7,
                reader: 2
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn a_database_of_something_else_is_left_alone() {
    let files = Files::new();
    files
        .raw()
        .execute_batch("CREATE TABLE someone_elses (key TEXT)")
        .unwrap();
    let refused = SqliteRecord::open(&files.path(), files.options())
        .err()
        .unwrap();
    assert!(matches!(refused, OpenError::NotARecord), "{refused}");
    std::fs::write(
        files.path(),
        b"certainly not a database, and long enough to be told",
    )
    .unwrap();
    assert!(SqliteRecord::open(&files.path(), files.options()).is_err());
}

#[tokio::test]
async fn a_file_that_was_removed_or_replaced_takes_nothing_any_more() {
    let files = Files::new();
    let record = files.record();
    let stream = StreamId::Operation(OperationId(RandomIds.uuid()));
    record.append(one(stream, 0)).await.unwrap();
    std::fs::rename(files.path(), files.dir.path().join("away")).unwrap();
    for what in ["cannot be seen any more", "is another file"] {
        let refused = record.append(one(stream, 1)).await;
        assert!(
            matches!(&refused, Err(AppendError::Unavailable(why)) if why.why.contains(what) && why.why.contains("restart evenkeeld")),
            "{refused:?}"
        );
        let why = record.read_since(Position(0), 1).await.unwrap_err().why;
        assert!(why.contains(what), "{why}");
        std::fs::write(files.path(), "").unwrap();
    }
    std::fs::rename(files.dir.path().join("away"), files.path()).unwrap();
    record.append(one(stream, 1)).await.unwrap();
}

#[tokio::test]
async fn a_damaged_value_is_not_handed_out() {
    let files = Files::new();
    let record = files.record();
    let digest = record.put_blob(b"value".to_vec()).await.unwrap();
    files
        .raw()
        .execute("UPDATE blob SET bytes = x'00'", [])
        .unwrap();
    let refused = record.get_blob(digest).await.unwrap_err();
    assert!(refused.why.contains("damaged"), "{refused}");
}

#[tokio::test]
async fn it_is_lost_with_its_host_only() {
    let files = Files::new();
    let (one, two) = (NodeName::new("one").unwrap(), NodeName::new("two").unwrap());
    let outside = files.record();
    assert_eq!(
        outside.survives_without(&[one.clone(), two.clone()]),
        Survival::Survives
    );
    let options = SqliteOptions {
        host: Some(one.clone()),
        ..files.options()
    };
    let inside = SqliteRecord::open(&files.path(), options).unwrap();
    assert_eq!(
        inside.survives_without(std::slice::from_ref(&two)),
        Survival::Survives
    );
    assert!(matches!(
        inside.survives_without(&[two, one]),
        Survival::Lost { .. }
    ));
}

#[tokio::test]
async fn many_open_a_fresh_file_at_once() {
    let files = Arc::new(Files::new());
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let files = Arc::clone(&files);
            std::thread::spawn(move || files.record())
        })
        .collect();
    for (expected, opener) in openers.into_iter().enumerate() {
        let record = opener.join().unwrap();
        record
            .append(one(StreamId::Control, expected as u64))
            .await
            .unwrap();
    }
}

/// Appends in a process of its own that is killed without warning: whatever it said is done, is there;
/// nothing is there by halves; and the next process goes on at once.
#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_loses_nothing_acknowledged() {
    let files = Files::new();
    let record = files.record();
    let mut acknowledged = 0;
    for _ in 0..3 {
        acknowledged += append_until_killed(&files.path()).await;
        let entries = record.read_since(Position(0), usize::MAX).await.unwrap();
        let control = entries
            .iter()
            .filter(|entry| entry.stream == StreamId::Control)
            .count();
        assert!(
            control >= acknowledged,
            "{control} are there, {acknowledged} acknowledged"
        );
        // Each append wrote one event to control and two to its operation.
        assert_eq!(entries.len(), control * 3);
        acknowledged = control;
    }
    record
        .append(one(StreamId::Control, acknowledged as u64))
        .await
        .unwrap();
}

/// How many appends the child acknowledged before it was killed.
async fn append_until_killed(path: &Path) -> usize {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut child = tokio::process::Command::from(helper(path)).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        acknowledged += usize::from(line.contains("appended"));
        if acknowledged == 20 {
            child.start_kill().unwrap();
        }
    }
    child.wait().await.unwrap();
    assert!(acknowledged >= 20);
    acknowledged
}

/// This very test program, told to be the child below.
fn helper(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "child_appends_until_killed",
            "--nocapture",
            "--include-ignored",
        ])
        .env("RECORD_CHILD_PATH", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

#[tokio::test]
async fn child_appends_until_killed() {
    let Some(path) = std::env::var_os("RECORD_CHILD_PATH") else {
        return; // An ordinary run: this test is the other's helper.
    };
    let clock = Arc::new(SystemClock::new(machine_boot_id().unwrap()));
    let options = SqliteOptions::new(clock).unwrap();
    let record = SqliteRecord::open(Path::new(&path), options).unwrap();
    let mut control = record
        .read(StreamId::Control, Seq(0), usize::MAX)
        .await
        .unwrap()
        .len() as u64;
    loop {
        let operation = StreamId::Operation(OperationId(RandomIds.uuid()));
        let mut append = one(StreamId::Control, control);
        append.writes.extend(one(operation, 0).writes);
        let second = one(operation, 1).writes.remove(0).events;
        append.writes[1].events.extend(second);
        record.append(append).await.unwrap();
        control += 1;
        println!("\nappended {control}");
    }
}
