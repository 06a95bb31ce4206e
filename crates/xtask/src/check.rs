//! `cargo xtask check` and `generate`.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::layering::{Metadata, Package};
use crate::step::{self, cargo};
use crate::{determinism, layering, paths, prerequisites, test, unused};

/// Tells the tests that compare generated files to write them instead.
const WRITE: &str = "EVENKEEL_WRITE_GENERATED";

/// Names to cargo what it compiles the workspace by.
const COMPILER: &str = "RUSTC_WORKSPACE_WRAPPER";

/// How lints and documentation are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Lints {
    /// By themselves: nothing is compiled for it that could be run.
    Alone,
    /// As programs and tests are compiled by [`COMPILER`].
    AsCompiled,
}

fn lints() -> Result<()> {
    let lints = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step::run("lints", cargo().args(lints))?;
    let mut docs = cargo();
    docs.args([
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    step::run("documentation", docs.env("RUSTDOCFLAGS", "-D warnings"))
}

fn lints_as_compiled() -> Result<()> {
    let named = std::env::var_os(COMPILER).is_some();
    ensure!(named, "{COMPILER} is not set: nothing would be linted");
    all_are_looked_at(&layering::metadata()?)?;
    let mut all = test::cargo_test();
    let all = all.args(["--tests", "--examples", "--no-run"]);
    step::run("programs and tests, lints and documentation", all)
}

/// Only what is compiled for others than its own unit tests is documented with them: for a crate that uses it, for integration tests, or
/// to run this. And what is optimised is linted with its unit tests alone.
fn all_are_looked_at(metadata: &Metadata) -> Result<()> {
    let has = |package: &Package, kind| package.targets.iter().any(|it| it.is(kind));
    let is_used = |package: &Package| {
        let mut used = metadata.packages.iter().flat_map(|it| &it.dependencies);
        used.any(|it| it.name == package.name)
    };
    for package in &metadata.packages {
        let name = &package.name;
        let compiled = has(package, "test") || is_used(package) && !has(package, "bin");
        ensure!(
            compiled || name == env!("CARGO_PKG_NAME"),
            "{name} has neither integration tests nor users: its documentation is not looked at"
        );
        ensure!(
            package.targets.iter().all(|it| it.test || !it.is("lib")),
            "{name} compiles its library for no unit tests: it may not be linted"
        );
    }
    Ok(())
}

pub(crate) fn run(how: Lints) -> Result<()> {
    prerequisites::for_check()?;
    step::run("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    match how {
        Lints::Alone => lints()?,
        Lints::AsCompiled => lints_as_compiled()?,
    }
    eprintln!("== arrows between crates");
    let metadata = layering::metadata()?;
    layering::check(&metadata)?;
    eprintln!("== unused dependencies");
    unused::check(&metadata)?;
    eprintln!("== what the simulation may not do");
    determinism::check()?;
    eprintln!("== paths of the building machine");
    paths::check()?;
    step::run("generated files", &mut generated(how))?;
    eprintln!("== all checks passed");
    Ok(())
}

pub(crate) fn generate() -> Result<()> {
    step::run("generated files", generated(Lints::Alone).env(WRITE, "1"))
}

/// Each generated file is compared by a test named `generated` of the crate that knows its content.
fn generated(how: Lints) -> Command {
    let mut tests = match how {
        Lints::Alone => plain_test(),
        Lints::AsCompiled => test::cargo_test(),
    };
    tests.args(["--quiet", "--test", "generated"]);
    tests
}

/// As whoever changes a line last compiled it.
fn plain_test() -> Command {
    let mut test = cargo();
    test.args(["test", "--workspace"]);
    test
}
