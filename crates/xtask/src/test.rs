//! `cargo xtask test`.

use std::path::PathBuf;
use std::process::Command;
use std::thread;

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
    // Packages are fetched while cargo compiles.
    let fetched = thread::spawn(move || prepare(also));
    let metadata = layering::metadata()?;
    build_all()?;
    // Now, so that the tests beside it do not wait until cargo has compiled it.
    let mut first = simulation(cargo(), &metadata);
    run("building the simulation", first.arg("--no-run"))?;
    fetched.join().expect("fetching does not panic")?;
    let platform = match also {
        Also::Nothing => Vec::new(),
        Also::Platform => platform::start(),
    };
    // Labs and clients wait for most of their time: what computes fills it, and gives way to them.
    let mut simulation = simulation(kind_cargo(), &metadata);
    simulation.env(simulate::COUNT, simulate::TESTED.to_string());
    let computing = Beside::start(vec![Step::new("simulation", simulation)]);
    let tests = run(
        "tests of all crates, with labs of real processes",
        all_but_simulation(&metadata).arg("--no-fail-fast"),
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

/// Whatever the tests need beside what cargo builds.
fn prepare(also: Also) -> Result<()> {
    if also == Also::Platform {
        platform::prepare()?;
    }
    conformance::prepare()
}

/// Its tests.
fn simulation(cargo: Command, metadata: &Metadata) -> Command {
    let mut simulation = simulate::test(cargo);
    simulation.arg("--no-fail-fast");
    simulation.args(tests_of(metadata, |package| package == COMPUTES));
    simulation
}

/// The tests of all other packages.
pub(crate) fn all_but_simulation(metadata: &Metadata) -> Command {
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--lib", "--bins"]);
    tests.args(tests_of(metadata, |package| package != COMPUTES));
    tests
}

/// Programs and tests together, but those of the simulation: by themselves each has other features of its dependencies.
pub(crate) fn build_all() -> Result<()> {
    let mut tests = all_but_simulation(&layering::metadata()?);
    run("building programs and tests", tests.arg("--no-run"))
}

/// Names the integration tests of some packages to cargo.
fn tests_of(metadata: &Metadata, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let packages = metadata.packages.iter().filter(|it| is_meant(&it.name));
    let targets = packages.flat_map(|package| &package.targets);
    let tests = targets.filter(|target| target.kind.iter().any(|kind| kind == "test"));
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
