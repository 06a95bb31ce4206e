//! kill -9 before every file operation.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use evenkeel_package_store::Store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::disk::scratch;
use crate::reexec::{child, is_child};
use crate::steps;
use crate::story::{Cast, DEEDS, survive};

const DIR: &str = "EVENKEEL_FAULT_DIR";
const STEP: &str = "EVENKEEL_FAULT_STEP";
/// Steps skipped between two kills, by which the two tests share the work.
const HALVES: u64 = 2;

/// Tells the story until it is killed, with a line for each deed that is done.
#[test]
#[ignore = "the process that the other tests of this module kill"]
fn tell() {
    if !is_child() {
        return;
    }
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let step: u64 = std::env::var(STEP).unwrap().parse().unwrap();
    let cast = Cast::load(&dir);
    let store = Store::open(store_dir(&dir, step)).unwrap();
    steps::arm(step, || {
        kill(Pid::this(), Signal::SIGKILL).unwrap();
        loop {
            std::thread::park();
        }
    });
    for deed in DEEDS {
        deed.run(&store, &cast).unwrap();
        println!("done {deed:?}");
    }
    println!("steps {}", steps::disarm());
}

#[test]
fn killed_at_every_odd_step() {
    kill_at_every_step_from(1);
}

#[test]
fn killed_at_every_even_step() {
    kill_at_every_step_from(2);
}

fn kill_at_every_step_from(first: u64) {
    let dir = scratch();
    let cast = Cast::load(dir.path());
    let mut step = first;
    loop {
        let lines = tell_until(dir.path(), step);
        let done = lines.iter().filter(|line| line.starts_with("done")).count();
        let store = store_dir(dir.path(), step);
        survive(&store, done, &cast);
        std::fs::remove_dir_all(store).unwrap();
        if lines.iter().any(|line| line.starts_with("steps")) {
            break;
        }
        step += HALVES;
    }
    assert!(step > 80, "only {step} steps: are they still hooked?");
}

fn store_dir(dir: &Path, step: u64) -> PathBuf {
    dir.join(format!("store-{step}"))
}

/// The lines that a child said before it was killed at that step, or came to its end.
fn tell_until(dir: &Path, step: u64) -> Vec<String> {
    let mut told = child("kill::tell")
        .env(DIR, dir)
        .env(STEP, step.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(told.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.map(Result::unwrap).collect();
    let status = told.wait().unwrap();
    let ended = lines.iter().any(|line| line.starts_with("steps"));
    assert_eq!(status.success(), ended, "{lines:?}");
    lines
}
