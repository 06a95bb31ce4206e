//! `cargo xtask test`.

use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::Result;

use crate::Platform;
use crate::check::{self, Lints};
use crate::determinism::SIMULATED;
use crate::layering::{self, Metadata};
use crate::step::{Beside, Step, cargo, kind_cargo, root, run, target};
use crate::{conformance, platform, prerequisites, simulate};

/// The simulation hardly runs these: firmware in one story of forty, and of the interconnect what passes calls on.
const HARDLY_RUN: [&str; 2] = ["firmware", "interconnect"];

/// Names to cargo what it compiles the workspace by.
pub(crate) const COMPILER: &str = "RUSTC_WORKSPACE_WRAPPER";

/// What computes all the time. Everything else mostly waits: for processes, for timers, for clients.
const COMPUTES: &str = "evenkeel-simulation";

/// What is asked for, whatever becomes of a part of it; nothing where a check fails, or something cannot be built or fetched.
pub(crate) fn run_all(platform: Option<Platform>, checked: bool) -> Result<()> {
    if checked {
        check::can_run(Lints::AsCompiled)?;
    }
    if runs_crates(platform) {
        prerequisites::for_test()?;
    }
    if runs_engines(platform) {
        prerequisites::for_platform()?;
    }
    // Packages are fetched while cargo compiles.
    let fetching = thread::spawn(move || prepare(platform));
    let built = match checked {
        true => check::run(Lints::AsCompiled),
        false => build_all(),
    };
    let fetched = fetching.join().expect("fetching does not panic");
    built.and(fetched)?;
    let engines = match runs_engines(platform) {
        true => platform::start(),
        false => Vec::new(),
    };
    let crates = match runs_crates(platform) {
        true => run_crates(),
        false => Ok(()),
    };
    let engines = platform::outcome(engines);
    crates.and(engines)?;
    eprintln!("== all tests passed");
    Ok(())
}

/// Whether the crates' own tests are asked for, and the clients.
fn runs_crates(platform: Option<Platform>) -> bool {
    platform != Some(Platform::Alone)
}

/// Whether those on real engines are.
fn runs_engines(platform: Option<Platform>) -> bool {
    platform.is_some()
}

/// Whatever the tests need beside what cargo builds.
fn prepare(platform: Option<Platform>) -> Result<()> {
    if runs_engines(platform) {
        platform::prepare()?;
    }
    match runs_crates(platform) {
        true => conformance::prepare(),
        false => Ok(()),
    }
}

fn run_crates() -> Result<()> {
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
    let computing = computing.outcome();
    tests.and(clients).and(computing)
}

/// `cargo test` of the whole workspace, in the one build that all but `--mixed` is tested in: with other packages chosen cargo would compile
/// the dependencies anew, with other features. What the simulation runs ten thousand times is optimised; everything else is compiled
/// plain, in half the time, and so are all tests. Level 1 compiles in a minute of CPU less, and makes a seed cost half as much again.
pub(crate) fn cargo_test() -> Command {
    built_for_tests(cargo())
}

fn built_for_tests(mut cargo: Command) -> Command {
    for name in SIMULATED.iter().filter(|name| !HARDLY_RUN.contains(name)) {
        let level = format!("profile.dev.package.evenkeel-{name}.opt-level=2");
        cargo.args(["--config", &level]);
    }
    if std::env::var_os(COMPILER).is_none() {
        cargo.env(COMPILER, root().join("crates/xtask/compile"));
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

/// The binaries that the demo starts, and mixed clusters: compiled plain, which is sooner done than what tests build along with themselves.
pub(crate) fn build() -> Result<()> {
    let build = ["build", "--workspace", "--bins"];
    run("building evenkeeld and evenkeel", cargo().args(build))
}

/// Where they are.
pub(crate) fn bin_dir() -> PathBuf {
    target().join("debug")
}
