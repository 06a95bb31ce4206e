//! The unmodified Python client against a lab, which the tests bring up themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::step::{root, run, target};

fn venv() -> PathBuf {
    target().join("python")
}

fn tests() -> PathBuf {
    root().join("tests/python")
}

/// A virtual environment with the clients. Made before the long tests run, so that a missing network
/// shows early.
pub(crate) fn prepare() -> Result<()> {
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
    run(
        "Python clients",
        install.arg(tests().join("requirements.txt")),
    )
}

/// Runs them with the programs in `bin`.
pub(crate) fn run_client(bin: &Path) -> Result<()> {
    let mut pytest = Command::new(venv().join("bin/python"));
    pytest
        .args(["-m", "pytest", "-v"])
        .arg(tests())
        .current_dir(root());
    // A cluster named by the environment is for people who try one by hand.
    pytest
        .env_remove("EVENKEEL_HOST")
        .env("EVENKEEL_BIN_DIR", bin);
    run("Python client against a lab", &mut pytest)
}
