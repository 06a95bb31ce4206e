//! The resource agent `systemd/ocf/record`, called as the cluster calls it, on a pool that is really mounted and unmounted.
//!
//! Needs root, a loop device, and Debian's `resource-agents`: run with `--ignored`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{OperationId, Seq, StreamId};
use evenkeel_record::{AppendError, MountRule, PoolOptions, Record, lock_path};
use evenkeel_seam::{Ids, RandomIds};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::pair::{Node, Pair, lock, one, until};

// Exit codes by the OCF specification.
const SUCCESS: i32 = 0;
const ERR_GENERIC: i32 = 1;
const ERR_UNIMPLEMENTED: i32 = 3;
const ERR_CONFIGURED: i32 = 6;
const NOT_RUNNING: i32 = 7;

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/ocf/record");

struct Agent {
    path: PathBuf,
    seat: PathBuf,
}

impl Agent {
    fn of(node: &Node) -> Self {
        Self {
            path: node.options.path.clone(),
            seat: node.options.seat.clone(),
        }
    }

    fn call(&self, action: &str, timeout: Duration) -> Output {
        Command::new("sh")
            .args([AGENT, action])
            .env("OCF_ROOT", "/usr/lib/ocf")
            .env("OCF_RESOURCE_INSTANCE", "record")
            .env("OCF_RESKEY_path", &self.path)
            .env("OCF_RESKEY_seat", &self.seat)
            .env(
                "OCF_RESKEY_CRM_meta_timeout",
                timeout.as_millis().to_string(),
            )
            .output()
            .unwrap()
    }

    /// The exit code, and what was said with it.
    fn run(&self, action: &str) -> (i32, String) {
        self.within(action, Duration::from_secs(30))
    }

    fn within(&self, action: &str, timeout: Duration) -> (i32, String) {
        let output = self.call(action, timeout);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    }

    fn must(&self, action: &str) {
        let (code, said) = self.run(action);
        assert_eq!(code, SUCCESS, "{action}: {said}");
    }
}

/// An ext4 filesystem on a loop device.
struct Pool {
    folder: PathBuf,
    image: PathBuf,
    _dir: TempDir,
}

impl Pool {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (folder, image) = (dir.path().join("mount"), dir.path().join("image"));
        fs::create_dir(&folder).unwrap();
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        must("mkfs.ext4", &["-q", image.to_str().unwrap()]);
        Self {
            folder,
            image,
            _dir: dir,
        }
    }

    fn mount(&self) {
        let (image, folder) = (self.image.to_str().unwrap(), self.folder.to_str().unwrap());
        must("mount", &["-o", "loop", image, folder]);
    }

    fn unmount(&self) -> Output {
        let folder = self.folder.to_str().unwrap();
        Command::new("umount").arg(folder).output().unwrap()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A test that failed leaves nothing mounted: lazily, whoever has it open ends with the test.
        let _gone = Command::new("umount").arg("-l").arg(&self.folder).output();
    }
}

fn must(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

/// Two nodes whose file is on the mounted pool.
fn nodes(pair: &Pair, pool: &Pool) -> [Node; 2] {
    let nodes = [0, 1].map(|n| {
        Node::start(PoolOptions {
            path: pool.folder.join("evenkeel/record.db"),
            seat: pair.dir.path().join(format!("seat-{n}")),
            mount: MountRule::Mounted,
            ..pair.nodes[n].options.clone()
        })
    });
    nodes[0].line.leads_to(&nodes[1].record);
    nodes[1].line.leads_to(&nodes[0].record);
    nodes
}

/// The whole way of a takeover, again and again, under load: the unmount never finds the pool busy.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and resource-agents"]
async fn the_pool_is_never_busy_when_the_agent_has_stopped() {
    let (pair, pool) = (Pair::new(), Pool::new());
    let nodes = nodes(&pair, &pool);
    pool.mount();
    fs::create_dir(pool.folder.join("evenkeel")).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let record = Arc::clone(&nodes[writer % 2].record);
        writers.spawn(load(record));
    }
    for turn in 0..10 {
        let node = &nodes[turn % 2];
        let agent = Agent::of(node);
        assert_eq!(agent.run("monitor").0, NOT_RUNNING);
        agent.must("start");
        agent.must("start");
        agent.must("monitor");
        until("the node to sit", || node.record.sits()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let busy = pool.unmount();
        assert!(!busy.status.success(), "the record is open");
        let begun = Instant::now();
        tokio::task::block_in_place(|| agent.must("stop"));
        println!("stop took {:?}", begun.elapsed());
        let unmounted = pool.unmount();
        let said = String::from_utf8_lossy(&unmounted.stderr);
        assert!(unmounted.status.success(), "{said}");
        tokio::task::block_in_place(|| agent.must("stop"));
        assert_eq!(agent.run("monitor").0, NOT_RUNNING);
        pool.mount();
    }
    nodes[0].give();
    until("the node to sit", || nodes[0].record.sits()).await;
    writers.shutdown().await;
    nodes[0].take().await;
    assert!(pool.unmount().status.success());
}

/// Appends for as long as it is let.
async fn load(record: Arc<evenkeel_record::SharedPoolRecord>) {
    let stream = StreamId::Operation(OperationId(RandomIds.uuid()));
    let mut done = 0;
    loop {
        let append = one(stream, done);
        loop {
            match record.append(append.clone()).await {
                Ok(_) => break,
                Err(AppendError::Unavailable(_) | AppendError::Unknown(_)) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
        done += 1;
        if done % 50 == 0
            && let Ok(found) = record.read(stream, Seq(0), usize::MAX).await
        {
            assert_eq!(found.len() as u64, done);
        }
    }
}

/// A daemon that does not let go: stop fails in time to say so, and holds nothing up for longer than it may.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and resource-agents"]
async fn stop_fails_loudly_while_the_file_stays_open() {
    let (pair, pool) = (Pair::new(), Pool::new());
    pool.mount();
    fs::create_dir(pool.folder.join("evenkeel")).unwrap();
    let agent = Agent {
        path: pool.folder.join("evenkeel/record.db"),
        seat: pair.dir.path().join("seat"),
    };
    agent.must("start");
    let held = lock(&lock_path(&agent.seat));
    let begun = Instant::now();
    let (code, said) = agent.within("stop", Duration::from_secs(6));
    let took = begun.elapsed();
    assert_eq!(code, ERR_GENERIC, "{said}");
    assert!(said.contains("has not closed"), "{said}");
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(6),
        "{took:?}"
    );
    assert!(!agent.seat.exists(), "the daemon may still find out");
    assert_eq!(
        agent.within("stop", Duration::from_secs(6)).0,
        ERR_GENERIC,
        "again"
    );
    drop(held);
    agent.must("stop");
    assert!(pool.unmount().status.success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and resource-agents"]
async fn the_agent_says_what_is_wrong() {
    let (pair, pool) = (Pair::new(), Pool::new());
    let mut agent = Agent {
        path: pool.folder.join("record.db"),
        seat: pair.dir.path().join("folder/seat"),
    };
    let (code, said) = agent.run("start");
    assert_eq!(code, ERR_GENERIC);
    // The temporary folder may have a filesystem of its own, and then counts as mounted.
    if on_root(&pool.folder) {
        assert!(said.contains("the pool is not mounted"), "{said}");
    }
    pool.mount();
    agent.must("validate-all");
    agent.must("start");
    let other = Agent {
        path: pool.folder.join("other.db"),
        seat: agent.seat.clone(),
    };
    assert_eq!(other.run("monitor").0, NOT_RUNNING);
    let (code, said) = other.run("start");
    assert_eq!(code, ERR_GENERIC);
    assert!(said.contains("one node has one record"), "{said}");
    other.must("stop");
    agent.must("monitor");
    agent.must("stop");
    agent.path = "record.db".into();
    assert_eq!(agent.run("validate-all").0, ERR_CONFIGURED);
    assert_eq!(agent.run("start").0, ERR_CONFIGURED);
    assert_eq!(
        agent.run("stop").0,
        SUCCESS,
        "nothing to stop, and no reason to fence"
    );
    assert_eq!(agent.run("promote").0, ERR_UNIMPLEMENTED);
    let described = agent.call("meta-data", Duration::from_secs(5));
    let xml = String::from_utf8(described.stdout).unwrap();
    for action in ["start", "stop", "monitor", "validate-all", "meta-data"] {
        assert!(xml.contains(&format!("<action name=\"{action}\"")), "{xml}");
    }
    assert!(pool.unmount().status.success());
}

fn on_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).unwrap().dev() == fs::metadata("/").unwrap().dev()
}
