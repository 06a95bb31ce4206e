//! `cargo xtask check` and `generate`.

use anyhow::Result;

use crate::step::{self, cargo};
use crate::{determinism, layering, paths, prerequisites, unused};

/// Tells the tests that compare generated files to write them instead.
const WRITE: &str = "EVENKEEL_WRITE_GENERATED";

fn lints() -> Result<()> {
    step::run("formatting", cargo().args(["fmt", "--all", "--check"]))?;
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

pub(crate) fn run() -> Result<()> {
    prerequisites::for_check()?;
    lints()?;
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
