//! The operator's gate script, run by the real `evenkeeld run-script`: what its exit codes mean, what it is told,
//! and that nothing of it is left behind.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sandbox::{AMPLE_MS, mark, processes, until};

/// A folder with a script in it.
struct Bench {
    dir: TempDir,
    within_ms: u64,
}

impl Bench {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate");
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let within_ms = AMPLE_MS;
        Self { dir, within_ms }
    }

    fn start(&self) -> Child {
        let job = json!({
            "script": self.dir.path().join("gate"),
            "within_ms": self.within_ms,
            "environment": { "PATH": "/usr/bin:/bin", "EVENKEEL_NODE": "node1" },
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeeld"))
            .arg("run-script")
            .env("SECRET", "of the daemon")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{job}").unwrap();
        child
    }

    fn answer(&self) -> Value {
        let mut child = self.start();
        // Its end is the script's: held until there is an answer.
        let input = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(input);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn trouble(&self) -> String {
        let answer = self.answer();
        let trouble = answer["trouble"].as_str();
        trouble.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

#[test]
fn exit_codes_open_the_gate_hold_it_or_are_trouble() {
    assert_eq!(Bench::new("echo all is well").answer(), json!("open"));
    let waits = Bench::new("echo first; echo 'the backup runs'; echo; exit 75");
    assert_eq!(waits.answer(), json!({"not_yet": "the backup runs"}));
    let silent = Bench::new("exit 75");
    assert_eq!(silent.answer(), json!({"not_yet": "it says nothing"}));
    // Without output, the last line of its errors.
    let failed = Bench::new("echo 'no such host' >&2; exit 1");
    assert_eq!(failed.trouble(), "exit code 1: no such host");
    assert_eq!(
        Bench::new("kill -9 $$").trouble(),
        "it was killed: it says nothing"
    );
}

#[test]
fn a_script_that_cannot_be_started_is_trouble_that_names_it() {
    let bench = Bench::new("");
    let gate = bench.dir.path().join("gate");
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o644)).unwrap();
    let trouble = bench.trouble();
    let named = format!("{} cannot be started", gate.display());
    assert!(trouble.contains(&named), "{trouble}");
    fs::remove_file(&gate).unwrap();
    assert!(bench.trouble().contains(&named));
}

#[test]
fn a_script_is_told_what_it_is_about_and_no_more() {
    let bench =
        Bench::new("echo \"$EVENKEEL_NODE $(pwd) ${SECRET-clean} $(wc -c </dev/stdin)\"; exit 75");
    assert_eq!(bench.answer(), json!({"not_yet": "node1 / clean 0"}));
}

#[test]
fn a_script_that_takes_too_long_ends_with_all_it_started() {
    let mark = mark();
    let mut bench = Bench::new(&format!("sleep {mark} & sleep {mark}"));
    bench.within_ms = 700;
    assert_eq!(bench.trouble(), "it did not end within 0.7 s");
    until("both are gone", || processes(&mark) == 0);
}

#[test]
fn what_a_script_leaves_behind_neither_holds_its_answer_nor_stays() {
    let mark = mark();
    let bench = Bench::new(&format!("sleep {mark} & exit 0"));
    assert_eq!(bench.answer(), json!("open"));
    until("it is gone", || processes(&mark) == 0);
}

#[test]
fn output_without_end_is_read_and_not_kept() {
    let bench = Bench::new("yes $(printf %01000d 0) | head -c 3000000; echo; echo last; exit 75");
    assert_eq!(bench.answer(), json!({"not_yet": "last"}));
}

#[test]
fn a_script_ends_with_the_daemon() {
    let mark = mark();
    let bench = Bench::new(&format!("sleep {mark} & sleep {mark}"));
    let mut child = bench.start();
    until("it runs", || processes(&mark) == 2);
    // What the kernel does when the daemon is gone, however that ended.
    drop(child.stdin.take());
    child.wait().unwrap();
    until("it is gone", || processes(&mark) == 0);
}
