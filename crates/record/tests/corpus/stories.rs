//! The recorded streams, read from their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_model::{EventId, Position, Seq, StreamId};
use evenkeel_record::Entry;
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

/// Every recorded stream: those of older builds and of newer ones.
pub(crate) fn stories() -> Vec<PathBuf> {
    let builds = sorted(&folder()).into_iter().filter(|path| path.is_dir());
    let files = builds.flat_map(|build| sorted(&build));
    files
        .filter(|file| file.extension().is_some_and(|it| it == "jsonl"))
        .collect()
}

/// What a file holds, as a record would hand it out.
pub(crate) fn entries(story: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(story).unwrap();
    let mut heads = BTreeMap::<StreamId, u64>::new();
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
