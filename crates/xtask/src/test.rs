//! `cargo xtask test`.

use std::path::PathBuf;

use anyhow::Result;

use crate::step::{cargo, run, target};
use crate::{conformance, prerequisites, simulate};

pub(crate) fn run_all() -> Result<()> {
    prerequisites::for_test()?;
    conformance::prepare()?;
    build()?;
    let tests = ["test", "--workspace", "--no-fail-fast"];
    run(
        "tests of all crates, with labs of real processes",
        cargo()
            .args(tests)
            .env(simulate::COUNT, simulate::TESTED.to_string()),
    )?;
    simulate::sabotage()?;
    conformance::run_clients(&bin_dir())?;
    eprintln!("== all tests passed");
    Ok(())
}

/// The binaries that tests and the demo start. Of the whole workspace, as the tests are: with other
/// packages chosen cargo would compile the dependencies anew, with other features.
pub(crate) fn build() -> Result<()> {
    let build = ["build", "--workspace", "--bins"];
    run("building evenkeeld and evenkeel", cargo().args(build))
}

/// Where they are.
pub(crate) fn bin_dir() -> PathBuf {
    target().join("debug")
}
