//! `cargo xtask record`: streams for the corpus that every later build must read.

use anyhow::{Result, ensure};

use crate::step::{root, run};
use crate::test::cargo_test;

/// Plays the chosen golden stories, writes what their clusters recorded, and what is shown of it.
pub(crate) fn run_all(build: &str) -> Result<()> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    ensure!(
        !build.is_empty() && build.chars().all(is_name) && !build.starts_with('.'),
        "{build:?} names no folder: letters, digits, dots and dashes do"
    );
    let folder = root().join("crates/record/tests/corpus").join(build);
    let story = "every_story_goes_as_it_is_written";
    let mut record = cargo_test();
    record
        .args(["--test", "golden", "--", "--exact", story])
        .env("EVENKEEL_RECORD", &folder);
    run(&format!("streams of {build}"), &mut record)?;
    let mut show = cargo_test();
    show.args(["--test", "corpus"]).env("EVENKEEL_BLESS", "1");
    run("what is shown of them", &mut show)
}
