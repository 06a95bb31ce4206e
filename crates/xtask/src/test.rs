//! `cargo xtask test`.

use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::Result;

use crate::Platform;
use crate::check::{self, Lints};
use crate::determinism::SIMULATED;
use crate::layering::{self, Metadata};
use crate::step::{Beside, Step, cargo, kind_cargo, run, target};
use crate::{conformance, platform, prerequisites, simulate};

/// Of what the simulation runs: it only passes calls on, and most of it is the network, which is not run.
const PASSES_ON: &str = "interconnect";

/// What computes all the time. Everything else mostly waits: for processes, for timers, for clients.
const COMPUTES: &str = "evenkeel-simulation";

/// What is asked for, whatever becomes of a part, except where the parts cannot be built.
pub(crate) fn run_all(platform: Option<Platform>, checked: bool) -> Result<()> {
    let ours = platform != Some(Platform::Alone);
    if ours {
        prerequisites::for_test()?;
    }
    if platform.is_some() {
        prerequisites::for_platform()?;
    }
    // Packages are fetched while cargo compiles.
    let fetched = thread::spawn(move || prepare(ours, platform.is_some()));
    match checked {
        true => check::run(Lints::AsCompiled)?,
        false => build_all()?,
    }
    fetched.join().expect("fetching does not panic")?;
    let platform = match platform {
        Some(_) => platform::start(),
        None => Vec::new(),
    };
    let ours = match ours {
        true => run_ours(),
        false => Ok(()),
    };
    ours.and(platform::outcome(platform))?;
    eprintln!("== all tests passed");
    Ok(())
}

/// Whatever the tests need beside what cargo builds.
fn prepare(ours: bool, platform: bool) -> Result<()> {
    if platform {
        platform::prepare()?;
    }
    match ours {
        true => conformance::prepare(),
        false => Ok(()),
    }
}

/// What needs nothing but this machine.
fn run_ours() -> Result<()> {
    let metadata = layering::metadata()?;
    // Labs and clients wait for most of their time: what computes fills it, and gives way to them.
    let mut simulation = built_for_tests(kind_cargo());
    simulation.args(tests_of(&metadata, |package| package == COMPUTES));
    simulation.env(simulate::COUNT, simulate::TESTED.to_string());
    simulation.arg("--no-fail-fast");
    let computing = Beside::start(vec![Step::new("simulation", simulation)]);
    let mut tests = cargo_test();
    tests.args(["--no-fail-fast", "--lib", "--bins"]);
    tests.args(tests_of(&metadata, |package| package != COMPUTES));
    let tests = run(
        "tests of all crates, with labs of real processes",
        &mut tests,
    );
    let clients = conformance::start_clients(&bin_dir()).outcome();
    tests.and(clients).and(computing.outcome())
}

/// `cargo test` of the whole workspace, in the one build that all is tested in: with other packages chosen cargo would compile the
/// dependencies anew, with other features. What the simulation runs ten thousand times is optimised; everything else is compiled plain,
/// in half the time. Level 1 compiles in a minute of CPU less, and makes a seed cost half as much again.
pub(crate) fn cargo_test() -> Command {
    built_for_tests(cargo())
}

fn built_for_tests(mut cargo: Command) -> Command {
    for name in SIMULATED.iter().filter(|name| **name != PASSES_ON) {
        let level = format!("profile.dev.package.evenkeel-{name}.opt-level=2");
        cargo.args(["--config", &level]);
    }
    cargo.args(["test", "--workspace"]);
    cargo
}

/// Programs and tests.
fn build_all() -> Result<()> {
    let mut all = cargo_test();
    run(
        "building programs and tests",
        all.args(["--tests", "--no-run"]),
    )
}

/// Names the integration tests of some packages to cargo.
fn tests_of(metadata: &Metadata, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let packages = metadata.packages.iter().filter(|it| is_meant(&it.name));
    let targets = packages.flat_map(|package| &package.targets);
    let tests = targets.filter(|target| target.is("test"));
    tests
        .flat_map(|test| ["--test".to_owned(), test.name.clone()])
        .collect()
}

/// The binaries that the demo starts, compiled plain: soonest there. Tests build theirs along with themselves.
pub(crate) fn build() -> Result<()> {
    let build = ["build", "--workspace", "--bins"];
    run("building evenkeeld and evenkeel", cargo().args(build))
}

/// Where they are.
pub(crate) fn bin_dir() -> PathBuf {
    target().join("debug")
}
