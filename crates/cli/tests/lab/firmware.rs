//! Firmware of every kind on a cluster of real processes, under load and faults.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use evenkeel_lab::LabFile;
use serde_json::Value;

use crate::harness::{Lab, evenkeel};

/// Of a kind: what signs it beside the key, and the images as a vendor names them.
const KINDS: [(&str, &[&str], &[&str]); 4] = [
    ("dqp.zip", &[], &["qual_devices_v3"]),
    (
        "disk.zip",
        &[],
        &[
            "X423_SLTNG1T8SSX.NA02.LOD",
            "X422_SLTNG600A10.NA02.LOD",
            "X4011_LANES3T8.NA02.LOD",
        ],
    ),
    ("shelf.zip", &[], &["IOM12.0300.SFW"]),
    (
        "sp.zip",
        &["--model", "LABSP", "--revision", "5.9"],
        &["LABSP_5.9_SP_FW.zip"],
    ),
];

impl Lab {
    /// Builds the firmware package of a kind, signed with the lab's key.
    fn firmware(&self, (package, options, images): (&str, &[&str], &[&str])) -> PathBuf {
        let vendor = self.dir.join("vendor");
        let mut made = evenkeel();
        made.args(["lab", "firmware", "--out"]).arg(&vendor);
        assert!(made.output().unwrap().status.success());
        let key = LabFile::read(&self.dir).unwrap().signing_key;
        let file = self.dir.join(package);
        let images: Vec<PathBuf> = images.iter().map(|image| vendor.join(image)).collect();
        let mut arguments = vec!["firmware", "build", "--key", key.to_str().unwrap()];
        arguments.extend(["-o", file.to_str().unwrap()]);
        arguments.extend(options);
        arguments.extend(images.iter().map(|image| image.to_str().unwrap()));
        self.ok(&arguments);
        file
    }

    /// Of all nodes; none while one of them does not answer in time.
    fn devices(&self) -> Option<Vec<Value>> {
        let said = self.json(&["firmware", "inventory"]);
        let nodes = said["nodes"].as_array().unwrap().iter();
        let devices: Option<Vec<_>> = nodes.map(|node| node["devices"].as_array()).collect();
        Some(devices?.into_iter().flatten().cloned().collect())
    }

    /// Devices of a kind that run something else.
    fn behind(&self, kind: &str, revision: &str) -> Option<Vec<Value>> {
        let mut devices = self.devices()?;
        devices.retain(|device| device["kind"] == kind && device["revision"] != revision);
        Some(devices)
    }
}

#[test]
fn every_device_takes_its_firmware_while_data_is_served() {
    let lab = Lab::up_with(4, &["--disks", "12"]);
    let kinds = ["disk", "shelf", "service_processor"];
    lab.until("all devices", |lab| {
        let devices = lab.devices()?;
        let known = kinds.map(|kind| devices.iter().filter(|it| it["kind"] == kind).count());
        (known == [48, 8, 4]).then_some(())
    });
    let nodes = lab.node_names();
    let probe = lab.probe();
    // Trouble that passes, on one node each.
    for (fault, node) in [("fw-attention", 0), ("fw-slow", 1), ("fw-power-loss", 2)] {
        lab.ok(&["lab", "fault", fault, &nodes[node]]);
    }
    for kind in KINDS {
        let package = lab.firmware(kind);
        let brought = lab.run(&["firmware", "upload", package.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&brought.stdout).into_owned();
        let told = String::from_utf8_lossy(&brought.stderr).into_owned();
        assert!(
            brought.status.success(),
            "{}: {said}{told}\n{}",
            kind.0,
            lab.tail()
        );
        assert!(said.contains("Firmware update completed."), "{said}");
    }
    for (kind, revision) in [
        ("disk", "NA02"),
        ("shelf", "0300"),
        ("service_processor", "5.9"),
        ("qualification", "20260131"),
    ] {
        lab.until(kind, |lab| {
            lab.behind(kind, revision)?.is_empty().then_some(())
        });
    }
    let report = probe.finish();
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
    lab.assert_no_harm();
    let history = lab.json(&["firmware", "history"]);
    let rows = history["records"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!(row["fw_update_state"], "completed", "{row}");
        assert_eq!(row["update_status"].as_array().unwrap().len(), 4, "{row}");
    }
    // One of the models is not in the disk qualification package.
    let found = lab.run(&["image", "validate", "--help"]);
    assert!(found.status.success());
    let shown = lab.json(&["image", "show"]);
    let firmware = &shown["nodes"][0]["firmware"];
    assert_eq!(firmware["dqp"]["revision"], "20260131", "{shown}");
    assert_eq!(firmware["sp_bmc"]["running_version"], "5.9", "{shown}");
    assert_eq!(firmware["disk"]["update_status"], "idle", "{shown}");
}

#[test]
fn firmware_goes_on_after_a_kill_and_a_software_package_brings_its_own() {
    let lab = Lab::up(2);
    let shelf = lab.firmware(KINDS[2]);
    let disk = lab.firmware(KINDS[1]);
    lab.ok(&["image", "package", "upload", disk.to_str().unwrap()]);
    for node in lab.node_names() {
        lab.until("work on its disks", |lab| {
            let said = lab.json(&["firmware", "show"]);
            let nodes = said["nodes"].as_array().unwrap();
            let works = nodes.iter().find(|it| it["node"] == node.as_str())?;
            (!works["work"].as_array()?.is_empty()).then_some(())
        });
        lab.kill_daemon(&node);
    }
    lab.until("the end of it", |lab| {
        let history = lab.run(&["firmware", "history", "--json"]);
        let history: Value = serde_json::from_slice(&history.stdout).ok()?;
        (history["records"][0]["fw_update_state"] == "completed").then_some(())
    });
    let history = lab.ok(&["firmware", "history"]);
    assert!(!history.contains("failed"), "{history}\n{}", lab.tail());
    lab.until("all disks' firmware", |lab| {
        lab.behind("disk", "NA02")?.is_empty().then_some(())
    });
    lab.assert_no_harm();
    // An update to a package with firmware in it is followed by the firmware.
    let key = LabFile::read(&lab.dir).unwrap().signing_key;
    let tree = lab.dir.join("tree-2.0");
    std::fs::create_dir_all(tree.join("firmware")).unwrap();
    std::fs::copy(&shelf, tree.join("firmware/shelf.zip")).unwrap();
    let package = lab.package_with("2.0", &key, &["--firmware", "firmware/shelf.zip"]);
    lab.ok(&["image", "package", "upload", package.to_str().unwrap()]);
    lab.ok(&["image", "update", "2.0", "--watch"]);
    lab.until("the shelves' firmware", |lab| {
        lab.behind("shelf", "0300")?.is_empty().then_some(())
    });
    lab.until("the end of it", |lab| {
        let history = lab.json(&["firmware", "history"]);
        let row = &history["records"][1];
        (row["fw_file_name"] == "shelf.zip" && row["fw_update_state"] == "completed").then_some(())
    });
    lab.assert_no_harm();
}

#[test]
fn firmware_that_waits_is_shown_and_withdrawn_and_its_watcher_says_so() {
    let lab = Lab::up(2);
    let shelf = lab.firmware(KINDS[2]);
    lab.until("the shelves", |lab| {
        (!lab.behind("shelf", "0300")?.is_empty()).then_some(())
    });
    assert!(lab.ok(&["firmware", "background"]).contains("is on"));
    let off = lab.ok(&["firmware", "background", "off"]);
    assert!(off.contains("spares only"), "{off}");
    assert!(off.contains("the next firmware update"), "{off}");
    let none = lab.refused(&["firmware", "cancel"], 1);
    assert!(none.contains("no firmware update is running"), "{none}");
    assert!(!none.contains("wait to begin"), "{none}");

    lab.ok(&["lab", "takeover", "node2"]);
    lab.until("the takeover", |lab| {
        let told = lab.ok(&["explain"]);
        told.contains("node \"node2\" to be given back")
            .then_some(())
    });
    let mut watcher = evenkeel();
    watcher.arg("--lab").arg(&lab.dir);
    watcher.args(["firmware", "get", shelf.to_str().unwrap()]);
    let watcher = watcher.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut watcher = watcher.spawn().unwrap();
    let told = BufReader::new(watcher.stderr.take().unwrap());
    let mut told = told.lines().map_while(Result::ok);
    let waits = told.find(|line| {
        line.contains("the firmware update with shelf.zip to begin")
            && line.contains("serves for node \"node2\"")
    });
    assert!(waits.is_some(), "{}", lab.tail());
    let shown = lab.json(&["firmware", "show"]);
    assert_eq!(shown["background"], false);
    assert_eq!(shown["waiting"][0]["file"], "shelf.zip", "{shown}");
    let shown = lab.ok(&["firmware", "show"]);
    assert!(shown.contains("shelf.zip"), "{shown}");
    assert!(
        shown.contains("Firmware in the background is off"),
        "{shown}"
    );
    let waits = lab.refused(&["firmware", "cancel"], 1);
    assert!(waits.contains("these wait to begin: shelf.zip"), "{waits}");
    let other = lab.refused(&["firmware", "cancel", "disk.zip"], 1);
    assert!(other.contains("these do: shelf.zip"), "{other}");
    let withdrawn = lab.ok(&["firmware", "cancel", "shelf.zip"]);
    assert!(withdrawn.contains("is withdrawn"), "{withdrawn}");
    let shown = lab.json(&["firmware", "show"]);
    assert_eq!(shown["waiting"], serde_json::json!([]));

    let last = told.last().unwrap_or_default();
    assert!(
        last.contains("the firmware update with shelf.zip was withdrawn"),
        "{last}"
    );
    assert_eq!(watcher.wait().unwrap().code(), Some(1));
    lab.until("the node's return", |lab| {
        let given = lab.run(&["lab", "giveback", "node2"]);
        given.status.success().then_some(())
    });
    lab.until("shelves that are as they were", |lab| {
        (!lab.behind("shelf", "0300")?.is_empty()).then_some(())
    });
    lab.assert_no_harm();
}
