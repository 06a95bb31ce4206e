//! Load, time, space, ports, identity, jobs, alerts.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use evenkeel_linux::SystemPrograms;
use evenkeel_linux::inventory::Machine;
use evenkeel_model::InventorySettings;
use evenkeel_platform::Inventory;

use crate::tree::{Named, Printed, Tree, md, node, pool, why};

fn settings(json: &str) -> InventorySettings {
    serde_json::from_str(json).unwrap()
}

#[tokio::test]
async fn the_load_is_of_the_time_since_the_last_look() {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.file("/proc/stat", "cpu  1000 0 0 9000 0 0 0 0 0 0\n");
    let machine = tree.machine();
    // Nothing to compare with, and the clock of this machine stands still.
    assert!(why(machine.load().await).contains("/proc/uptime"));
    tree.file("/proc/uptime", "1010.00 1900.00");
    tree.file("/proc/stat", "cpu  1900 0 0 9100 0 0 0 0 0 0\n");
    tree.file("/sys/devices/sda/stat", "1 0 8 5 2 0 16 7 0 4100 12");
    let load = machine.load().await.unwrap();
    assert_eq!((load.cpu_percent, load.disk_percent), (90, 40));
    tree.file("/proc/stat", "nothing");
    assert!(why(machine.load().await).contains("/proc/stat is not as it should be"));
}

#[tokio::test]
async fn chrony_tells_the_offset_and_the_kernel_where_there_is_none() {
    let tree = Tree::new();
    let sync = tree.machine().time_sync().await.unwrap();
    assert_eq!((sync.synchronized, sync.offset_ms), (true, -7));
    tree.file("/run/chrony/chronyd.pid", "7");
    tree.program("chronyc");
    // The line of chronyc(1)'s example, as `-c` prints it.
    let said = |stratum: &str, leap: &str| {
        let line = format!(
            "CB00710F,203.0.113.15,{stratum},1453974401.5,0.012345678,-0.000000747,0.000035822,-5.6,0.02,0.14,0.02,0.0012,64.2,{leap}\n"
        );
        Printed::default().with("chronyc -n -c tracking", &line)
    };
    let sync = async |printed| {
        let machine = tree.machine_with(printed, InventorySettings::default(), Vec::new());
        machine.time_sync().await
    };
    let normal = sync(said("3", "Normal")).await.unwrap();
    assert_eq!((normal.synchronized, normal.offset_ms), (true, 12));
    assert!(
        !sync(said("0", "Not synchronised"))
            .await
            .unwrap()
            .synchronized
    );
    let garbled = Printed::default().with("chronyc -n -c tracking", "506 Cannot talk to daemon");
    assert!(why(sync(garbled).await).contains("printed what is not understood"));
}

#[tokio::test]
async fn space_is_that_of_the_folder_that_will_be_there() {
    let tree = Tree::new();
    assert!(why(tree.machine().space().await).contains("/slots/current"));
    tree.file("/slots/a/bin/sh", "");
    std::os::unix::fs::symlink("a", tree.path("/slots/current")).unwrap();
    let space = tree.machine().space().await.unwrap();
    assert!(space.root_free > 0);
    // Neither the store nor the other slot is made yet: they will be on the same filesystem.
    assert!(space.slot_free > 0 && space.store_free > 0);
}

#[tokio::test]
async fn ports_are_those_with_an_address_unless_they_are_named() {
    let tree = Tree::new();
    tree.program("ip");
    // As iproute2 prints it.
    let addresses = r#"[
      {"ifname": "lo", "flags": ["LOOPBACK", "UP"], "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
      {"ifname": "eth0", "flags": ["BROADCAST", "UP"], "addr_info": [
        {"family": "inet", "local": "10.0.0.100", "prefixlen": 32, "scope": "global"},
        {"family": "inet", "local": "10.0.0.11", "prefixlen": 24, "scope": "global"},
        {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}]},
      {"ifname": "eth1", "flags": ["BROADCAST"], "master": "bond0", "addr_info": []},
      {"ifname": "bond0", "flags": ["BROADCAST", "UP"], "addr_info": [{"family": "inet6", "local": "2001:db8::11", "prefixlen": 64, "scope": "global"}]},
      {"ifname": "eth9", "flags": ["BROADCAST"], "addr_info": []}]"#;
    let printed = || Printed::default().with("ip -json address show", addresses);
    tree.file("/sys/class/net/eth0/operstate", "up");
    tree.file("/sys/class/net/bond0/operstate", "unknown");
    tree.file("/sys/class/net/bond0/carrier", "0");
    let ports = async |settings| {
        let machine = tree.machine_with(printed(), settings, Vec::new());
        let ports = machine.ports().await.unwrap().into_iter();
        let told = ports.map(|port| (port.name, port.broadcast_domain, port.up));
        told.collect::<Vec<_>>()
    };
    let port = |name: &str, domain: &str, up| (name.to_owned(), domain.to_owned(), up);
    assert_eq!(
        ports(InventorySettings::default()).await,
        [
            port("eth0", "10.0.0.0/24", true),
            port("bond0", "2001:db8::/64", false)
        ]
    );
    tree.file("/sys/class/net/bond0/carrier", "1");
    tree.file("/sys/class/net/eth0/operstate", "down");
    let named = settings(r#"{"ports": {"bond0": "data", "eth0": "data", "eth7": "spare"}}"#);
    assert_eq!(
        ports(named).await,
        [
            port("bond0", "data", true),
            port("eth0", "data", false),
            port("eth7", "spare", false)
        ]
    );
}

#[tokio::test]
async fn a_makers_empty_field_names_no_machine() {
    let tree = Tree::new();
    tree.file("/etc/machine-id", "4c4c4544004b3510805ac3c04f334d32\n");
    tree.file(
        "/sys/class/dmi/id/product_serial",
        "To Be Filled By O.E.M.\n",
    );
    tree.file(
        "/sys/class/dmi/id/product_uuid",
        "00000000-0000-0000-0000-000000000000\n",
    );
    let machine = tree.machine().machine().await.unwrap();
    assert_eq!(machine.serial_number, None);
    assert_eq!(
        machine.system_id.as_deref(),
        Some("4c4c4544004b3510805ac3c04f334d32")
    );
    tree.file("/sys/class/dmi/id/product_serial", "7K5N0X2\n");
    let machine = tree.machine().machine().await.unwrap();
    assert_eq!(machine.serial_number.as_deref(), Some("7K5N0X2"));
}

#[tokio::test]
async fn the_kernels_own_jobs_are_seen() {
    let tree = Tree::new();
    assert_eq!(
        tree.machine().exclusive_jobs().await.unwrap(),
        Vec::<String>::new()
    );
    tree.scsi("sda", "8:0", "S1");
    tree.scsi("sdb", "8:16", "S2");
    tree.md("md0", "raid1", &["sda", "sdb"]);
    tree.file("/sys/devices/md0/md/sync_action", "check");
    tree.file("/sys/fs/btrfs/0f0f/exclusive_operation", "balance\n");
    tree.file("/sys/fs/btrfs/features/raid1c34", "0");
    tree.file("/proc/77/cmdline", b"/usr/sbin/zfs\0send\0tank@a\0");
    tree.file("/proc/78/cmdline", b"zfs\0list\0");
    let jobs = tree.machine().exclusive_jobs().await.unwrap();
    assert_eq!(
        jobs,
        [
            "array md0 is read through for errors (check)",
            "btrfs 0f0f is at its balance",
            "process 77 is a zfs send"
        ]
    );
}

#[tokio::test]
async fn a_move_of_a_volume_group_is_a_job_and_needs_lvm_only_where_it_is_used() {
    let tree = Tree::new();
    tree.disk("dm-0", "253:0");
    tree.file("/sys/devices/dm-0/dm/uuid", "LVM-abc");
    assert!(
        why(tree.machine().exclusive_jobs().await).contains("lvs is not installed: install lvm2")
    );
    tree.program("lvs");
    let lvs = r#"{"report": [{"lv": [{"vg_name": "data", "lv_name": "[pvmove0]", "lv_active": "active", "lv_health_status": "",
        "raid_sync_action": "", "sync_percent": "12.50", "segtype": "mirror", "lv_kernel_major": "253", "lv_kernel_minor": "0", "move_pv": "/dev/sda"}]}]}"#;
    let line = "lvs -a --reportformat json -o vg_name,lv_name,lv_active,lv_health_status,raid_sync_action,sync_percent,segtype,\
                lv_kernel_major,lv_kernel_minor,move_pv";
    let machine = tree.machine_with(
        Printed::default().with(line, lvs),
        InventorySettings::default(),
        Vec::new(),
    );
    let jobs = machine.exclusive_jobs().await.unwrap();
    assert_eq!(
        jobs,
        ["volume group data moves data away from /dev/sda (pvmove)"]
    );
}

/// With the programs of this machine, for programs of the operator's own.
fn with_programs(tree: &Tree) -> Machine {
    let folder = r#"{"jobs": "/etc/evenkeel/jobs.d"}"#;
    let pools = Arc::new(Named(vec![pool("data", None, md("/dev/md0"))]));
    let host = tree.host(Arc::new(SystemPrograms));
    let places = tree.places(&host);
    Machine::new(host, node("node1"), settings(folder), places, pools)
}

fn script(tree: &Tree, name: &str, text: &str) {
    let path = format!("/etc/evenkeel/jobs.d/{name}");
    tree.file(&path, format!("#!/bin/sh\n{text}\n"));
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(tree.path(&path), mode).unwrap();
}

#[tokio::test]
async fn operators_programs_name_jobs_and_their_failure_is_not_silence() {
    let tree = Tree::new();
    let machine = with_programs(&tree);
    assert!(why(machine.exclusive_jobs().await).contains("jobs.d"));
    script(
        &tree,
        "backup",
        "echo backup of vol1; echo; echo backup of vol2",
    );
    script(&tree, "idle", "true");
    tree.file("/etc/evenkeel/jobs.d/README", "not a program");
    let jobs = machine.exclusive_jobs().await.unwrap();
    assert_eq!(jobs, ["backup of vol1", "backup of vol2"]);
    script(&tree, "broken", "echo no database >&2; exit 3");
    let said = why(machine.exclusive_jobs().await);
    assert!(said.contains("broken ended with 3: no database"), "{said}");
    script(&tree, "broken", "sleep 60");
    let began = tokio::time::Instant::now();
    let said = why(machine.exclusive_jobs().await);
    assert!(said.contains("did not end within 4s"), "{said}");
    assert!(began.elapsed().as_secs() < 20);
}

#[tokio::test]
async fn alerts_come_from_arrays_units_and_the_disks_themselves() {
    let tree = Tree::new();
    tree.scsi("sda", "8:0", "S1");
    tree.scsi("sdb", "8:16", "S2");
    tree.md("md0", "raid1", &["sda", "sdb"]);
    tree.member("md0", "sdb", "faulty", "none");
    tree.file("/sys/devices/md0/md/degraded", "1");
    tree.file("/run/systemd/system/x", "");
    for program in ["systemctl", "smartctl"] {
        tree.program(program);
    }
    let units = r#"[{"unit":"smbd.service","load":"loaded","active":"failed","sub":"failed","description":"Samba SMB Daemon"}]"#;
    let printed = Printed::default()
        .with("systemctl list-units --failed --output=json", units)
        .with(
            "smartctl --json=c --health /dev/sda",
            r#"{"smart_status":{"passed":true}}"#,
        )
        .ended(
            "smartctl --json=c --health /dev/sdb",
            8,
            r#"{"smart_status":{"passed":false}}"#,
        );
    let machine = tree.machine_with(printed, InventorySettings::default(), Vec::new());
    let alerts = machine.alerts().await.unwrap();
    assert_eq!(
        alerts,
        [
            "array md0 lacks 1 member(s)",
            "sdb of array md0 has failed",
            "unit smbd.service has failed",
            "disk S2 expects to fail (SMART)"
        ]
    );
}

#[tokio::test]
async fn what_disks_think_is_unknown_until_all_were_asked() {
    let tree = Tree::new();
    tree.program("smartctl");
    let mut printed = Printed::default();
    for number in 0..10_u8 {
        let name = format!("sd{}", char::from(b'a' + number));
        tree.scsi(&name, &format!("8:{number}"), &format!("S{number}"));
        // NVMe and others without an opinion say nothing of it.
        printed = printed.with(&format!("smartctl --json=c --health /dev/{name}"), "{}");
    }
    let machine = tree.machine_with(printed, InventorySettings::default(), Vec::new());
    assert!(why(machine.alerts().await).contains("2 of 10 disks have yet to say"));
    assert_eq!(machine.alerts().await.unwrap(), Vec::<String>::new());
}
