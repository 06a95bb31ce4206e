//! Nothing in the repository may name a folder of the machine that it was written on.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::step::{output, root};

/// Folders that only somebody's own machine has. This file names them, so it is not searched.
const PERSONAL: &[&str] = &["/home/", "/root/", "/Users/"];
/// Not searched.
const THIS_FILE: &str = "crates/xtask/src/paths.rs";

pub(crate) fn check() -> Result<()> {
    let root = root();
    let mut git = Command::new("git");
    git.current_dir(&root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = output(&mut git)?;
    let here = root.to_string_lossy().into_owned();
    let mut needles: Vec<&str> = PERSONAL.to_vec();
    needles.push(&here);
    let mut found = Vec::new();
    for name in listed
        .split('\0')
        .filter(|name| !name.is_empty() && *name != THIS_FILE)
    {
        found.extend(search(&root, name, &needles));
    }
    if !found.is_empty() {
        bail!(
            "files name folders of one machine:\n  {}",
            found.join("\n  ")
        );
    }
    Ok(())
}

/// Lines of a text file that hold one of the needles. A file that is gone or no text has none.
fn search(root: &Path, name: &str, needles: &[&str]) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(root.join(name)) else {
        return Vec::new();
    };
    let hits = text
        .lines()
        .enumerate()
        .filter(|(_, line)| needles.iter().any(|n| names(line, n)));
    hits.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim()))
        .collect()
}

/// Whether the line has the folder as the beginning of an absolute path, not as the middle of one.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_count() {
        assert!(names("see /home/joe/x", "/home/"));
        assert!(names("path=\"/root/x\"", "/root/"));
        assert!(!names("GET api/home/x", "/home/"));
        assert!(!names("{dir}/root/x", "/root/"));
    }
}
