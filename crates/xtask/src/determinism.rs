//! Code that runs in the simulation must do the same for the same seed. What clippy cannot see is looked
//! for in the text.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::step::root;

/// Crates that the simulation runs.
pub(crate) const SIMULATED: &[&str] = &[
    "agent",
    "firmware",
    "interconnect",
    "model",
    "orchestrator",
    "planner",
    "platform",
    "record",
    "seam",
    "simulation",
];
/// Folders and files of them that it does not run, or that look things up and never go through them.
const NOT_RUN: &[&str] = &[
    "firmware/src/qualification.rs",
    "interconnect/src/client.rs",
    "interconnect/src/pull",
    "interconnect/src/server.rs",
    "model/src/manifest",
    "record/src/pool",
    "record/src/sqlite",
    "seam/src/watch.rs",
];
/// What must not be there, and why.
const WORDS: &[(&str, &str)] = &[
    (
        "HashMap",
        "its order is another one in every run: take a BTreeMap",
    ),
    (
        "HashSet",
        "its order is another one in every run: take a BTreeSet",
    ),
    (
        "sync::watch",
        "tokio draws who is woken first: take evenkeel_seam::watch",
    ),
    ("spawn_blocking", "a thread is no part of virtual time"),
    ("thread::spawn", "a thread is no part of virtual time"),
    (
        "FuturesUnordered",
        "who is first is not said: take join_all",
    ),
];
/// How far behind `select!` its `biased` may be.
const BIASED_WITHIN: usize = 3;

pub(crate) fn check() -> Result<()> {
    let crates = root().join("crates");
    let mut found = Vec::new();
    for name in SIMULATED {
        for file in sources(&crates.join(name).join("src"))? {
            let relative = file.strip_prefix(&crates).unwrap_or(&file).to_path_buf();
            if !NOT_RUN.iter().any(|skipped| relative.starts_with(skipped)) {
                found.extend(faults(&file, &relative)?);
            }
        }
    }
    if !found.is_empty() {
        let list = found.join("\n  ");
        bail!("not the same in every run of the simulation:\n  {list}");
    }
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {folder:?}"))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn faults(file: &Path, shown: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file:?}"))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mut say = |why: &str| {
            found.push(format!("{}:{}: {why}", shown.display(), number + 1));
        };
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (word, why) in WORDS.iter().filter(|(word, _)| line.contains(word)) {
            say(&format!("{word}: {why}"));
        }
        let mut next = lines[number..].iter().take(BIASED_WITHIN);
        if line.contains("select! {") && !next.any(|line| line.contains("biased;")) {
            say("select! without biased: tokio draws which branch is first");
        }
    }
    Ok(found)
}
