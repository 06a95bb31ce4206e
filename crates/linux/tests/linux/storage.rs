//! The health of pools by what they stand on.

use async_trait::async_trait;
use evenkeel_linux::inventory::{OwnPools, health};
use evenkeel_linux::storage::PoolPlaces;
use evenkeel_linux::{Call, Finished, Programs};
use evenkeel_model::{InventorySettings, PoolHealth, Storage};
use evenkeel_platform::{Inventory, PlatformError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::tree::{Printed, Tree, md, node, pool, why};

fn array() -> Tree {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.scsi("sdb", "8:16", "S2");
    tree.md("md0", "raid1", &["sda", "sdb"]);
    tree
}

async fn of(tree: &Tree, printed: Printed, storage: Storage) -> (PoolHealth, bool) {
    health(&tree.host(Arc::new(printed)), &storage)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_array_tells_its_redundancy() {
    let set = |file: &str, text: &str, tree: &Tree| {
        tree.file(&format!("/sys/devices/md0/md/{file}"), text)
    };
    let tree = array();
    let look = async |tree: &Tree| of(tree, Printed::default(), md("/dev/md0")).await;
    assert_eq!(look(&tree).await, (PoolHealth::Online, false));
    set("sync_action", "check", &tree);
    assert_eq!(look(&tree).await, (PoolHealth::Online, true));
    set("degraded", "1", &tree);
    set("sync_action", "recover", &tree);
    assert_eq!(look(&tree).await, (PoolHealth::Resyncing, false));
    set("sync_action", "idle", &tree);
    assert_eq!(look(&tree).await, (PoolHealth::Degraded, false));
    set("degraded", "0", &tree);
    // Went down hard, and its resync is put off.
    set("resync_start", "0", &tree);
    assert_eq!(look(&tree).await, (PoolHealth::Resyncing, false));
    for state in ["inactive", "clear", "readonly", "suspended", "broken"] {
        set("array_state", state, &tree);
        assert_eq!(look(&tree).await, (PoolHealth::Offline, false), "{state}");
    }
    set("array_state", "dancing", &tree);
    let said = health(&tree.host(Arc::new(Printed::default())), &md("/dev/md0")).await;
    assert!(why(said).contains("\"dancing\", which is not known"));
}

#[tokio::test]
async fn an_array_that_is_not_put_together_is_offline() {
    let tree = array();
    tree.remove("/dev/md0");
    let said = of(&tree, Printed::default(), md("/dev/md0")).await;
    assert_eq!(said, (PoolHealth::Offline, false));
    // Something else has its name.
    tree.file("/dev/md/data", "");
    let said = of(&tree, Printed::default(), md("/dev/sda")).await;
    assert_eq!(said, (PoolHealth::Offline, false));
}

/// As `lvs`, `vgs` and `pvs` of LVM 2.03.16 print it.
fn lvm(health: &str, action: &str, sync: &str, missing: &str) -> Printed {
    let vgs = format!(
        r#"{{"report": [{{"vg": [{{"vg_name":"data", "vg_missing_pv_count":"{missing}"}}]}}]}}"#
    );
    let lvs = format!(
        r#"{{"report": [{{"lv": [
            {{"vg_name":"data", "lv_name":"vol1", "lv_active":"active", "lv_health_status":"{health}", "raid_sync_action":"{action}",
              "sync_percent":"{sync}", "segtype":"raid1", "lv_kernel_major":"253", "lv_kernel_minor":"2", "move_pv":""}},
            {{"vg_name":"data", "lv_name":"old", "lv_active":"", "lv_health_status":"partial", "raid_sync_action":"", "sync_percent":"",
              "segtype":"linear", "lv_kernel_major":"-1", "lv_kernel_minor":"-1", "move_pv":""}}]}}]}}"#
    );
    let pvs = r#"{"report": [{"pv": [{"pv_name":"/dev/md0", "vg_name":"data"}, {"pv_name":"[unknown]", "vg_name":"data"}]}]}"#;
    Printed::default()
        .with(
            "vgs --reportformat json -o vg_name,vg_missing_pv_count",
            &vgs,
        )
        .with(LVS, &lvs)
        .with("pvs --reportformat json -o pv_name,vg_name", pvs)
}

const LVS: &str = "lvs -a --reportformat json -o vg_name,lv_name,lv_active,lv_health_status,raid_sync_action,sync_percent,\
                   segtype,lv_kernel_major,lv_kernel_minor,move_pv";

fn volume_group() -> Tree {
    let tree = array();
    for program in ["vgs", "lvs", "pvs"] {
        tree.program(program);
    }
    tree
}

#[tokio::test]
async fn a_volume_group_is_as_well_as_its_volumes_and_what_is_below() {
    let tree = volume_group();
    let vg = || Storage::Vg {
        name: "data".to_owned(),
    };
    let whole = lvm("", "idle", "100.00", "0");
    assert_eq!(of(&tree, whole, vg()).await, (PoolHealth::Online, false));
    let check = lvm("", "check", "12.00", "0");
    assert!(of(&tree, check, vg()).await.1);
    let rebuilt = lvm("", "recover", "12.00", "0");
    assert_eq!(of(&tree, rebuilt, vg()).await.0, PoolHealth::Resyncing);
    let partial = lvm("partial", "idle", "100.00", "0");
    assert_eq!(of(&tree, partial, vg()).await.0, PoolHealth::Degraded);
    // A leg that is not read from, as somebody wished it.
    let aside = lvm("writemostly", "idle", "100.00", "0");
    assert_eq!(of(&tree, aside, vg()).await.0, PoolHealth::Online);
    let missing = lvm("", "idle", "100.00", "1");
    assert_eq!(of(&tree, missing, vg()).await.0, PoolHealth::Degraded);
    tree.file("/sys/devices/md0/md/degraded", "1");
    let below = lvm("", "idle", "100.00", "0");
    assert_eq!(of(&tree, below, vg()).await.0, PoolHealth::Degraded);
    let elsewhere = Storage::Vg {
        name: "other".to_owned(),
    };
    let whole = lvm("", "idle", "100.00", "0");
    assert_eq!(of(&tree, whole, elsewhere).await.0, PoolHealth::Offline);
}

#[tokio::test]
async fn what_must_be_installed_is_named() {
    let tree = Tree::new();
    let vg = Storage::Vg {
        name: "data".to_owned(),
    };
    let said = health(&tree.host(Arc::new(Printed::default())), &vg).await;
    assert!(why(said).contains("vgs is not installed: install lvm2"));
}

const STATUS: &str = "zpool status -j --json-int -P";

/// In the shape that OpenZFS 2.3 gives it (zpool-status(8), and the test suite's zfs_cli/json).
fn json(state: &str, scan: &str, leaf: &str) -> String {
    format!(
        r#"{{"output_version": {{"command": "zpool status", "vers_major": 0, "vers_minor": 1}}, "pools": {{"tank": {{
          "name": "tank", "state": "{state}", "pool_guid": 1, "error_count": 0,
          "scan_stats": {{"function": "{scan}", "state": "SCANNING"}},
          "vdevs": {{"tank": {{"name": "tank", "vdev_type": "root", "state": "{state}", "vdevs": {{"mirror-0": {{
            "name": "mirror-0", "vdev_type": "mirror", "state": "{state}", "vdevs": {{
              "/dev/sda": {{"name": "/dev/sda", "vdev_type": "disk", "path": "/dev/sda", "state": "ONLINE"}},
              "/dev/sdb": {{"name": "/dev/sdb", "vdev_type": "disk", "path": "/dev/sdb", "state": "{leaf}"}}}}}}}}}}}}}}}}}}"#
    )
}

fn zfs() -> Tree {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.scsi("sdb", "8:16", "S2");
    tree.file("/sys/module/zfs/version", "2.3.1");
    tree.program("zpool");
    tree.program("timeout");
    tree
}

fn tank() -> Storage {
    Storage::Zfs {
        pool: "tank".to_owned(),
    }
}

#[tokio::test]
async fn a_zfs_pool_tells_its_state_in_json() {
    let tree = zfs();
    for (state, scan, expected) in [
        ("ONLINE", "SCRUB", (PoolHealth::Online, true)),
        ("ONLINE", "RESILVER", (PoolHealth::Resyncing, false)),
        ("DEGRADED", "SCRUB", (PoolHealth::Degraded, true)),
        ("DEGRADED", "RESILVER", (PoolHealth::Resyncing, false)),
        ("SUSPENDED", "NONE", (PoolHealth::Offline, false)),
    ] {
        let printed = Printed::default().with(STATUS, &json(state, scan, "ONLINE"));
        assert_eq!(of(&tree, printed, tank()).await, expected, "{state} {scan}");
    }
    let none = Printed::default().with(STATUS, r#"{"pools": {}}"#);
    assert_eq!(of(&tree, none, tank()).await.0, PoolHealth::Offline);
    let garbled = Printed::default().with(STATUS, "pool: tank");
    let said = health(&tree.host(Arc::new(garbled)), &tank()).await;
    assert!(why(said).contains("zpool status -j --json-int -P printed what is not understood"));
}

#[tokio::test]
async fn an_older_zpool_is_read_in_its_scripted_mode() {
    let tree = zfs();
    // The columns of 2.1's `zpool list -HPv`: name, size, allocated, free, and so on, health, altroot.
    let list = "tank\t9.5G\t1.2G\t8.3G\t-\t-\t0%\t12%\t1.00x\tDEGRADED\t-\n\
                \tmirror-0\t9.5G\t1.2G\t8.3G\t-\t-\t0%\t12.6%\t-\tDEGRADED\n\
                \t/dev/sda\t-\t-\t-\t-\t-\t-\t-\t-\tONLINE\n\
                \t/dev/sdb\t-\t-\t-\t-\t-\t-\t-\t-\tFAULTED\n\
                cache\t-\t-\t-\t-\t-\t-\t-\t-\t-\n\
                \t/dev/vda1\t-\t-\t-\t-\t-\t-\t-\t-\tONLINE\n";
    let printed = |resilver: i32, scrub: i32| {
        Printed::default()
            .ended(STATUS, 2, "")
            .with("zpool list -HPv", list)
            .ended("timeout 0.5 zpool wait -t resilver tank", resilver, "")
            .ended("timeout 0.5 zpool wait -t scrub tank", scrub, "")
    };
    assert_eq!(
        of(&tree, printed(0, 0), tank()).await,
        (PoolHealth::Degraded, false)
    );
    assert_eq!(
        of(&tree, printed(124, 0), tank()).await,
        (PoolHealth::Resyncing, false)
    );
    assert_eq!(
        of(&tree, printed(0, 124), tank()).await,
        (PoolHealth::Degraded, true)
    );
    let said = health(&tree.host(Arc::new(printed(1, 0))), &tank()).await;
    assert!(why(said).contains("ended with Some(1)"));
    let machine = tree.machine_with(printed(0, 0), InventorySettings::default(), Vec::new());
    let disks = machine.disks().await.unwrap();
    let failed: Vec<_> = disks
        .iter()
        .map(|disk| (disk.serial.as_str(), disk.failed))
        .collect();
    assert_eq!(failed, [("S1", false), ("S2", true)]);
}

#[tokio::test]
async fn without_zfs_in_the_kernel_no_pool_is_here() {
    let tree = Tree::new();
    assert_eq!(
        of(&tree, Printed::default(), tank()).await.0,
        PoolHealth::Offline
    );
}

fn filesystem() -> Storage {
    Storage::Filesystem {
        device: "/dev/md0".to_owned(),
        folder: "/srv/vol1".into(),
    }
}

#[tokio::test]
async fn a_filesystem_is_mounted_writable_and_without_errors() {
    let tree = array();
    let look = async |tree: &Tree| of(tree, Printed::default(), filesystem()).await.0;
    assert_eq!(look(&tree).await, PoolHealth::Offline);
    tree.file("/srv/vol1/file", "");
    let mountinfo = |options: &str| {
        let root = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n";
        format!("{root}40 22 9:0 / /srv/vol1 ro,relatime - ext4 /dev/md0 {options}\n")
    };
    tree.file("/proc/self/mountinfo", mountinfo("rw,errors=remount-ro"));
    tree.file("/sys/fs/ext4/md0/errors_count", "0");
    // A sandbox may forbid this process to write there; the filesystem itself takes writes.
    assert_eq!(look(&tree).await, PoolHealth::Online);
    tree.file("/sys/fs/ext4/md0/errors_count", "3");
    assert_eq!(look(&tree).await, PoolHealth::Degraded);
    tree.file("/sys/fs/ext4/md0/errors_count", "0");
    tree.file("/sys/devices/md0/md/sync_action", "resync");
    assert_eq!(look(&tree).await, PoolHealth::Resyncing);
    tree.file("/proc/self/mountinfo", mountinfo("ro,errors=remount-ro"));
    assert_eq!(look(&tree).await, PoolHealth::Offline);
    tree.append(
        "/proc/self/mountinfo",
        "41 22 8:0 / /srv/vol1 rw - ext4 /dev/sda rw\n",
    );
    let said = health(&tree.host(Arc::new(Printed::default())), &filesystem()).await;
    assert!(why(said).contains("/dev/sda is mounted on /srv/vol1, not /dev/md0"));
}

const DRBD: &str = "drbdsetup status --json";

/// As `drbdsetup` of drbd-utils 9 prints it: the device here, the connection, and the same device on the other node.
fn drbd(own: &str, connection: &str, replication: &str, peer: &str) -> String {
    format!(
        r#"[{{"name": "r7", "node-id": 0, "role": "Secondary", "suspended": false, "devices": [{{"volume": 0, "minor": 7, "disk-state":
            "UpToDate", "client": false, "quorum": true}}], "connections": []}},
           {{"name": "r0", "node-id": 0, "role": "Primary", "suspended": false, "write-ordering": "flush",
            "devices": [{{"volume": 0, "minor": 0, "disk-state": "{own}", "client": false, "quorum": true, "size": 307152}}],
            "connections": [{{"peer-node-id": 1, "name": "node2", "connection-state": "{connection}", "peer-role": "Secondary",
              "peer_devices": [{{"volume": 0, "replication-state": "{replication}", "peer-disk-state": "{peer}", "peer-client": false,
                "resync-suspended": "no", "percent-in-sync": 100.00}}]}}]}}]"#
    )
}

/// DRBD's device of minor number 0 on sda, mounted as the pool.
fn replicated() -> Tree {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.disk("drbd0", "147:0");
    tree.link("/sys/devices/drbd0/slaves/sda", "/sys/devices/sda");
    tree.file("/srv/vol1/file", "");
    tree.append(
        "/proc/self/mountinfo",
        "40 22 147:0 / /srv/vol1 rw - xfs /dev/drbd0 rw\n",
    );
    tree
}

fn on_drbd() -> Storage {
    Storage::Filesystem {
        device: "/dev/drbd0".to_owned(),
        folder: "/srv/vol1".into(),
    }
}

#[tokio::test]
async fn a_copy_that_is_behind_on_either_node_is_no_health() {
    let tree = replicated();
    let silent = health(&tree.host(Arc::new(Printed::default())), &on_drbd()).await;
    assert!(why(silent).contains("drbdsetup is not installed: install drbd-utils"));
    tree.program("drbdsetup");
    for (own, connection, replication, peer, expected) in [
        (
            "UpToDate",
            "Connected",
            "Established",
            "UpToDate",
            (PoolHealth::Online, false),
        ),
        (
            "UpToDate",
            "Connected",
            "VerifyS",
            "UpToDate",
            (PoolHealth::Online, true),
        ),
        (
            "UpToDate",
            "Connected",
            "SyncSource",
            "Inconsistent",
            (PoolHealth::Resyncing, false),
        ),
        (
            "Inconsistent",
            "Connected",
            "SyncTarget",
            "UpToDate",
            (PoolHealth::Resyncing, false),
        ),
        (
            "UpToDate",
            "Connected",
            "WFBitMapS",
            "Consistent",
            (PoolHealth::Resyncing, false),
        ),
        (
            "UpToDate",
            "Connecting",
            "Off",
            "DUnknown",
            (PoolHealth::Degraded, false),
        ),
        (
            "UpToDate",
            "StandAlone",
            "Off",
            "Outdated",
            (PoolHealth::Degraded, false),
        ),
        (
            "UpToDate",
            "Connected",
            "Established",
            "Diskless",
            (PoolHealth::Degraded, false),
        ),
        (
            "Diskless",
            "Connected",
            "Established",
            "UpToDate",
            (PoolHealth::Degraded, false),
        ),
        (
            "UpToDate",
            "Connected",
            "Dancing",
            "UpToDate",
            (PoolHealth::Degraded, false),
        ),
    ] {
        let said = drbd(own, connection, replication, peer);
        let printed = Printed::default().with(DRBD, &said);
        assert_eq!(of(&tree, printed, on_drbd()).await, expected, "{said}");
    }
    let whole = drbd("UpToDate", "Connected", "Established", "UpToDate");
    let (yes, no) = (
        r#""suspended": false, "write"#,
        r#""suspended": true, "write"#,
    );
    let suspended = Printed::default().with(DRBD, &whole.replace(yes, no));
    assert_eq!(of(&tree, suspended, on_drbd()).await.0, PoolHealth::Offline);
    // A node without a disk, for the quorum alone, is no copy: here it is the only other node.
    let alone = whole.replace(r#""peer-client": false"#, r#""peer-client": true"#);
    let alone = Printed::default().with(DRBD, &alone);
    assert_eq!(of(&tree, alone, on_drbd()).await.0, PoolHealth::Degraded);
    let others = Printed::default().with(DRBD, "[]");
    let said = health(&tree.host(Arc::new(others)), &on_drbd()).await;
    assert!(why(said).contains("does not name the device of minor number 0"));
}

#[tokio::test]
async fn a_volume_group_and_an_array_stand_on_drbd_too() {
    let tree = replicated();
    for program in ["vgs", "lvs", "pvs", "drbdsetup"] {
        tree.program(program);
    }
    let behind = drbd("UpToDate", "Connected", "SyncSource", "Inconsistent");
    tree.md("md0", "raid1", &["drbd0"]);
    let printed = || lvm("", "idle", "100.00", "0").with(DRBD, &behind);
    let vg = Storage::Vg {
        name: "data".to_owned(),
    };
    assert_eq!(of(&tree, printed(), vg).await.0, PoolHealth::Resyncing);
    let array = of(&tree, printed(), md("/dev/md0")).await;
    assert_eq!(array.0, PoolHealth::Resyncing);
}

#[tokio::test]
async fn what_a_pool_stands_on_and_nobody_reads_is_named() {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.disk("bcache0", "252:0");
    tree.link("/sys/devices/bcache0/slaves/sda", "/sys/devices/sda");
    tree.file("/srv/vol1/file", "");
    let mounted = |kind: &str, source: &str| {
        let root = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n";
        tree.file(
            "/proc/self/mountinfo",
            format!("{root}40 22 252:0 / /srv/vol1 rw - {kind} {source} rw\n"),
        );
        Storage::Filesystem {
            device: source.to_owned(),
            folder: "/srv/vol1".into(),
        }
    };
    let host = tree.host(Arc::new(Printed::default()));
    let said = health(&host, &mounted("xfs", "/dev/bcache0")).await;
    assert!(why(said).contains("it stands on /dev/bcache0"));
    let said = health(&host, &mounted("nfs4", "filer:/vol1")).await;
    assert!(why(said).contains("filer:/vol1 is mounted as nfs4, on no block device"));
    // A dataset is as well as its pool.
    tree.file("/sys/module/zfs/version", "2.3.1");
    tree.program("zpool");
    let printed = Printed::default().with(STATUS, &json("DEGRADED", "NONE", "FAULTED"));
    let dataset = mounted("zfs", "tank/vol1");
    assert_eq!(of(&tree, printed, dataset).await.0, PoolHealth::Degraded);
    // So is what stands on a volume of one.
    tree.disk("zd0", "230:0");
    let printed = Printed::default().with(STATUS, &json("DEGRADED", "NONE", "FAULTED"));
    let volume = mounted("ext4", "/dev/zd0");
    assert_eq!(of(&tree, printed, volume).await.0, PoolHealth::Degraded);
}

#[tokio::test]
async fn all_devices_of_a_btrfs_count() {
    let tree = array();
    tree.scsi("sdc", "8:32", "S3");
    tree.file("/srv/vol1/file", "");
    tree.append(
        "/proc/self/mountinfo",
        "40 22 0:45 / /srv/vol1 rw - btrfs /dev/sdc rw\n",
    );
    for device in ["sdc", "md0"] {
        tree.file(&format!("/sys/fs/btrfs/uuid/devices/{device}/dev"), "");
    }
    tree.file("/sys/devices/md0/md/degraded", "1");
    let storage = Storage::Filesystem {
        device: "/dev/sdc".to_owned(),
        folder: "/srv/vol1".into(),
    };
    let said = of(&tree, Printed::default(), storage).await;
    assert_eq!(said.0, PoolHealth::Degraded);
}

#[tokio::test]
async fn a_filesystem_is_named_as_mount_takes_it() {
    let tree = array();
    tree.file("/mnt/real/vol1/file", "");
    tree.link("/srv", "/mnt/real");
    tree.link("/dev/disk/by-uuid/0d4b-8a", "/dev/md0");
    tree.link(r"/dev/disk/by-label/two\x20words", "/dev/md0");
    tree.append(
        "/proc/self/mountinfo",
        "40 22 9:0 / /mnt/real/vol1 rw - xfs /dev/md0 rw\n",
    );
    for device in [
        "UUID=0d4b-8a",
        "UUID=\"0d4b-8a\"",
        "-U 0d4b-8a",
        "-U0d4b-8a",
        "LABEL=two words",
        "-L two words",
        "/dev/md0",
    ] {
        let storage = Storage::Filesystem {
            device: device.to_owned(),
            folder: "/srv/vol1/".into(),
        };
        let said = of(&tree, Printed::default(), storage).await;
        assert_eq!(said.0, PoolHealth::Online, "{device}");
    }
    let unseen = Storage::Filesystem {
        device: "UUID=1".to_owned(),
        folder: "/srv/vol1".into(),
    };
    let said = health(&tree.host(Arc::new(Printed::default())), &unseen).await;
    assert!(why(said).contains("and UUID=1 is not seen here"));
}

#[tokio::test]
async fn a_pool_elsewhere_is_not_looked_at() {
    let tree = array();
    tree.file("/sys/devices/md0/md/degraded", "1");
    let pools = vec![
        pool("here", Some("node1"), md("/dev/md0")),
        pool("there", Some("node2"), md("/dev/md7")),
        pool("nowhere", None, md("/dev/md8")),
    ];
    let machine = tree.machine_with(Printed::default(), InventorySettings::default(), pools);
    let seen = machine.pools().await.unwrap();
    let told: Vec<_> = seen.iter().map(|pool| (pool.health, pool.unseen)).collect();
    assert_eq!(
        told,
        [
            (PoolHealth::Degraded, false),
            (PoolHealth::Offline, true),
            (PoolHealth::Offline, false)
        ]
    );
}

#[tokio::test]
async fn a_pool_of_which_nothing_is_known_hides_no_other_and_not_where_it_is() {
    let tree = array();
    let mut bare = pool("bare", Some("node1"), md("/dev/md0"));
    bare.storage.clear();
    let pools = vec![bare, pool("data", Some("node1"), md("/dev/md0"))];
    let machine = tree.machine_with(Printed::default(), InventorySettings::default(), pools);
    let seen = machine.pools().await.unwrap();
    let told: Vec<_> = seen.iter().map(|pool| (pool.health, pool.unseen)).collect();
    assert_eq!(
        told,
        [(PoolHealth::Offline, true), (PoolHealth::Online, false)]
    );
    assert_eq!(seen[0].owner, Some(node("node1")));
    let alerts = machine.alerts().await.unwrap();
    assert_eq!(
        alerts,
        [
            "unavailable: what pool bare stands on is not known: it has no storage resource that is understood"
        ]
    );
}

/// Its LVM takes its time.
struct Slow(Duration, AtomicUsize);

#[async_trait]
impl Programs for Slow {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.0).await;
        let what = call.program.trim_end_matches('s');
        Ok(Finished {
            code: Some(0),
            output: format!("{{\"report\": [{{\"{what}\": []}}]}}").into_bytes(),
            errors: String::new(),
        })
    }
}

/// Pools on volume groups of a slow LVM: whether they are seen, how often it was asked, and how long that took.
async fn on_slow_lvm(slow: Duration) -> (Vec<bool>, usize, Duration) {
    let tree = Tree::new();
    for program in ["vgs", "lvs", "pvs"] {
        tree.program(program);
    }
    let vg = |name: &str| Storage::Vg { name: name.into() };
    let pools = ["one", "two", "three"];
    let pools = pools.map(|name| pool(name, Some("node1"), vg(name)));
    let slow = Arc::new(Slow(slow, AtomicUsize::new(0)));
    let machine = tree.machine_on(slow.clone(), InventorySettings::default(), pools.into());
    let began = tokio::time::Instant::now();
    let seen = machine.pools().await.unwrap();
    let seen = seen.iter().map(|pool| !pool.unseen).collect();
    (seen, slow.1.load(Ordering::Relaxed), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn pools_on_one_lvm_ask_it_once_and_wait_for_it_together() {
    let (seen, asked, took) = on_slow_lvm(Duration::from_secs(3)).await;
    assert_eq!((seen, asked), (vec![true; 3], 3));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn pools_whose_storage_hangs_are_unseen_before_the_look_is_given_up() {
    let (seen, _, took) = on_slow_lvm(Duration::from_secs(60)).await;
    assert_eq!(seen, [false; 3]);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_node_alone_names_its_pools_or_finds_them() {
    let tree = array();
    let settings: InventorySettings = serde_json::from_str(
        r#"{"pools": [{"name": "data", "root": true, "storage": {"kind": "md", "device": "/dev/md0"}}]}"#,
    )
    .unwrap();
    let host = tree.host(Arc::new(Printed::default()));
    let named = OwnPools::new(host.clone(), node("node1"), &settings);
    let named = named.pools().await.unwrap();
    assert_eq!(named.len(), 1);
    assert!(named[0].root && named[0].owner == Some(node("node1")));

    let found = OwnPools::new(host, node("node1"), &InventorySettings::default());
    assert_eq!(found.pools().await.unwrap(), []);
    tree.append(
        "/proc/self/mountinfo",
        "40 22 9:0 / /srv/vol1 rw - ext4 /dev/md0 rw\n",
    );
    let pools = found.pools().await.unwrap();
    assert_eq!(pools[0].name.as_str(), "md0");
    assert_eq!(pools[0].storage, [md("/dev/md0")]);
}
