//! The unmodified Python client, of two releases, and schemathesis, against labs that the tests bring up themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::step::{root, run, target};

/// A client, in a virtual environment of its own.
struct Client {
    title: &'static str,
    environment: &'static str,
    /// Below `tests`.
    requirements: &'static str,
    /// What it runs, below `tests`.
    tests: &'static str,
    network: Network,
}

/// What a client reaches.
enum Network {
    /// Whatever this machine reaches.
    Any,
    /// This machine only: it makes up addresses.
    Loopback,
}

const OWN: Client = Client {
    title: "Python client against a lab",
    environment: "python",
    requirements: "python/requirements.txt",
    tests: "python",
    network: Network::Any,
};

/// Its calls are the same; what differs is what it accepts.
const LATE: Client = Client {
    title: "Python client of a late release against a lab",
    environment: "python-late",
    requirements: "python/requirements-late.txt",
    tests: "python/test_conformance.py",
    network: Network::Any,
};

const SCHEMATHESIS: Client = Client {
    title: "schemathesis against a lab",
    environment: "python-openapi",
    requirements: "openapi/requirements.txt",
    tests: "openapi",
    network: Network::Loopback,
};

fn tests() -> PathBuf {
    root().join("tests")
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
        let mut pytest = match self.network {
            Network::Any => Command::new(self.python()),
            Network::Loopback => {
                let mut alone = Command::new("unshare");
                alone.arg("--net").arg(self.python());
                alone
            }
        };
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
    LATE.prepare()?;
    SCHEMATHESIS.prepare()
}

/// Runs them with the programs in `bin`, side by side: most of their time is waiting.
pub(crate) fn run_client(bin: &Path) -> Result<()> {
    let beside = [LATE, SCHEMATHESIS].map(|client| {
        let mut pytest = client.pytest(bin);
        pytest.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Read while they run: a full pipe would hold them up.
        let output = std::thread::spawn(move || pytest.output());
        (client.title, output)
    });
    let mut outcome = run(OWN.title, &mut OWN.pytest(bin));
    for (title, output) in beside {
        let output = output.join().expect("running a program does not panic");
        outcome = outcome.and(told(title, output));
    }
    outcome
}

fn told(title: &str, output: std::io::Result<Output>) -> Result<()> {
    let output = output.with_context(|| format!("{title}: cannot run"))?;
    eprintln!("== {title}");
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{title}: failed ({}): {said}", output.status);
    }
    Ok(())
}
