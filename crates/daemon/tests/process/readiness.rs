//! What the units of systemd's wait for, asked of a real daemon: that a boot is good, that Pacemaker may start, that a restart disturbs
//! nobody.

use std::process::{Child, Command, Output, Stdio};

use evenkeel_model::{MemberHa, NodeName};

use crate::stand::Stand;

/// `EX_TEMPFAIL` and `EX_CONFIG` of `sysexits.h`.
const NOT_YET: i32 = 75;
const CONFIGURATION: i32 = 78;

fn command(stand: &Stand, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
    command
        .arg("--config")
        .arg(stand.dir.join("evenkeeld.toml"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(stand: &Stand, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(stand, arguments).output().unwrap();
    (output.status.code(), said(&output))
}

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(all).unwrap()
}

/// As a unit runs it: systemd hears its status.
fn start(stand: &Stand, arguments: &[&str]) -> Child {
    let mut command = command(stand, arguments);
    command.env("NOTIFY_SOCKET", stand.dir.join("notify"));
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn taken_over(stand: &Stand, node: &NodeName) {
    let taken = stand
        .machine
        .with(|hardware, now| hardware.take_over_by_hand(node, now));
    taken.unwrap().unwrap().unwrap();
    stand.until("waiting for giveback", || {
        let ha = stand.machine.with(|hardware, _| hardware.ha(node)).unwrap();
        (ha == Some(MemberHa::WaitingForGiveback)).then_some(())
    });
}

fn given_back(stand: &Stand, node: &NodeName) {
    stand.until("giveback", || {
        let given = stand
            .machine
            .with(|hardware, now| hardware.give_back_by_hand(node, now));
        matches!(given, Ok(Ok(Ok(())))).then_some(())
    });
}

#[test]
fn a_boot_is_good_once_the_node_serves_and_nobody_is_disturbed_then() {
    let stand = Stand::paired();
    let node: NodeName = "n1".parse().unwrap();
    std::fs::create_dir(stand.dir.join("record")).unwrap();
    let _daemon = stand.start();
    taken_over(&stand, &node);
    let (code, waits) = run(&stand, &["may-restart"]);
    assert_eq!(code, Some(NOT_YET), "{waits}");
    assert!(waits.contains("takeover to be over: n1"), "{waits}");

    let waiting = start(&stand, &["boot-good"]);
    stand.until("what is awaited", || {
        stand
            .was_told("STATUS=waits for n1 to serve: it is in \"waiting for giveback\" state")
            .then_some(())
    });
    given_back(&stand, &node);
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).trim_end().ends_with("is good"),
        "{}",
        said(&output)
    );
    let (code, waits) = run(&stand, &["may-restart", "--within", "60"]);
    assert_eq!(code, Some(0), "{waits}");
}

#[test]
fn pacemaker_starts_by_the_daemons_word_and_in_any_case_after_a_while() {
    let stand = Stand::new("");
    let (code, text) = run(&stand, &["pacemaker-gate"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no daemon has run on this node"), "{text}");

    std::fs::create_dir(stand.dir.join("record")).unwrap();
    let daemon = stand.start();
    let (code, text) = run(&stand, &["pacemaker-gate"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.trim_end().ends_with("Pacemaker may start"), "{text}");

    daemon.kill();
    let (code, text) = run(&stand, &["pacemaker-gate", "--within", "1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("waits for the daemon, silent at"), "{text}");
    assert!(
        text.contains("after 1 s Pacemaker starts without"),
        "{text}"
    );
    // A boot without a daemon is not good, and there is nobody to disturb.
    let mut waiting = start(&stand, &["boot-good"]);
    stand.until("what is awaited", || {
        stand.was_told("STATUS=waits for the daemon").then_some(())
    });
    assert_eq!(waiting.try_wait().unwrap(), None);
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert_eq!(run(&stand, &["may-restart"]).0, Some(0));
}

/// An image that does not mount the node's data looks as if no daemon had ever run: that is no reason to call its boot good.
#[test]
fn a_boot_without_the_nodes_data_is_not_good() {
    let stand = Stand::new("");
    assert!(!stand.dir.join("data/node.db").exists());
    let mut waiting = start(&stand, &["boot-good"]);
    stand.until("what is awaited", || {
        stand.was_told("STATUS=waits for the daemon").then_some(())
    });
    assert_eq!(waiting.try_wait().unwrap(), None);
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

/// The record's folder is missing: it is out of reach, and whether this boot is in it cannot be told.
#[test]
fn a_boot_that_the_record_does_not_name_is_not_good() {
    let stand = Stand::new("");
    let _daemon = stand.start();
    let mut waiting = start(&stand, &["boot-good"]);
    stand.until("what is awaited", || {
        stand.was_told("STATUS=waits for the record").then_some(())
    });
    assert_eq!(waiting.try_wait().unwrap(), None);
    std::fs::create_dir(stand.dir.join("record")).unwrap();
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn what_starting_again_does_not_mend_has_an_exit_code_of_its_own() {
    let stand = Stand::new("");
    std::fs::write(stand.dir.join("evenkeeld.toml"), "node = 7").unwrap();
    let status = stand.begin().ended();
    assert_eq!(status.code(), Some(CONFIGURATION), "{}", stand.log());
    assert_eq!(run(&stand, &["boot-good"]).0, Some(CONFIGURATION));
    // No daemon can start by it; the node must be able to serve.
    assert_eq!(run(&stand, &["pacemaker-gate"]).0, Some(0));
}

/// A node that has run and has lost its certificates has a pair to watch, again and again.
#[test]
fn a_node_that_has_lost_its_certificates_is_started_again() {
    let stand = Stand::new("");
    let daemon = stand.start();
    assert!(daemon.terminate().success());
    for name in ["ca.pem", "node.pem", "node.key"] {
        std::fs::remove_file(stand.dir.join(name)).unwrap();
    }
    assert_eq!(stand.begin().ended().code(), Some(1), "{}", stand.log());
}
