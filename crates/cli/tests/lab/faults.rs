//! Trouble that a lab can make on purpose.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Lab, OLD};

#[test]
fn a_bad_image_falls_back_and_the_update_stands_still_with_a_reason() {
    let lab = Lab::up(2);
    lab.upload("2.0");
    lab.ok(&["lab", "fault", "bad-image", "node1"]);
    let said = lab.refused(&["image", "update", "2.0", "--watch"], 3);
    assert!(said.contains("paused on an error"), "{said}");
    assert_eq!(lab.state().as_deref(), Some("paused_on_error"));
    let explained = lab.ok(&["explain"]);
    assert!(explained.contains("node1"), "{explained}");
    lab.ok(&["lab", "fault", "bad-image", "node1", "--clear"]);
    lab.ok(&["image", "resume-update", "--watch"]);
    assert_eq!(lab.state().as_deref(), Some("completed"), "{}", lab.tail());
    assert!(lab.versions().values().all(|version| version == "2.0"));
    lab.assert_no_harm();
}

#[test]
fn a_takeover_by_hand_in_the_middle_pauses_the_update() {
    let lab = Lab::up(2);
    lab.upload("2.0");
    lab.refused(
        &["image", "update", "2.0", "--pause-after", "all", "--watch"],
        3,
    );
    // Before its first effect an update that is resumed is validated again, and would be refused.
    lab.ok(&["image", "resume-update"]);
    assert_eq!(lab.settled(), "paused_by_user");
    lab.ok(&["lab", "takeover", "node1"]);
    lab.ok(&["image", "resume-update"]);
    let mut state = lab.settled();
    // The pause points before the first takeover come first.
    while state == "paused_by_user" {
        assert!(lab.versions().values().all(|version| version == OLD));
        lab.ok(&["image", "resume-update"]);
        state = lab.settled();
    }
    assert_eq!(state, "paused_on_error");
    lab.until("the node's return", |lab| {
        lab.run(&["lab", "giveback", "node1"])
            .status
            .success()
            .then_some(())
    });
    lab.ok(&["image", "cancel-update"]);
    assert_eq!(lab.settled(), "canceled", "{}", lab.tail());
    lab.assert_no_harm();
}

#[test]
fn a_coordinator_that_is_cut_off_is_replaced_and_can_do_nothing() {
    let lab = Lab::up(4);
    lab.upload("2.0");
    let events = lab.follow_events();
    lab.ok(&["image", "update", "2.0", "--stabilize-minutes", "1"]);
    while events.next()["event"]["type"] != "planned" {}
    let first = events.coordinator().unwrap();
    lab.ok(&["lab", "fault", "cut", &first]);
    let second = lab.until("another coordinator", |_| {
        while events.next()["event"]["type"] != "coordinator_elected" {}
        events.coordinator().filter(|node| *node != first)
    });
    assert_ne!(first, second);
    lab.ok(&["lab", "fault", "cut", &first, "--clear"]);
    let mut state = lab.settled();
    for _ in 0..3 {
        if state == "paused_on_error" {
            lab.ok(&["image", "resume-update"]);
            state = lab.settled();
        }
    }
    assert_eq!(state, "completed", "{}", lab.tail());
    lab.assert_no_harm();
}

#[test]
fn a_coordinator_that_wakes_up_stale_does_no_harm() {
    let lab = Lab::up(4);
    lab.upload("2.0");
    let events = lab.follow_events();
    lab.ok(&["image", "update", "2.0", "--stabilize-minutes", "1"]);
    while events.next()["event"]["type"] != "planned" {}
    let first = events.coordinator().unwrap();
    // Its connections hang with it.
    drop(events);
    // Frozen amid a write it holds the record in its hands, and nobody can be elected: a service manager's
    // watchdog would end it. Here it is let go on for a moment, and frozen again.
    let replaced = |lab: &Lab| {
        lab.signal_daemon(&first, Signal::SIGSTOP);
        let replaced = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            lab.coordinator() != first
        });
        if !replaced {
            lab.signal_daemon(&first, Signal::SIGCONT);
        }
        replaced.then_some(())
    };
    lab.until("another coordinator", replaced);
    lab.signal_daemon(&first, Signal::SIGCONT);
    assert_eq!(lab.settled(), "completed", "{}", lab.tail());
    assert!(lab.versions().values().all(|version| version == "2.0"));
    lab.assert_no_harm();
}

#[test]
fn a_warning_is_acknowledged_and_holds_until_there_is_more() {
    const CHECK: &str = "NFS mounts";
    let lab = Lab::up(2);
    lab.upload("2.0");
    let reason = ["--reason", "a test client, it may hang"];
    let acknowledge = [&["image", "acknowledge", CHECK][..], &reason[..]].concat();
    assert!(lab.refused(&acknowledge, 1).contains("gave no warning"));
    lab.ok(&["lab", "fault", "soft-mount", "node1"]);
    // A fault is a finding as soon as the node was looked at again.
    let warned = |lab: &Lab, text: &str| {
        let shown = lab.run(&["image", "validate", "2.0", "--json"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        shown.contains(text).then_some(())
    };
    lab.until("the warning", |lab| warned(lab, CHECK));
    assert!(lab.ok(&acknowledge).contains("does not block"));
    let list = lab.ok(&["image", "acknowledgements"]);
    assert!(list.contains(CHECK) && list.contains(reason[1]), "{list}");
    lab.until("who acknowledged it", |lab| warned(lab, "Acknowledged by"));
    lab.ok(&["lab", "fault", "soft-mount", "node2"]);
    lab.until("what is new", |lab| {
        warned(lab, "has changed since it was acknowledged")
    });
    lab.ok(&["image", "acknowledgements", "--withdraw", CHECK]);
    let list = lab.ok(&["image", "acknowledgements"]);
    assert!(list.contains("No warning is acknowledged"), "{list}");
}
