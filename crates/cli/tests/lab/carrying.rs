//! Packages between the nodes of a cluster of real processes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::harness::{Events, Lab};

/// Waits for an event about a copy of the package: of which node.
fn copy_event(events: &Events, what: &str) -> (String, Value) {
    loop {
        let event = events.next()["event"].take();
        if event["type"] == what {
            return (event["node"].as_str().unwrap().to_owned(), event);
        }
    }
}

/// As a disk does it: the file looks the same.
fn rot(archive: &Path) {
    let file = File::options()
        .read(true)
        .write(true)
        .open(archive)
        .unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_copy_that_rots_is_found_set_aside_and_had_from_another_node() {
    let lab = Lab::up_with(2, &["--scrub-every", "2s"]);
    lab.upload("2.0");
    let events = lab.follow_events();
    rot(&lab.archive("node2").unwrap());
    let (node, event) = copy_event(&events, "copy_damaged");
    assert_eq!(node, "node2");
    assert!(event["why"].as_str().unwrap().contains("node1"), "{event}");
    assert_eq!(copy_event(&events, "copy_restored").0, "node2");
    let bytes = |node| fs::read(lab.archive(node).unwrap()).unwrap();
    assert!(bytes("node1") == bytes("node2"));

    // The last good copy is lost: that is said, and another upload heals it.
    for node in ["node1", "node2"] {
        rot(&lab.archive(node).unwrap());
    }
    let (first, _) = copy_event(&events, "copy_damaged");
    let (second, event) = copy_event(&events, "copy_damaged");
    assert_ne!(first, second);
    let said = event["why"].as_str().unwrap();
    assert!(said.contains("no other node that answers holds"), "{event}");
    let transfers = lab.until("the nodes' complaint", |lab| {
        let said = lab.ok(&["image", "package", "transfers"]);
        said.contains("no node holds package").then_some(said)
    });
    assert!(transfers.contains("upload it again"), "{transfers}");
    lab.until("the same in what is explained", |lab| {
        let explained = lab.ok(&["explain"]);
        explained.contains("no node holds package").then_some(())
    });
    let file = lab.dir.join("2.0.tgz");
    lab.ok(&["image", "package", "upload", file.to_str().unwrap()]);
    let back = [(); 2].map(|()| copy_event(&events, "copy_restored").0);
    assert_ne!(back[0], back[1]);
    lab.assert_no_harm();
}

#[test]
fn a_node_that_returns_catches_up_and_nothing_is_updated_meanwhile() {
    // Slow enough to be seen.
    let lab = Lab::up_with(2, &["--package-rate", "600000"]);
    let away = lab.partner(&lab.coordinator());
    lab.ok(&["lab", "fault", "cut", &away]);
    lab.add_noise("2.0", 6_000_000);
    lab.upload("2.0");
    assert_eq!(lab.archive(&away), None);
    lab.ok(&["lab", "fault", "cut", &away, "--clear"]);
    lab.until("the pull on the node", |lab| {
        let transfers = lab.json(&["image", "package", "transfers"]);
        let nodes = transfers["nodes"].as_array().unwrap();
        let node = nodes
            .iter()
            .find(|node| node["node"] == away.as_str())
            .unwrap();
        let pull = &node["transfers"][0];
        (pull["source"] == "pull" && pull["received_bytes"].as_u64()? > 0).then_some(())
    });
    lab.until("the synchronization", |lab| {
        let explained = lab.json(&["explain"]);
        let open = explained["operations"].as_array().unwrap();
        open.iter()
            .any(|it| it["kind"] == "package_sync")
            .then_some(())
    });
    let refused = |arguments: &[&str]| {
        let said = lab.refused(arguments, 1);
        assert!(said.contains("10551367"), "{arguments:?}: {said}");
    };
    refused(&["image", "update", "2.0"]);
    refused(&["image", "validate", "2.0"]);
    refused(&["image", "package", "delete", "2.0"]);
    let explained = lab.ok(&["explain"]);
    assert!(explained.contains(&away), "{explained}");
    // A restart costs no byte that is on its disk.
    lab.kill_daemon(&away);
    lab.until("the end of the synchronization", |lab| {
        lab.run(&["image", "validate", "2.0"])
            .status
            .success()
            .then_some(())
    });
    assert!(lab.archive(&away).is_some());
    let log = lab.log(&format!("nodes/{away}/evenkeeld.log"));
    assert!(log.contains("going on with what is here"), "{log}");
    lab.assert_no_harm();
}

#[test]
fn a_node_that_cannot_remove_a_package_says_why_and_does_when_it_can() {
    let lab = Lab::up(2);
    lab.upload("2.0");
    let aside = lab.dir.join("nodes/node2/data/packages/aside");
    fs::remove_dir_all(&aside).unwrap();
    fs::write(&aside, "in the way").unwrap();
    thread::scope(|scope| {
        let deleting = scope.spawn(|| lab.ok(&["image", "package", "delete", "2.0"]));
        for command in [&["explain"][..], &["image", "package", "transfers"]] {
            lab.until("the reason", |lab| {
                let said = lab.ok(command);
                (said.contains("node2") && said.contains("cannot remove")).then_some(())
            });
        }
        fs::remove_file(&aside).unwrap();
        fs::create_dir(&aside).unwrap();
        deleting.join().unwrap();
    });
    assert_eq!(lab.archive("node2"), None);
    let said = lab.ok(&["image", "package", "transfers"]);
    assert!(!said.contains("cannot remove"), "{said}");
}
