//! A slot is whole or has no manifest, whatever happens on the way.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_model::{EntryKind, MANIFEST_PATH};
use evenkeel_package_store::{
    ExtractError, ExtractProgress, ExtractRequest, Policy, extract_archive, read_slot_manifest,
};
use nix::fcntl::{Flock, FlockArg};

use crate::common::*;
use crate::craft::{Craft, Piece};

struct Case {
    dir: tempfile::TempDir,
    archive: PathBuf,
    policy: Policy,
}

impl Case {
    fn new(archive: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.tgz");
        fs::write(&path, archive).unwrap();
        Self {
            dir,
            archive: path,
            policy: policy(),
        }
    }

    fn good() -> Self {
        Self::new(&Craft::good().pack())
    }

    fn slot(&self) -> PathBuf {
        self.dir.path().join("slot")
    }

    fn run(&self, slot: &Path, running: Option<&Path>) -> Result<(), ExtractError> {
        self.run_with(slot, running, &mut |_| {}, &AtomicBool::new(false))
    }

    fn run_with(
        &self,
        slot_dir: &Path,
        running: Option<&Path>,
        progress: &mut dyn FnMut(ExtractProgress),
        cancel: &AtomicBool,
    ) -> Result<(), ExtractError> {
        let request = ExtractRequest {
            slot_dir,
            running,
            expected: None,
            policy: &self.policy,
        };
        extract_archive(
            File::open(&self.archive).unwrap(),
            request,
            progress,
            cancel,
        )
        .map(|_| ())
    }

    fn whole(&self) -> bool {
        read_slot_manifest(&self.slot()).unwrap().is_some()
    }
}

#[test]
fn never_into_what_runs() {
    let case = Case::good();
    let root = case.dir.path();
    let running = root.join("a");
    fs::create_dir_all(running.join("below")).unwrap();
    fs::write(running.join("kernel"), "in use").unwrap();
    symlink(&running, root.join("alias")).unwrap();
    symlink("alias/below", root.join("chain")).unwrap();
    for slot in [
        "a",
        "a/below",
        "a/new/folder",
        "alias",
        "chain",
        ".",
        "a/../a",
        "b/../a",
    ] {
        let refused = case.run(&root.join(slot), Some(&running));
        let refused = refused.map(|()| slot).unwrap_err();
        let absent = matches!(
            &refused,
            ExtractError::Io {
                step: "resolve",
                ..
            }
        );
        assert!(
            absent || matches!(&refused, ExtractError::Running { .. }),
            "{slot}: {refused:?}"
        );
        assert_eq!(
            fs::read_to_string(running.join("kernel")).unwrap(),
            "in use"
        );
    }
    case.run(&root.join("ab"), Some(&running)).unwrap();
}

#[test]
fn an_untrusted_package_costs_the_slot_nothing() {
    let mut case = Case::good();
    case.run(&case.slot(), None).unwrap();
    let before = snapshot(&case.slot());
    case.policy = Policy::trusting(Default::default());
    assert!(matches!(
        case.run(&case.slot(), None),
        Err(ExtractError::Refused(_))
    ));
    let request = ExtractRequest {
        slot_dir: &case.slot(),
        running: None,
        expected: Some(digest(b"another")),
        policy: &policy(),
    };
    let archive = File::open(&case.archive).unwrap();
    let wrong = extract_archive(archive, request, &mut |_| {}, &AtomicBool::new(false));
    assert!(matches!(wrong, Err(ExtractError::WrongPackage { .. })));
    assert!(case.whole());
    assert_eq!(snapshot(&case.slot()), before);
}

#[test]
fn old_content_goes_even_where_it_is_read_only() {
    let case = Case::good();
    let slot = case.slot();
    fs::create_dir_all(slot.join("old/deep")).unwrap();
    fs::write(slot.join("old/deep/file"), "old").unwrap();
    let outside = case.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    symlink(&outside, slot.join("d")).unwrap();
    set_mode(&slot.join("old/deep"), 0o555);
    set_mode(&slot.join("old"), 0o000);
    case.run(&slot, None).unwrap();
    let names: Vec<_> = snapshot(&slot).into_keys().collect();
    assert_eq!(names, ["d", "d/a", "d/b", "link"]);
    assert!(outside.join("kept").exists());
}

#[test]
fn a_package_found_bad_on_the_way_leaves_no_manifest() {
    let case = Case::good();
    case.run(&case.slot(), None).unwrap();
    let mut craft = Craft::good();
    craft.pieces[2].content = vec![b'c'; 3000];
    let bad = Case {
        archive: case.dir.path().join("bad.tgz"),
        ..case
    };
    fs::write(&bad.archive, craft.pack()).unwrap();
    assert!(matches!(
        bad.run(&bad.slot(), None),
        Err(ExtractError::Refused(_))
    ));
    assert!(!bad.whole());
}

#[test]
fn canceling_stops_it_at_any_step() {
    let case = Case::good();
    let mut steps = 0;
    case.run_with(
        &case.slot(),
        None,
        &mut |_| steps += 1,
        &AtomicBool::new(false),
    )
    .unwrap();
    for stop_at in 1..=steps {
        let cancel = AtomicBool::new(false);
        let mut step = 0;
        let mut progress = |_| {
            step += 1;
            cancel.store(step == stop_at, Ordering::Relaxed);
        };
        let stopped = case.run_with(&case.slot(), None, &mut progress, &cancel);
        assert!(
            matches!(stopped, Err(ExtractError::Canceled)),
            "step {stop_at}"
        );
        // Before the first change there is still the old content.
        assert_eq!(case.whole(), stop_at == 1, "step {stop_at}");
        case.run(&case.slot(), None).unwrap();
        assert!(case.whole());
    }
}

#[test]
fn one_at_a_time() {
    let case = Case::good();
    fs::create_dir(case.slot()).unwrap();
    let folder = File::open(case.slot()).unwrap();
    let lock = Flock::lock(folder, FlockArg::LockExclusiveNonblock).unwrap();
    assert!(matches!(
        case.run(&case.slot(), None),
        Err(ExtractError::Busy { .. })
    ));
    drop(lock);
    case.run(&case.slot(), None).unwrap();
}

#[test]
fn what_cannot_fit_is_refused_before_it_is_written() {
    let mut craft = Craft::good();
    let huge = Piece {
        size: Some(1 << 60),
        ..Piece::file("huge", b"")
    };
    craft.manifest.entries.push(crate::craft::entry_of(&huge));
    if let EntryKind::File { size, .. } = &mut craft.manifest.entries[4].kind {
        *size = 1 << 60;
    }
    craft.pieces.push(huge);
    craft.add_up();
    let case = Case::new(&craft.pack());
    let refused = case.run(&case.slot(), None);
    assert!(
        matches!(refused, Err(ExtractError::NoSpace { .. })),
        "{refused:?}"
    );
    assert_eq!(snapshot(&case.slot()).len(), 0);
}

#[test]
fn a_damaged_slot_manifest_is_an_error_and_not_an_empty_slot() {
    let case = Case::good();
    case.run(&case.slot(), None).unwrap();
    fs::write(case.slot().join(MANIFEST_PATH), "{").unwrap();
    read_slot_manifest(&case.slot()).unwrap_err();
    case.run(&case.slot(), None).unwrap();
    assert!(case.whole());
}

const CHILD: &str = "EVENKEEL_TEST_EXTRACT";

/// The process that [`killed_anywhere_it_can_be_run_again`] kills; by itself it does nothing. It says each
/// step and waits to be told to go on.
#[test]
fn child_extracts_step_by_step() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let policy = policy();
    let slot_dir = &dir.join("slot");
    let request = ExtractRequest {
        slot_dir,
        running: None,
        expected: None,
        policy: &policy,
    };
    let mut go_on = std::io::stdin().lines();
    let mut progress = |p: ExtractProgress| {
        println!("AT-STEP {} {}", p.done_entries, p.done_bytes);
        std::io::stdout().flush().unwrap();
        go_on.next().unwrap().unwrap();
    };
    let archive = File::open(dir.join("archive.tgz")).unwrap();
    extract_archive(archive, request, &mut progress, &AtomicBool::new(false)).unwrap();
}

/// Runs the child until its `kill_at`th step and kills it there; false if it ended before.
fn extract_and_kill(dir: &Path, kill_at: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "extracting::child_extracts_step_by_step",
            "--nocapture",
        ])
        .env(CHILD, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut step = 0;
    for line in output.lines().map_while(Result::ok) {
        if line.contains("AT-STEP") {
            step += 1;
            if step == kill_at {
                child.kill().unwrap();
                break;
            }
            writeln!(input).unwrap();
        }
    }
    let killed = step == kill_at;
    assert!(killed || child.wait().unwrap().success());
    child.wait().unwrap();
    killed
}

#[test]
fn killed_anywhere_it_can_be_run_again() {
    let case = Case::good();
    let mut kill_at = 1;
    while extract_and_kill(case.dir.path(), kill_at) {
        assert!(!case.whole() || kill_at == 1, "step {kill_at}");
        kill_at += 1;
    }
    assert!(kill_at > 6, "only {kill_at} steps");
    assert!(case.whole());
    let names: Vec<_> = snapshot(&case.slot()).into_keys().collect();
    assert_eq!(names, ["d", "d/a", "d/b", "link"]);
}
