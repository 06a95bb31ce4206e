//! `cargo xtask test`.

use std::path::PathBuf;

use anyhow::Result;

use crate::layering::{self, Metadata};
use crate::step::{Beside, Step, cargo, kind_cargo, run, target};
use crate::{conformance, platform, prerequisites, simulate};

/// What computes all the time. Everything else mostly waits: for processes, for timers, for clients.
const COMPUTES: &str = "evenkeel-simulation";

/// What is run beside the tests that need nothing but this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Also {
    Nothing,
    /// Those on real engines.
    Platform,
}

/// All of it, whatever becomes of a part, except where the parts cannot be built.
pub(crate) fn run_all(also: Also) -> Result<()> {
    prerequisites::for_test()?;
    if also == Also::Platform {
        platform::prepare()?;
    }
    conformance::prepare()?;
    build_all()?;
    let platform = match also {
        Also::Nothing => Vec::new(),
        Also::Platform => platform::start_kindly(),
    };
    let metadata = layering::metadata()?;
    // Labs and clients wait for most of their time: what computes fills it, and gives way to them.
    let mut simulation = kind_cargo();
    simulation.args(["test", "--workspace", "--no-fail-fast"]);
    simulation.args(tests_of(&metadata, |package| package == COMPUTES));
    simulation.env(simulate::COUNT, simulate::TESTED.to_string());
    let computing = Beside::start(vec![
        Step::new("simulation", simulation),
        simulate::sabotage(),
    ]);
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
    let tests = run(
        "tests of all crates, with labs of real processes",
        tests.args(tests_of(&metadata, |package| package != COMPUTES)),
    );
    let clients = conformance::start_clients(&bin_dir()).outcome();
    let computing = computing.outcome();
    let platform = platform::outcome(platform);
    [tests, clients, computing, platform]
        .into_iter()
        .collect::<Result<()>>()?;
    eprintln!("== all tests passed");
    Ok(())
}

/// Programs and tests together: by themselves each has other features of its dependencies.
pub(crate) fn build_all() -> Result<()> {
    let all = ["build", "--workspace", "--bins", "--tests"];
    run("building programs and tests", cargo().args(all))
}

/// Names the integration tests of some packages to cargo. The whole workspace stays chosen: with other packages
/// chosen cargo would compile the dependencies anew, with other features.
fn tests_of(metadata: &Metadata, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let packages = metadata.packages.iter().filter(|it| is_meant(&it.name));
    let targets = packages.flat_map(|package| &package.targets);
    let tests = targets.filter(|target| {
        target.kind.iter().any(|kind| kind == "test") && target.required_features.is_empty()
    });
    tests
        .flat_map(|test| ["--test".to_owned(), test.name.clone()])
        .collect()
}

/// The binaries that the demo starts. Tests build theirs along with themselves: by themselves binaries have other
/// features of their dependencies, and all would be compiled twice.
pub(crate) fn build() -> Result<()> {
    let build = ["build", "--workspace", "--bins"];
    run("building evenkeeld and evenkeel", cargo().args(build))
}

/// Where they are.
pub(crate) fn bin_dir() -> PathBuf {
    target().join("debug")
}
