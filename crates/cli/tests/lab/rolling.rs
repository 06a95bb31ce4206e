//! The ordinary case.

use evenkeel_lab::{LabFile, Probe};
use serde_json::json;

use crate::harness::{Lab, OLD};

#[test]
fn a_cluster_rolls_to_a_new_version_and_clients_hardly_notice() {
    let lab = Lab::up(4);
    assert!(lab.versions().values().all(|version| version == OLD));
    lab.upload("2.0");
    assert!(
        lab.ok(&["image", "package", "show-repository"])
            .contains("2.0")
    );
    assert!(
        lab.ok(&["image", "validate", "2.0"])
            .contains("All checks passed.")
    );
    let probe = lab.probe();
    lab.ok(&["image", "update", "2.0", "--watch"]);
    assert!(
        lab.versions().values().all(|version| version == "2.0"),
        "{:?}",
        lab.versions()
    );
    let report = probe.finish();
    assert!(report.longest_io_gap_ms <= 2000, "{report:?}");
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
    assert!(report.reads > 100);
    let history = lab.json(&["image", "show-update-history"]);
    assert_eq!(history["num_records"], 4, "{history}");
    for row in history["records"].as_array().unwrap() {
        assert_eq!(row["state"], "successful");
        assert_eq!(
            (&row["from_version"], &row["to_version"]),
            (&json!(OLD), &json!("2.0"))
        );
    }
    lab.assert_no_harm();
    let failed = lab.json(&["job", "show"])["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|job| job["state"] != "success")
        .count();
    assert_eq!(failed, 0);
    // As Ansible does right after an update.
    lab.ok(&["image", "package", "delete", "2.0"]);
    assert_eq!(lab.ok(&["explain"]), "Nothing is going on.\n");
}

#[test]
fn an_update_is_paused_resumed_and_canceled() {
    let lab = Lab::up(2);
    lab.upload("2.0");
    lab.refused(
        &["image", "update", "2.0", "--pause-after", "all", "--watch"],
        3,
    );
    assert_eq!(lab.state().as_deref(), Some("paused_by_user"));
    assert!(lab.ok(&["explain"]).contains("Resume or cancel"));
    for _ in 0..2 {
        lab.ok(&["image", "resume-update"]);
        assert_eq!(lab.settled(), "paused_by_user");
    }
    // Only the coordinator sees who is away; every node can tell, by its own address.
    for node in LabFile::read(&lab.dir).unwrap().nodes {
        lab.until("what the coordinator sees, on every node", |lab| {
            let told = lab.ok(&["--url", &node.url, "explain"]);
            told.contains("by this update's doing").then_some(())
        });
    }
    lab.ok(&["image", "cancel-update"]);
    assert_eq!(lab.settled(), "canceled");
    lab.assert_no_harm();
    // High availability is back, and another update goes through.
    lab.ok(&["image", "update", "2.0", "--watch"]);
    assert!(lab.versions().values().all(|version| version == "2.0"));
}

#[test]
fn killing_a_daemon_alone_costs_no_io() {
    let lab = Lab::up(4);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let probe = runtime.block_on(async { Probe::start(&lab.dir) }).unwrap();
    for node in lab.node_names() {
        let before = pid(&lab, &node);
        lab.kill_daemon(&node);
        lab.until("the daemon's return", |lab| {
            let now = pid(lab, &node);
            (now.is_some() && now != before).then_some(())
        });
        lab.ok(&["image", "show"]);
        let reads = probe.reads();
        lab.until("reads after the kill", |_| {
            (probe.reads() > reads + 20).then_some(())
        });
    }
    // Whatever was under way: a kill that led to a takeover would be a gap with a reason, and wrong.
    let gap = probe.longest_unexplained_gap();
    let report = runtime.block_on(probe.finish());
    assert!(gap.is_zero(), "{report:?}");
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
}

fn pid(lab: &Lab, node: &str) -> Option<u32> {
    lab.status()
        .nodes
        .iter()
        .find(|known| known.name.as_str() == node)?
        .pid
}

#[test]
fn a_lab_that_lost_all_power_in_the_middle_goes_on_where_it_was() {
    let mut lab = Lab::up(2);
    lab.upload("2.0");
    let events = lab.follow_events();
    lab.ok(&["image", "update", "2.0"]);
    while events.next()["event"]["type"] != "task_ended" {}
    drop(events);
    lab.pull_the_plug();
    lab.start();
    let mut state = lab.settled();
    // Power that fails in a takeover is trouble that a person is told of.
    for _ in 0..3 {
        if state == "paused_on_error" {
            assert!(
                !lab.json(&["explain"])["operations"][0]["waiting"]
                    .as_array()
                    .unwrap()
                    .is_empty()
            );
            lab.ok(&["image", "resume-update"]);
            state = lab.settled();
        }
    }
    assert_eq!(state, "completed", "{}", lab.tail());
    assert!(lab.versions().values().all(|version| version == "2.0"));
    lab.down();
}
