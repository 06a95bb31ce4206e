//! Drives that leave an array and come back, by an `mdadm` that changes the tree as the real one changes the kernel's files; stopped
//! after every call.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evenkeel_linux::devices::Hardware;
use evenkeel_linux::{Call, Finished, Programs};
use evenkeel_model::{DiskSerial, InventorySettings, PoolHealth, PoolName, Storage};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{Devices, DriveState, GroupId, OfflineRequest};

use crate::tree::{Named, Tree, below, md, node, pool, why};

const UUID: &str = "6f0c0d35:9f2c1f6a:0e3a4f60:6b1d8b0e";

/// `mdadm` on the tree.
struct Mdadm {
    root: PathBuf,
    /// Calls that change something, before the power goes.
    left: AtomicUsize,
    /// What the superblock of a disk says.
    carried: Mutex<String>,
    /// Members stay busy for so many tries of `--remove`.
    busy: AtomicUsize,
}

impl Mdadm {
    fn md(&self, file: &str) -> PathBuf {
        below(&self.root, &format!("/sys/devices/md0/md/{file}"))
    }

    fn act(&self, what: &str, device: &str) -> Result<(), String> {
        let name = Path::new(device)
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let member = self.md(&format!("dev-{name}"));
        let state = std::fs::read_to_string(member.join("state")).unwrap_or_default();
        match what {
            "--fail" => {
                std::fs::write(member.join("state"), "faulty,blocked").unwrap();
                std::fs::write(member.join("slot"), "1").unwrap();
                std::fs::write(self.md("degraded"), "1").unwrap();
            }
            "--remove" if self.busy.load(Ordering::Relaxed) > 0 => {
                self.busy.fetch_sub(1, Ordering::Relaxed);
                return Err("hot remove failed: Device or resource busy".to_owned());
            }
            "--remove" if state.contains("faulty") => std::fs::remove_dir_all(member).unwrap(),
            "--remove" => return Err("not faulty".to_owned()),
            "--re-add" if member.exists() => return Err("is a member already".to_owned()),
            "--re-add" => {
                std::fs::create_dir_all(&member).unwrap();
                std::fs::write(member.join("state"), "spare").unwrap();
                // The kernel gives it its place a moment later.
                std::fs::write(member.join("slot"), "none").unwrap();
                let device = below(&self.root, &format!("/sys/devices/{name}"));
                std::os::unix::fs::symlink(device, member.join("block")).unwrap();
                std::fs::write(self.md("sync_action"), "recover").unwrap();
            }
            other => panic!("mdadm {other}"),
        }
        Ok(())
    }

    /// The kernel has caught up.
    fn recovered(&self) {
        std::fs::write(self.md("dev-sdb/state"), "in_sync").unwrap();
        std::fs::write(self.md("dev-sdb/slot"), "1").unwrap();
        std::fs::write(self.md("sync_action"), "idle").unwrap();
        std::fs::write(self.md("degraded"), "0").unwrap();
    }
}

#[async_trait]
impl Programs for Mdadm {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        assert_eq!(call.program, "mdadm", "{}", call.line());
        let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
        let done = match args[..] {
            ["--detail", "--export", "/dev/md0"] => Ok(format!("MD_LEVEL=raid1\nMD_UUID={UUID}\n")),
            ["--examine", "--export", _] => {
                Ok(format!("MD_UUID={}\n", self.carried.lock().unwrap()))
            }
            ["/dev/md0", what, device] => {
                if self.left.load(Ordering::Relaxed) == 0 {
                    return Err(PlatformError::Unavailable("the power is gone".to_owned()));
                }
                self.left.fetch_sub(1, Ordering::Relaxed);
                self.act(what, device).map(|()| String::new())
            }
            _ => panic!("nobody expected {}", call.line()),
        };
        let (code, output, errors) = match done {
            Ok(output) => (0, output, String::new()),
            Err(why) => (1, String::new(), why),
        };
        Ok(Finished {
            code: Some(code),
            output: output.into_bytes(),
            errors,
        })
    }
}

struct Bench {
    tree: Tree,
    mdadm: Arc<Mdadm>,
    state: tempfile::TempDir,
}

fn bench() -> Bench {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.scsi("sdb", "8:16", "S2");
    tree.md("md0", "raid1", &["sda", "sdb"]);
    tree.program("mdadm");
    let mdadm = Arc::new(Mdadm {
        root: tree.path("/"),
        left: AtomicUsize::new(usize::MAX),
        carried: Mutex::new(UUID.to_owned()),
        busy: AtomicUsize::new(0),
    });
    let state = tempfile::tempdir().unwrap();
    Bench { tree, mdadm, state }
}

impl Bench {
    /// A daemon that has just started: nothing is remembered but what is on disk.
    fn hardware(&self) -> Hardware {
        self.served_by("node1")
    }

    fn served_by(&self, owner: &str) -> Hardware {
        let pools = Arc::new(Named(vec![pool("data", Some(owner), md("/dev/md0"))]));
        let host = self.tree.host(self.mdadm.clone());
        let settings = InventorySettings::default();
        Hardware::new(
            host,
            node("node1"),
            settings,
            pools,
            self.state.path(),
            Ok(None),
        )
    }

    async fn state_of_s2(&self) -> (DriveState, Vec<String>) {
        let drives = self.hardware().drives().await.unwrap();
        let drive = drives
            .iter()
            .find(|drive| drive.serial.as_str() == "S2")
            .unwrap();
        let groups = self.hardware().groups().await.unwrap();
        assert_eq!(drive.place.group(), Some(&groups[0].id));
        let out = groups[0].out.iter().map(ToString::to_string).collect();
        (drive.state, out)
    }
}

fn request() -> OfflineRequest {
    OfflineRequest {
        drive: DiskSerial::new("S2").unwrap(),
        group: GroupId {
            pool: PoolName::new("data").unwrap(),
            number: 0,
        },
    }
}

#[tokio::test]
async fn a_drive_leaves_and_comes_back() {
    let bench = bench();
    bench.mdadm.busy.store(2, Ordering::Relaxed);
    let hardware = bench.hardware();
    hardware.take_offline(&request()).await.unwrap();
    assert_eq!(
        bench.state_of_s2().await,
        (DriveState::Offline, vec!["S2".to_owned()])
    );
    hardware.take_offline(&request()).await.unwrap();
    hardware.bring_online(&request()).await.unwrap();
    assert_eq!(bench.state_of_s2().await, (DriveState::Online, vec![]));
    assert_eq!(
        hardware.groups().await.unwrap()[0].health,
        PoolHealth::Resyncing
    );
    bench.mdadm.recovered();
    hardware.bring_online(&request()).await.unwrap();
    assert_eq!(
        hardware.groups().await.unwrap()[0].health,
        PoolHealth::Online
    );
    assert!(
        std::fs::read_dir(bench.state.path().join("offline"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn wherever_it_stops_a_repeat_goes_on() {
    for stop in 0..4 {
        let bench = bench();
        bench.mdadm.left.store(stop, Ordering::Relaxed);
        let first = bench.hardware().take_offline(&request()).await;
        assert_eq!(first.is_err(), stop < 2, "after {stop} calls: {first:?}");
        // Nothing that we did is ever taken for a failure.
        let (state, _) = bench.state_of_s2().await;
        assert_ne!(state, DriveState::Failed, "after {stop} calls");
        bench.mdadm.left.store(usize::MAX, Ordering::Relaxed);
        bench.hardware().take_offline(&request()).await.unwrap();
        assert_eq!(bench.state_of_s2().await.0, DriveState::Offline);

        bench.mdadm.left.store(0, Ordering::Relaxed);
        bench.hardware().bring_online(&request()).await.unwrap_err();
        assert_eq!(bench.state_of_s2().await.0, DriveState::Offline);
        bench.mdadm.left.store(usize::MAX, Ordering::Relaxed);
        bench.hardware().bring_online(&request()).await.unwrap();
        assert_eq!(bench.state_of_s2().await.0, DriveState::Online);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stopped_between_failing_and_removing_comes_back_too() {
    let bench = bench();
    bench.mdadm.left.store(1, Ordering::Relaxed);
    bench.hardware().take_offline(&request()).await.unwrap_err();
    assert!(bench.tree.path("/sys/devices/md0/md/dev-sdb").exists());
    bench.mdadm.left.store(usize::MAX, Ordering::Relaxed);
    bench.hardware().bring_online(&request()).await.unwrap();
    assert_eq!(bench.state_of_s2().await.0, DriveState::Online);
}

#[tokio::test]
async fn a_spare_of_a_whole_array_is_no_member() {
    let bench = bench();
    bench.tree.scsi("sdc", "8:32", "S3");
    bench.tree.member("md0", "sdc", "spare", "none");
    let drives = bench.hardware().drives().await.unwrap();
    assert_eq!(drives[2].place.group(), None);
    assert_eq!(drives[2].owner, Some(node("node1")));
    let mut spare = request();
    spare.drive = DiskSerial::new("S3").unwrap();
    assert!(why(bench.hardware().take_offline(&spare).await).contains("stands by"));
}

#[tokio::test]
async fn udev_may_have_been_faster() {
    let bench = bench();
    bench.hardware().take_offline(&request()).await.unwrap();
    bench.mdadm.act("--re-add", "/dev/sdb").unwrap();
    bench.hardware().bring_online(&request()).await.unwrap();
    assert_eq!(bench.state_of_s2().await.0, DriveState::Online);
}

#[tokio::test]
async fn no_drive_leaves_an_array_that_cannot_spare_it() {
    let refusals = [
        (
            "bitmap/location",
            "none",
            "it keeps no map of what a member misses",
        ),
        ("level", "raid0", "it is a raid0, which bears no loss"),
        ("sync_action", "recover", "a drive of it is catching up"),
        ("degraded", "1", "it is degraded"),
    ];
    for (file, text, expected) in refusals {
        let bench = bench();
        bench
            .tree
            .file(&format!("/sys/devices/md0/md/{file}"), text);
        let said = bench.hardware().take_offline(&request()).await;
        assert!(
            matches!(said, Err(PlatformError::Refused(_))),
            "{file}: {said:?}"
        );
        assert!(why(said).contains(expected), "{file}");
        assert!(
            bench
                .tree
                .path("/sys/devices/md0/md/dev-sdb/state")
                .exists()
        );
    }
    let bench = bench();
    let said = bench.served_by("node2").take_offline(&request()).await;
    assert!(why(said).contains("this node does not serve data/rg0"));
    let mut other = request();
    other.drive = DiskSerial::new("S9").unwrap();
    assert!(
        why(bench.hardware().take_offline(&other).await).contains("disk S9 is not in data/rg0")
    );
}

#[tokio::test]
async fn what_failed_by_itself_is_not_brought_back() {
    let bench = bench();
    bench.mdadm.act("--fail", "/dev/sdb").unwrap();
    assert_eq!(bench.state_of_s2().await.0, DriveState::Failed);
    let said = bench.hardware().bring_online(&request()).await;
    assert!(why(said).contains("has failed in data/rg0, or was taken out of it by somebody else"));
    let said = bench.hardware().take_offline(&request()).await;
    assert!(why(said).contains("disk S2 has failed"));
}

#[tokio::test]
async fn a_disk_that_carries_another_array_is_not_added() {
    let bench = bench();
    bench.hardware().take_offline(&request()).await.unwrap();
    *bench.mdadm.carried.lock().unwrap() = "0:0:0:1".to_owned();
    let said = bench.hardware().bring_online(&request()).await;
    assert!(matches!(said, Err(PlatformError::Refused(_))), "{said:?}");
    assert!(why(said).contains("carries the array 0:0:0:1"));
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_waited_for() {
    let bench = bench();
    bench.hardware().take_offline(&request()).await.unwrap();
    bench.tree.file("/sys/devices/sdb/device/state", "blocked");
    let said = bench.hardware().bring_online(&request()).await;
    assert!(
        said.as_ref().is_err_and(PlatformError::is_transient),
        "{said:?}"
    );
    assert!(why(said).contains("disk S2 has no path that works"));
}

/// `mdadm` that names two arrays by what was written into the tree.
struct TwoArrays {
    root: PathBuf,
}

#[async_trait]
impl Programs for TwoArrays {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let line = call.line();
        let array = line.strip_prefix("mdadm --detail --export /dev/").unwrap();
        let uuid = below(&self.root, &format!("/sys/devices/{array}/told"));
        let uuid = std::fs::read_to_string(uuid).unwrap();
        Ok(Finished {
            code: Some(0),
            output: format!("MD_LEVEL=raid1\nMD_UUID={uuid}\n").into_bytes(),
            errors: String::new(),
        })
    }
}

/// A drive is out for its firmware, power is lost, and the arrays come back with each other's names.
#[tokio::test]
async fn a_drive_belongs_to_its_array_whatever_the_kernel_calls_that() {
    let state = tempfile::tempdir().unwrap();
    let note = r#"{"group": {"pool": "data", "number": 0}, "array": "1:1:1:1", "partition": null, "mapped": null}"#;
    std::fs::create_dir_all(state.path().join("offline")).unwrap();
    std::fs::write(state.path().join("offline/S2.json"), note).unwrap();
    for (first, second) in [("md126", "md127"), ("md127", "md126")] {
        let tree = Tree::new();
        for (name, dev, serial) in [
            ("sda", "8:0", "S1"),
            ("sdb", "8:16", "S2"),
            ("sdc", "8:32", "S3"),
            ("sdd", "8:48", "S4"),
        ] {
            tree.scsi(name, dev, serial);
        }
        tree.program("mdadm");
        tree.md(first, "raid1", &["sda"]);
        tree.file(&format!("/sys/devices/{first}/md/degraded"), "1");
        tree.file(&format!("/sys/devices/{first}/told"), "1:1:1:1");
        tree.md(second, "raid1", &["sdc", "sdd"]);
        tree.file(&format!("/sys/devices/{second}/told"), "2:2:2:2");
        let mut data = pool("data", Some("node1"), md("/dev/md126"));
        data.storage.push(md("/dev/md127"));
        let host = tree.host(Arc::new(TwoArrays {
            root: tree.path("/"),
        }));
        let pools = Arc::new(Named(vec![data]));
        let settings = InventorySettings::default();
        let hardware = Hardware::new(host, node("node1"), settings, pools, state.path(), Ok(None));
        let groups = hardware.groups().await.unwrap();
        let told: Vec<_> = groups
            .iter()
            .map(|group| (group.id.number, group.health, group.out.len()))
            .collect();
        let expected = [(0, PoolHealth::Degraded, 1), (1, PoolHealth::Online, 0)];
        assert_eq!(told, expected, "{first} is the one that lacks a drive");
    }
}

/// `zpool` on a pool of a mirror: its second device is in this state.
struct Zpool {
    state: Mutex<String>,
}

#[async_trait]
impl Programs for Zpool {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let output = match call.line().as_str() {
            "zpool status -j --json-int -P" => {
                let state = self.state.lock().unwrap().clone();
                let whole = if state == "ONLINE" {
                    "ONLINE"
                } else {
                    "DEGRADED"
                };
                format!(
                    r#"{{"pools": {{"tank": {{"state": "{whole}", "vdevs": {{"tank": {{"name": "tank", "state": "{whole}", "vdevs": {{
                      "mirror-0": {{"name": "mirror-0", "state": "{whole}", "vdevs": {{
                        "sda": {{"name": "sda", "path": "/dev/sda", "state": "ONLINE"}},
                        "sdb": {{"name": "sdb", "path": "/dev/sdb", "state": "{state}"}}}}}}}}}}}}}}}}}}"#
                )
            }
            "zpool offline -t tank /dev/sdb" => {
                *self.state.lock().unwrap() = "OFFLINE".to_owned();
                String::new()
            }
            "zpool online tank /dev/sdb" => {
                *self.state.lock().unwrap() = "ONLINE".to_owned();
                String::new()
            }
            other => panic!("nobody expected {other}"),
        };
        Ok(Finished {
            code: Some(0),
            output: output.into_bytes(),
            errors: String::new(),
        })
    }
}

#[tokio::test]
async fn a_drive_leaves_a_zfs_pool_and_one_that_an_admin_took_out_stays_out() {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.scsi("sdb", "8:16", "S2");
    tree.file("/sys/module/zfs/version", "2.3.1");
    tree.program("zpool");
    let zpool = Arc::new(Zpool {
        state: Mutex::new("ONLINE".to_owned()),
    });
    let state = tempfile::tempdir().unwrap();
    let tank = Storage::Zfs {
        pool: "tank".to_owned(),
    };
    let pools = Arc::new(Named(vec![pool("data", Some("node1"), tank)]));
    let (host, settings) = (tree.host(zpool.clone()), InventorySettings::default());
    let hardware = Hardware::new(host, node("node1"), settings, pools, state.path(), Ok(None));
    hardware.take_offline(&request()).await.unwrap();
    hardware.take_offline(&request()).await.unwrap();
    let groups = hardware.groups().await.unwrap();
    assert_eq!(groups[0].health, PoolHealth::Degraded);
    assert_eq!(groups[0].out[0].as_str(), "S2");
    hardware.bring_online(&request()).await.unwrap();
    hardware.bring_online(&request()).await.unwrap();
    assert_eq!(*zpool.state.lock().unwrap(), "ONLINE");
    *zpool.state.lock().unwrap() = "OFFLINE".to_owned();
    assert!(why(hardware.bring_online(&request()).await).contains("by somebody else"));
    assert_eq!(*zpool.state.lock().unwrap(), "OFFLINE");
}
