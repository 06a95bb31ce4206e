//! Disks, the ways to them, and who uses them.

use evenkeel_model::InventorySettings;
use evenkeel_platform::Inventory;

use crate::tree::{Printed, Tree, why};

const LSBLK: &str = "lsblk --json --output NAME,KNAME,FSTYPE";

/// Serial number, working paths, failed.
async fn disks(
    tree: &Tree,
    printed: Printed,
    settings: InventorySettings,
) -> Vec<(String, u8, bool)> {
    let seen = tree
        .machine_with(printed, settings, Vec::new())
        .disks()
        .await;
    let seen = seen.unwrap().into_iter();
    seen.map(|disk| (disk.serial.to_string(), disk.paths, disk.failed))
        .collect()
}

fn shared() -> Tree {
    let tree = Tree::new();
    for (name, dev, serial) in [
        ("sda", "8:0", "Z1F0"),
        ("sdb", "8:16", "Z1F1"),
        ("sdc", "8:32", "Z1F0"),
        ("sdd", "8:48", "Z1F1"),
    ] {
        tree.scsi(name, dev, serial);
    }
    tree
}

#[tokio::test]
async fn a_disk_is_one_whatever_the_number_of_its_paths() {
    let tree = shared();
    let all = |tree| disks(tree, Printed::default(), InventorySettings::default());
    let two = |serial: &str, paths| (serial.to_owned(), paths, false);
    assert_eq!(all(&tree).await, [two("Z1F0", 2), two("Z1F1", 2)]);
    tree.file("/sys/devices/sdc/device/state", "offline");
    assert_eq!(all(&tree).await, [two("Z1F0", 1), two("Z1F1", 2)]);
    tree.file("/sys/devices/sda/device/state", "transport-offline");
    assert_eq!(all(&tree).await, [two("Z1F0", 0), two("Z1F1", 2)]);
}

#[tokio::test]
async fn what_multipath_has_given_up_is_no_path() {
    let tree = shared();
    tree.disk("dm-0", "253:0");
    tree.file("/sys/devices/dm-0/dm/uuid", "mpath-35000c500a1b2c3d4");
    let machine = tree.machine();
    assert!(
        why(machine.disks().await).contains("multipathd is not installed: install multipath-tools")
    );
    tree.program("multipathd");
    // The members of multipathd's JSON that are read (multipath-tools, print.c).
    let maps = r#"{"major_version": 0, "minor_version": 1, "maps": [{"name": "mpatha", "uuid": "35000c500a1b2c3d4", "path_groups": [
        {"selector": "service-time 0", "paths": [{"dev": "sda", "dm_st": "active", "chk_st": "ready"}]},
        {"selector": "service-time 0", "paths": [{"dev": "sdc", "dm_st": "failed", "chk_st": "faulty"}]}]}]}"#;
    let printed = Printed::default().with("multipathd show maps json", maps);
    let seen = disks(&tree, printed, InventorySettings::default()).await;
    assert_eq!(seen[0], ("Z1F0".to_owned(), 1, false));
}

#[tokio::test]
async fn the_nodes_own_disks_are_left_out() {
    let tree = shared();
    tree.scsi("sde", "8:64", "OWN");
    tree.disk("sr0", "11:0");
    tree.disk("loop0", "7:0");
    tree.scsi("sdf", "8:80", "CARD");
    tree.file("/sys/devices/sdf/removable", "1");
    let settings: InventorySettings =
        serde_json::from_str(r#"{"local_disks": ["OWN", "sdd"]}"#).unwrap();
    let seen = disks(&tree, Printed::default(), settings).await;
    let serials: Vec<_> = seen
        .iter()
        .map(|(serial, paths, _)| (serial.as_str(), *paths))
        .collect();
    // One path of Z1F1 is named as the node's own, and the disk that the system runs from is so by itself.
    assert_eq!(serials, [("Z1F0", 2), ("Z1F1", 1)]);
}

#[tokio::test]
async fn the_system_is_known_through_all_that_it_stands_on() {
    let tree = shared();
    tree.md("md127", "raid1", &["sda", "sdb"]);
    tree.append(
        "/proc/self/mountinfo",
        "30 22 9:0 / /var rw - ext4 /dev/md127 rw\n",
    );
    tree.remove("/sys/devices/sdc");
    tree.remove("/sys/class/block/sdc");
    tree.remove("/sys/devices/sdd");
    tree.remove("/sys/class/block/sdd");
    assert_eq!(
        disks(&tree, Printed::default(), InventorySettings::default()).await,
        []
    );
}

#[tokio::test]
async fn all_devices_of_a_btrfs_or_a_zfs_pool_that_the_system_runs_from_are_its_own() {
    let tree = shared();
    tree.append(
        "/proc/self/mountinfo",
        "30 22 0:40 / /var rw - btrfs /dev/sda rw\n",
    );
    for device in ["sda", "sdc"] {
        tree.file(&format!("/sys/fs/btrfs/uuid/devices/{device}/dev"), "");
    }
    let seen = disks(&tree, Printed::default(), InventorySettings::default()).await;
    assert_eq!(seen, [("Z1F1".to_owned(), 2, false)]);

    let tree = shared();
    tree.file("/sys/module/zfs/version", "2.3.1");
    tree.program("zpool");
    tree.append(
        "/proc/self/mountinfo",
        "30 22 0:40 / /var rw - zfs rpool/ROOT/debian rw\n",
    );
    let status = |pool: &str| {
        let leaf = |name: &str| {
            format!(r#""{name}": {{"name": "{name}", "state": "ONLINE", "path": "/dev/{name}"}}"#)
        };
        let mirror = format!(
            r#"{{"name": "mirror-0", "state": "ONLINE", "vdevs": {{{}, {}}}}}"#,
            leaf("sda"),
            leaf("sdc")
        );
        let vdevs = format!(
            r#"{{"{pool}": {{"name": "{pool}", "state": "ONLINE", "vdevs": {{"mirror-0": {mirror}}}}}}}"#
        );
        let status =
            format!(r#"{{"pools": {{"{pool}": {{"state": "ONLINE", "vdevs": {vdevs}}}}}}}"#);
        Printed::default().with("zpool status -j --json-int -P", &status)
    };
    let seen = disks(&tree, status("rpool"), InventorySettings::default()).await;
    assert_eq!(seen, [("Z1F1".to_owned(), 2, false)]);
    let machine = tree.machine_with(status("tank"), InventorySettings::default(), Vec::new());
    assert!(why(machine.disks().await).contains("ZFS pool rpool, which zpool does not name"));
}

#[tokio::test]
async fn a_disk_without_a_name_makes_the_disks_unknown() {
    let tree = Tree::new();
    tree.disk("vdb", "254:16");
    tree.file("/sys/devices/vdb/device/vendor", "0x1af4");
    let machine = tree.machine();
    assert!(why(machine.disks().await).contains("disk vdb has no serial number to know it by"));
    tree.file("/sys/devices/vdb/serial", "shared-1");
    let seen = disks(&tree, Printed::default(), InventorySettings::default()).await;
    assert_eq!(seen, [("shared-1".to_owned(), 1, false)]);
}

#[tokio::test]
async fn an_nvme_drive_has_as_many_paths_as_live_controllers() {
    let tree = Tree::new();
    tree.disk("nvme0n1", "259:0");
    tree.disk("nvme0c0n1", "0:0");
    tree.file("/sys/devices/nvme0c0n1/hidden", "1");
    tree.file("/sys/devices/nvme0c0n1/device/state", "live");
    for controller in ["nvme0", "nvme1"] {
        tree.file(
            &format!("/sys/devices/nvme0n1/device/{controller}/state"),
            "live",
        );
    }
    tree.file("/sys/devices/nvme0n1/device/serial", "PHLJ 1234");
    let seen = disks(&tree, Printed::default(), InventorySettings::default()).await;
    assert_eq!(seen, [("PHLJ_1234".to_owned(), 2, false)]);
    tree.file("/sys/devices/nvme0n1/device/nvme1/state", "connecting");
    let seen = disks(&tree, Printed::default(), InventorySettings::default()).await;
    assert_eq!(seen[0].1, 1);
}

#[tokio::test]
async fn a_failed_member_is_a_failed_disk() {
    let tree = shared();
    tree.md("md0", "raid1", &["sda", "sdb"]);
    tree.member("md0", "sdb", "faulty", "none");
    let seen = disks(&tree, Printed::default(), InventorySettings::default()).await;
    let failed: Vec<bool> = seen.iter().map(|(_, _, failed)| *failed).collect();
    assert_eq!(failed, [false, true]);
}

#[tokio::test]
async fn a_disk_without_any_mark_belongs_to_nobody() {
    let tree = shared();
    assert!(why(tree.machine().unowned_disks().await).contains("udev does not run"));
    tree.file("/run/udev/control", "");
    tree.program("lsblk");
    let listed = r#"{"blockdevices": [
        {"kname": "sda", "fstype": "linux_raid_member"}, {"kname": "sdc", "fstype": "linux_raid_member"},
        {"kname": "sdb", "fstype": null, "children": [{"kname": "sdb1", "fstype": null}]}, {"kname": "sdd", "fstype": null}]}"#;
    let printed = Printed::default().with(LSBLK, listed);
    let machine = tree.machine_with(printed, InventorySettings::default(), Vec::new());
    let unowned = machine.unowned_disks().await.unwrap();
    assert_eq!(
        unowned.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        ["Z1F1"]
    );
    let used = listed.replace(
        r#""kname": "sdb1", "fstype": null"#,
        r#""kname": "sdb1", "fstype": "zfs_member""#,
    );
    let printed = Printed::default().with(LSBLK, &used);
    let machine = tree.machine_with(printed, InventorySettings::default(), Vec::new());
    assert_eq!(machine.unowned_disks().await.unwrap(), []);
    tree.file("/sys/devices/sdd/holders/dm-0/dev", "253:0");
    let printed = Printed::default().with(LSBLK, listed);
    let machine = tree.machine_with(printed, InventorySettings::default(), Vec::new());
    assert_eq!(machine.unowned_disks().await.unwrap(), []);
}
