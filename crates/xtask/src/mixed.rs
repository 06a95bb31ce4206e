//! `cargo xtask test --mixed`: this build and one of an earlier commit in one cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::step::{cargo, output, root, run, target};
use crate::test::build;

/// The newest earlier state of the repository whose streams are in `record/tests/corpus`.
pub(crate) const EARLIER: &str = "5424531";

/// Builds the daemon of that commit, and rolls a lab of it to this build, back, and forth again.
pub(crate) fn run_mixed(commit: &str) -> Result<()> {
    let earlier = build_earlier(commit)?;
    build()?;
    let test = [
        "test",
        "--workspace",
        "--test",
        "lab",
        "mixed::",
        "--",
        "--ignored",
    ];
    let title = format!("a lab that rolls from a build of {commit} to this one, and back");
    run(&title, cargo().args(test).env("EVENKEEL_EARLIER", earlier))
}

/// The folder with its `evenkeeld`.
fn build_earlier(commit: &str) -> Result<PathBuf> {
    let resolved = output(git().args(["rev-parse", "--verify", "--quiet"]).arg(format!("{commit}^{{commit}}")))
        .with_context(|| format!("this clone does not have the commit {commit}: clone with its history, or name another one with --from"))?;
    let resolved = resolved.trim();
    let sources = target().join("mixed").join(resolved);
    if !sources.exists() {
        let mut add = git();
        add.args(["worktree", "add", "--force", "--detach"])
            .arg(&sources)
            .arg(resolved);
        run(&format!("sources of {commit}"), &mut add)?;
    }
    // All earlier commits share a folder: their dependencies hardly differ.
    let built = target().join("mixed/build");
    let mut cargo = cargo();
    cargo
        .current_dir(&sources)
        .args(["build", "--package", "evenkeel-daemon", "--target-dir"])
        .arg(&built);
    run(&format!("evenkeeld of {commit}"), &mut cargo)?;
    Ok(absolute(&built.join("debug")))
}

fn absolute(path: &Path) -> PathBuf {
    match path.is_absolute() {
        true => path.to_owned(),
        false => root().join(path),
    }
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(root());
    git
}
