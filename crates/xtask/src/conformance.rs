//! The unmodified Python client, of two releases, against labs that the tests bring up themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::step::{root, run, target};

/// A release of the client, in a virtual environment of its own.
struct Client {
    title: &'static str,
    environment: &'static str,
    requirements: &'static str,
    /// What it runs, below `tests/python`.
    tests: &'static str,
}

const OWN: Client = Client {
    title: "Python client against a lab",
    environment: "python",
    requirements: "requirements.txt",
    tests: "",
};

/// Its calls are the same; what differs is what it accepts.
const LATE: Client = Client {
    title: "Python client of a late release against a lab",
    environment: "python-late",
    requirements: "requirements-late.txt",
    tests: "test_conformance.py",
};

fn tests() -> PathBuf {
    root().join("tests/python")
}

impl Client {
    fn python(&self) -> PathBuf {
        target().join(self.environment).join("bin/python")
    }

    fn prepare(&self) -> Result<()> {
        if !self.python().exists() {
            let mut make = Command::new("python3");
            make.args(["-m", "venv"])
                .arg(target().join(self.environment));
            run("Python environment", &mut make)?;
        }
        let mut install = Command::new(self.python());
        install.args(["-m", "pip", "install", "--quiet"]);
        install.args(["--disable-pip-version-check", "-r"]);
        install.arg(tests().join(self.requirements));
        run("Python clients", &mut install)
    }

    fn pytest(&self, bin: &Path) -> Command {
        let mut pytest = Command::new(self.python());
        pytest
            .args(["-m", "pytest", "-v"])
            .arg(tests().join(self.tests))
            .current_dir(root());
        // A cluster named by the environment is for people who try one by hand.
        pytest
            .env_remove("EVENKEEL_HOST")
            .env("EVENKEEL_BIN_DIR", bin);
        pytest
    }
}

/// Virtual environments with the clients. Made before the long tests run, so that a missing network
/// shows early.
pub(crate) fn prepare() -> Result<()> {
    OWN.prepare()?;
    LATE.prepare()
}

/// Runs them with the programs in `bin`, side by side: most of their time is waiting.
pub(crate) fn run_client(bin: &Path) -> Result<()> {
    let mut late = LATE.pytest(bin);
    late.stdout(Stdio::piped()).stderr(Stdio::piped());
    let late = late.spawn().context("cannot run the late Python client")?;
    let own = run(OWN.title, &mut OWN.pytest(bin));
    let late = late.wait_with_output();
    own?;
    let late = late.context("the late Python client")?;
    eprintln!("== {}", LATE.title);
    eprint!("{}", String::from_utf8_lossy(&late.stdout));
    if !late.status.success() {
        let said = String::from_utf8_lossy(&late.stderr);
        bail!("{}: failed ({}): {said}", LATE.title, late.status);
    }
    Ok(())
}
