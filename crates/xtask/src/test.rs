//! `cargo xtask test`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::prerequisites;
use crate::step::{cargo, root, run, target};

/// Where the binaries that tests start are.
const BIN_DIR: &str = "EVENKEEL_BIN_DIR";

pub(crate) fn run_all() -> Result<()> {
    prerequisites::for_test()?;
    build()?;
    conformance_environment()?;
    let mut tests = cargo();
    tests
        .args(["test", "--workspace", "--no-fail-fast"])
        .env(BIN_DIR, bin_dir());
    run(
        "tests of all crates, with labs of real processes",
        &mut tests,
    )?;
    conformance()?;
    eprintln!("== all tests passed");
    Ok(())
}

/// The binaries that tests and the demo start.
pub(crate) fn build() -> Result<()> {
    let build = [
        "build",
        "-p",
        "evenkeel-daemon",
        "-p",
        "evenkeel-cli",
        "--bins",
    ];
    run("building evenkeeld and evenkeel", cargo().args(build))
}

pub(crate) fn bin_dir() -> PathBuf {
    target().join("debug")
}

fn venv() -> PathBuf {
    target().join("python")
}

fn tests() -> PathBuf {
    root().join("tests/python")
}

/// A virtual environment with the clients. Made before the long tests run, so that a missing network
/// shows early.
fn conformance_environment() -> Result<()> {
    let python = venv().join("bin/python");
    if !python.exists() {
        run(
            "Python environment",
            Command::new("python3").args(["-m", "venv"]).arg(venv()),
        )?;
    }
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ]);
    run("Python clients", install.arg(requirements(&tests())))
}

fn requirements(tests: &Path) -> PathBuf {
    tests.join("requirements.txt")
}

fn conformance() -> Result<()> {
    let mut command = Command::new(venv().join("bin/python"));
    command
        .args(["-m", "pytest", "-q"])
        .arg(tests())
        .current_dir(root());
    // A path in either would win over the certificate that the tests name.
    command
        .env_remove("REQUESTS_CA_BUNDLE")
        .env_remove("CURL_CA_BUNDLE");
    command.env(BIN_DIR, bin_dir());
    run("Python client against a lab", &mut command)
}
