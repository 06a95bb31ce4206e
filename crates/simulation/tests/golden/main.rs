//! Golden transcripts: scripted stories of a cluster, with what a person sees below each command.
//!
//! Every `stories/*.txt` is a test; a new file is a new one. `EVENKEEL_BLESS=1` writes the output anew,
//! `EVENKEEL_STORY=part-of-a-name` runs only some. The commands are those of [`script::Command`].

mod errands;
mod guide;
mod narrate;
mod play;
mod record;
mod script;
mod show;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

/// So many stories there are at least: what was told once stays told.
const FEWEST: usize = 60;
/// Stories that are played side by side.
const PLAYERS: usize = 2;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/stories")
}

/// The stories whose names contain that, in the order of their names.
fn stories(wanted: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder of stories is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .filter(|path| path.to_string_lossy().contains(wanted))
        .collect();
    files.sort();
    files
}

/// Plays one story and holds it against its file; says what is wrong.
fn hold(file: &Path) -> Result<(), String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let old = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let script = script::parse(&old).map_err(|why| format!("{name}: {why}"))?;
    let played = play::play(&script).map_err(|why| format!("{name}: {why}"))?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    record::keep(&stem, &played.recorded).map_err(|why| format!("{name}: {why}"))?;
    let new = played.text;
    if old == new {
        return Ok(());
    }
    if std::env::var_os("EVENKEEL_BLESS").is_some() {
        return fs::write(file, &new).map_err(|error| format!("{name}: {error}"));
    }
    let differing = old.lines().zip(new.lines()).position(|(a, b)| a != b);
    let line = differing.unwrap_or_else(|| old.lines().count().min(new.lines().count()));
    let part = |text: &str| {
        let lines: Vec<_> = text.lines().skip(line.saturating_sub(2)).take(12).collect();
        lines.join("\n")
    };
    Err(format!(
        "{name} differs from line {}. The file says:\n{}\nIt is now:\n{}\n\
         EVENKEEL_BLESS=1 writes it anew, if that is right.",
        line + 1,
        part(&old),
        part(&new)
    ))
}

#[test]
fn every_story_goes_as_it_is_written() {
    let wanted = std::env::var("EVENKEEL_STORY").unwrap_or_default();
    let chosen = stories(&wanted);
    assert!(
        chosen.len() >= FEWEST || !wanted.is_empty(),
        "there are only {} stories",
        chosen.len()
    );
    let queue = Mutex::new(chosen.into_iter());
    let wrong = Mutex::new(Vec::new());
    let next = || queue.lock().expect("players do not panic here").next();
    thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                while let Some(file) = next() {
                    let held = std::panic::catch_unwind(|| hold(&file));
                    let held = held.unwrap_or_else(|_| Err(format!("{file:?} panicked")));
                    if let Err(why) = held {
                        wrong.lock().expect("players do not panic here").push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("all players are done");
    assert!(
        wrong.is_empty(),
        "{} stories:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// The corpus of recorded streams is made from stories that are there.
#[test]
fn every_story_that_is_recorded_is_there() {
    for name in record::RECORDED {
        let file = folder().join(format!("{name}.txt"));
        assert!(
            file.exists(),
            "{name}: crates/simulation/tests/golden/record.rs names it"
        );
    }
}

/// What the operators' guide says that is shown, is shown in a story.
#[test]
fn the_guide_quotes_what_is_shown() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/updates.md");
    let guide = fs::read_to_string(guide).expect("the guide is there");
    let read = |path: PathBuf| fs::read_to_string(path).expect("a story can be read");
    let told: String = stories("").into_iter().map(read).collect();
    let quoted = guide.lines().filter(|line| {
        let line = line.strip_prefix("    ").unwrap_or_default();
        line.starts_with("error:") || line.starts_with("action:")
    });
    let untrue: Vec<&str> = quoted.filter(|line| !told.contains(line.trim())).collect();
    assert!(untrue.is_empty(), "no story shows: {untrue:#?}");
    let linked = guide.split("golden/stories/").skip(1);
    let linked = linked.filter_map(|rest| Some(rest.split_once(".txt)")?.0));
    for name in linked.filter(|name| !name.contains(']')) {
        assert!(folder().join(format!("{name}.txt")).exists(), "{name}");
    }
}
