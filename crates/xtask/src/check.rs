//! `cargo xtask check` and `generate`.

use anyhow::{Result, ensure};

use crate::step::{self, cargo};
use crate::{determinism, layering, paths, prerequisites, test, unused};

/// Tells the tests that compare generated files to write them instead.
const WRITE: &str = "EVENKEEL_WRITE_GENERATED";

/// Names to cargo what it compiles the workspace by.
const COMPILER: &str = "RUSTC_WORKSPACE_WRAPPER";

/// How lints and documentation are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lints {
    /// By themselves: nothing is compiled for it that could be run.
    Alone,
    /// As the programs and tests are compiled, by [`COMPILER`].
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
    let mut all = test::all_but_simulation(&layering::metadata()?);
    let all = all.args(["--examples", "--no-run"]);
    step::run("programs and tests, lints and documentation", all)
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
    step::run("generated files", &mut generated())?;
    eprintln!("== all checks passed");
    Ok(())
}

pub(crate) fn generate() -> Result<()> {
    step::run("generated files", generated().env(WRITE, "1"))
}

/// Each generated file is compared by a test named `generated` of the crate that knows its content.
fn generated() -> std::process::Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--test", "generated"]);
    command
}
