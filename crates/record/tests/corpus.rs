//! Streams that builds of earlier commits recorded, read by this one. `corpus/COMMIT/STORY.jsonl` has an
//! event a line; beside it stands what people were shown at its end. A cluster's record outlives many
//! releases: what is here must be readable for ever, so files are added, never changed.
//!
//! `EVENKEEL_BLESS=1 cargo test -p evenkeel-record --test corpus` writes the pictures of new streams. How new
//! streams are recorded is said in `docs/ARCHITECTURE.md`.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_model::{EventId, OperationState, Position, Seq, StreamId, WallTime};
use evenkeel_record::projections::{self, At};
use evenkeel_record::{Entry, View};
use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

#[derive(serde::Deserialize)]
struct Line {
    stream: String,
    body: Box<RawValue>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every recorded stream: those of older commits and of newer ones.
fn stories() -> Vec<PathBuf> {
    let commits = sorted(&folder()).into_iter().filter(|path| path.is_dir());
    let files = commits.flat_map(|commit| sorted(&commit));
    files
        .filter(|file| file.extension().is_some_and(|it| it == "jsonl"))
        .collect()
}

fn entries(story: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(story).unwrap();
    let mut heads = std::collections::BTreeMap::<StreamId, u64>::new();
    let mut entry = |(number, line): (usize, &str)| {
        let line: Line = serde_json::from_str(line).unwrap();
        let stream: StreamId = line.stream.parse().unwrap();
        let head = heads.entry(stream).or_default();
        *head += 1;
        Entry {
            position: Position(number as u64 + 1),
            stream,
            seq: Seq(*head),
            id: EventId(Uuid::from_u128(number as u128)),
            body: line.body.get().to_owned(),
        }
    };
    text.lines().enumerate().map(&mut entry).collect()
}

fn at() -> At {
    At::new(WallTime::new(
        Timestamp::from_second(1_900_000_000).unwrap(),
    ))
}

/// What people are shown: none of it may depend on when, or on words that may be bettered.
fn picture(view: &View) -> String {
    let mut text = String::new();
    let mut line = |what: String| writeln!(text, "{what}").unwrap();
    let software = projections::software(view, at());
    let version = software.version.as_ref().map_or("none", |v| v.as_str());
    line(format!("version {version}, {:?}", software.state));
    for node in &software.nodes {
        line(format!("node {}: {:?}", node.name, node.version));
    }
    for package in projections::packages(view) {
        line(format!("package {}", package.version));
    }
    for operation in view.operations() {
        line(format!(
            "{}: {}",
            operation.kind().as_str(),
            state(&operation.state)
        ));
        for job in projections::jobs(view)
            .iter()
            .filter(|job| job.operation == operation.id)
        {
            line(format!("  job {:?} {}", job.state, job.code));
        }
        for task in operation.tasks.values() {
            let (name, node) = (task.task.action.name(), &task.task.node);
            let state = format!("{:?}", task.state);
            let word = state.split([' ', '(']).next().unwrap();
            line(format!(
                "  {name} of {node}: {word}, attempt {}",
                task.attempt
            ));
        }
    }
    for row in projections::history(view) {
        line(format!(
            "history: {} {} to {} {:?}",
            row.node, row.from, row.to, row.state
        ));
    }
    text
}

fn state(state: &OperationState) -> String {
    match state {
        OperationState::Ended { end } => {
            let end = format!("{end:?}");
            format!("ended {}", end.split([' ', '(']).next().unwrap())
        }
        open => format!("{open:?}"),
    }
}

#[test]
fn what_earlier_builds_recorded_is_read() {
    let stories = stories();
    assert!(stories.len() > 10, "the corpus is there");
    let bless = std::env::var_os("EVENKEEL_BLESS").is_some();
    for story in stories {
        let view = View::replay(&entries(&story)).unwrap();
        let wrong = view.quarantined();
        assert!(wrong.is_empty(), "{}: {wrong:?}", story.display());
        assert_eq!(view.may_coordinate(), Ok(()), "{}", story.display());
        let (seen, kept) = (picture(&view), story.with_extension("picture"));
        if bless && !kept.exists() {
            fs::write(&kept, &seen).unwrap();
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        assert_eq!(seen, expected, "{}", story.display());
    }
}

/// A node that falls back, or is updated, may read the record at any event.
#[test]
fn every_beginning_of_what_was_recorded_can_be_shown() {
    for story in stories() {
        let mut view = View::default();
        for entry in entries(&story) {
            view.apply(&entry).unwrap();
            let shown = projections::software(&view, at());
            assert!(shown.elapsed.is_none_or(|elapsed| elapsed > Duration::ZERO));
            let _ = picture(&view);
            let _ = projections::download(&view);
        }
    }
}
