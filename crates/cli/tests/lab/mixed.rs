//! Two builds in one cluster: nodes that run a daemon of an earlier commit roll to this build's, back, and
//! forth again. For as long as an update takes, both read one record, and order each other about.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_lab::{DAEMON_IN_IMAGE, LabFile};

use crate::harness::Lab;

/// Folder with the `evenkeeld` of an earlier commit.
const EARLIER: &str = "EVENKEEL_EARLIER";

/// A package of that version whose image brings that daemon.
fn upload_with_daemon(lab: &Lab, version: &str, daemon: &Path) {
    let place = lab
        .dir
        .join(format!("tree-{version}"))
        .join(DAEMON_IN_IMAGE);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(daemon, place).unwrap();
    lab.upload(version);
}

/// What every node says, asked at its own address: they must agree whatever they run, but for the firmware of devices,
/// of which an earlier release says nothing.
fn shown_everywhere(lab: &Lab) -> String {
    lab.until("all nodes showing the same", |lab| {
        let nodes = LabFile::read(&lab.dir).unwrap().nodes;
        let answers: BTreeSet<String> = nodes
            .iter()
            .map(|node| {
                let mut software = lab.json(&["--url", &node.url, "image", "show"]);
                for node in software["nodes"].as_array_mut().unwrap() {
                    node.as_object_mut().unwrap().remove("firmware");
                }
                format!("{} {}", software["state"], software["nodes"])
            })
            .collect();
        (answers.len() == 1).then(|| answers.into_iter().next().unwrap())
    })
}

/// Updates, standing still after every takeover and giveback to see what each node shows.
fn update_in_steps(lab: &Lab, version: &str) {
    lab.refused(
        &[
            "image",
            "update",
            version,
            "--pause-after",
            "takeover-giveback",
            "--watch",
        ],
        3,
    );
    let mut stops = 0;
    loop {
        let state = lab.settled();
        shown_everywhere(lab);
        assert!(!lab.ok(&["explain"]).is_empty());
        match state.as_str() {
            "completed" => break,
            "paused_by_user" => lab.ok(&["image", "resume-update"]),
            other => panic!("{other}: {}\n{}", lab.ok(&["explain"]), lab.tail()),
        };
        stops += 1;
        assert!(stops < 20, "it goes on and on");
    }
    assert!(stops >= 4, "it stood still {stops} times only");
    assert!(lab.versions().values().all(|runs| runs == version));
}

fn daemons(lab: &Lab) -> BTreeSet<String> {
    let events = lab.ok(&["events"]);
    let events = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let booted = events.filter(|line| line["event"]["type"] == "node_booted");
    booted
        .map(|line| line["event"]["daemon"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
#[ignore = "needs a build of an earlier commit: `cargo xtask test --mixed` makes it"]
fn two_builds_share_a_cluster_while_it_rolls_forth_and_back() {
    let earlier = std::env::var_os(EARLIER).expect("EVENKEEL_EARLIER names the folder");
    let earlier = PathBuf::from(earlier).join("evenkeeld");
    let this = Path::new(env!("CARGO_BIN_EXE_evenkeel")).with_file_name("evenkeeld");
    let lab = Lab::up_with(4, &["--evenkeeld", earlier.to_str().unwrap()]);
    let probe = lab.probe();
    upload_with_daemon(&lab, "2.0", &this);
    update_in_steps(&lab, "2.0");
    let known = daemons(&lab);
    assert!(known.len() >= 2, "both builds ran: {known:?}");

    // The build before must go on with what this one wrote.
    upload_with_daemon(&lab, "1.9", &earlier);
    update_in_steps(&lab, "1.9");

    // A node whose new image does not boot is back on the build before, amid an update by this one.
    upload_with_daemon(&lab, "2.1", &this);
    lab.ok(&["lab", "fault", "bad-image", "node1"]);
    lab.refused(&["image", "update", "2.1", "--watch"], 3);
    assert_eq!(lab.state().as_deref(), Some("paused_on_error"));
    shown_everywhere(&lab);
    lab.ok(&["lab", "fault", "bad-image", "node1", "--clear"]);
    lab.ok(&["image", "resume-update"]);
    assert_eq!(lab.settled(), "completed", "{}", lab.tail());
    assert!(lab.versions().values().all(|runs| runs == "2.1"));
    let failed: Vec<_> = lab.json(&["job", "show"])["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|job| job["state"] != "success")
        .cloned()
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    let report = probe.finish();
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
    lab.assert_no_harm();
}
