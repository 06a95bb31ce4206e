//! `cargo xtask check` and `generate`.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::layering::{Metadata, Package};
use crate::step::{self, cargo, root};
use crate::test::{COMPILER, cargo_test};
use crate::{determinism, layering, paths, prerequisites, unused};

/// Tells the tests that compare generated files to write them instead.
const WRITE: &str = "EVENKEEL_WRITE_GENERATED";

/// Lints and documents on the way, below the repository's root.
const LINTING_COMPILER: &str = ".ci/compile";

/// How lints and documentation are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Lints {
    /// By themselves: nothing is compiled for it that could be run.
    Alone,
    /// As programs and tests are compiled by [`LINTING_COMPILER`].
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

fn lints_as_compiled(metadata: &Metadata) -> Result<()> {
    all_are_looked_at(metadata)?;
    let mut all = cargo_test();
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

/// What would fail late, or fail to look.
pub(crate) fn can_run(how: Lints) -> Result<()> {
    if let Lints::AsCompiled = how {
        let named = std::env::var_os(COMPILER).unwrap_or_default();
        let linting = root().join(LINTING_COMPILER);
        let is_named = fs::canonicalize(&named).ok() == Some(fs::canonicalize(&linting)?);
        ensure!(
            is_named,
            "nothing would be linted: {COMPILER} is {named:?}, not {linting:?}"
        );
    }
    prerequisites::for_check()
}

/// All of it, what is soonest looked at first.
pub(crate) fn run(how: Lints) -> Result<()> {
    can_run(how)?;
    step::run("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    eprintln!("== arrows between crates");
    let metadata = layering::metadata()?;
    layering::check(&metadata)?;
    eprintln!("== unused dependencies");
    unused::check(&metadata)?;
    eprintln!("== what the simulation may not do");
    determinism::check()?;
    eprintln!("== paths of the building machine");
    paths::check()?;
    match how {
        Lints::Alone => lints()?,
        Lints::AsCompiled => lints_as_compiled(&metadata)?,
    }
    step::run("generated files", &mut generated())?;
    eprintln!("== all checks passed");
    Ok(())
}

pub(crate) fn generate() -> Result<()> {
    step::run("generated files", generated().env(WRITE, "1"))
}

/// Each generated file is compared by a test named `generated` of the crate that knows its content.
fn generated() -> Command {
    let mut tests = cargo_test();
    tests.args(["--quiet", "--test", "generated"]);
    tests
}
