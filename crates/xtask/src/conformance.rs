//! The unmodified clients, each against labs that the tests bring up themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};

use crate::step::{root, run, target};

/// A virtual environment, named by its folder in the target folder.
struct Environment {
    folder: &'static str,
    /// Below `tests`.
    requirements: &'static str,
}

/// The client of the API's own release.
const PYTHON: Environment = Environment {
    folder: "python",
    requirements: "python/requirements.txt",
};

/// A late release of it. Its calls are the same; what differs is what it accepts.
const PYTHON_LATE: Environment = Environment {
    folder: "python-late",
    requirements: "python/requirements-late.txt",
};

const ANSIBLE: Environment = Environment {
    folder: "ansible",
    requirements: "python/requirements-ansible.txt",
};

const SCHEMATHESIS: Environment = Environment {
    folder: "python-openapi",
    requirements: "openapi/requirements.txt",
};

/// The one whose pip fills the others too.
const INSTALLER: Environment = ANSIBLE;

/// Where the Ansible collection is kept, in the target folder.
const COLLECTIONS: &str = "ansible-collections";

/// One story, or several that share a lab.
struct Suite {
    title: &'static str,
    environment: Environment,
    /// Below `tests`.
    tests: &'static [&'static str],
    network: Network,
}

/// What a suite reaches.
enum Network {
    /// Whatever this machine reaches.
    Any,
    /// This machine only: it makes up addresses.
    Loopback,
}

/// Each waits most of its time: the collection looks once a minute, updates take theirs. The longest first.
const SUITES: &[Suite] = &[
    Suite {
        title: "Ansible's modules against a lab",
        environment: ANSIBLE,
        tests: &["python/test_ansible_tasks.py"],
        network: Network::Any,
    },
    Suite {
        title: "Ansible and monitoring while the cluster's address is away",
        environment: ANSIBLE,
        tests: &["python/test_ansible_away.py"],
        network: Network::Any,
    },
    Suite {
        title: "schemathesis against a lab",
        environment: SCHEMATHESIS,
        tests: &["openapi"],
        network: Network::Loopback,
    },
    Suite {
        title: "Ansible updates a lab",
        environment: ANSIBLE,
        tests: &["python/test_ansible_update.py"],
        network: Network::Any,
    },
    Suite {
        title: "Python client and the document's calls against labs",
        environment: PYTHON,
        tests: &[
            "python/test_conformance.py",
            "python/test_download.py",
            "python/test_document.py",
            "python/test_sites.py",
            "python/test_certificates.py",
            "python/test_firmware.py",
            "python/test_inventory.py",
            "python/test_waiting.py",
        ],
        network: Network::Any,
    },
    Suite {
        title: "Python client of a late release against a lab",
        environment: PYTHON_LATE,
        tests: &[
            "python/test_conformance.py",
            "python/test_download.py",
            "python/test_certificates.py",
            "python/test_firmware.py",
            "python/test_inventory.py",
            "python/test_waiting.py",
        ],
        network: Network::Any,
    },
];

fn tests() -> PathBuf {
    root().join("tests")
}

impl Environment {
    fn python(&self) -> PathBuf {
        target().join(self.folder).join("bin/python")
    }

    /// Makes it, and fills it with what it is meant to hold.
    fn prepare(&self) -> Result<()> {
        if !self.python().exists() {
            self.make(&["--without-pip"])?;
        }
        // What is never imported need not be compiled.
        let mut install = Command::new(INSTALLER.python());
        install.args(["-m", "pip", "--python"]).arg(self.python());
        install.args(["install", "--quiet", "--no-compile"]);
        install.args(["--disable-pip-version-check", "-r"]);
        install.arg(tests().join(self.requirements));
        run("Python packages", &mut install)
    }

    fn make(&self, options: &[&str]) -> Result<()> {
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).args(options);
        make.arg(target().join(self.folder));
        run("Python environment", &mut make)
    }
}

impl Suite {
    fn pytest(&self, bin: &Path) -> Command {
        let mut pytest = match self.network {
            Network::Any => Command::new(self.environment.python()),
            Network::Loopback => {
                let mut alone = Command::new("unshare");
                alone.arg("--net").arg(self.environment.python());
                alone
            }
        };
        pytest
            .args(["-m", "pytest", "-v", "--durations=5"])
            .args(self.tests.iter().map(|file| tests().join(file)))
            .current_dir(root());
        // A cluster named by the environment is for people who try one by hand.
        pytest
            .env_remove("EVENKEEL_HOST")
            .env("EVENKEEL_BIN_DIR", bin)
            .env("EVENKEEL_COLLECTIONS", target().join(COLLECTIONS));
        pytest
    }

    /// What it said, once it has ended.
    fn outcome(&self, output: std::io::Result<Output>) -> Result<()> {
        let done = output.with_context(|| format!("{}: cannot run it", self.title))?;
        eprintln!("== {}", self.title);
        eprint!("{}", String::from_utf8_lossy(&done.stdout));
        if !done.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&done.stderr));
            eprintln!("== {}: failed ({})", self.title, done.status);
            bail!("{}: failed ({})", self.title, done.status);
        }
        Ok(())
    }
}

/// Virtual environments with the clients, and the collection. Made before the long tests run, so that a
/// missing network shows early.
pub(crate) fn prepare() -> Result<()> {
    if !INSTALLER.python().with_file_name("pip").exists() {
        INSTALLER.make(&[])?;
    }
    for environment in [PYTHON, PYTHON_LATE, ANSIBLE, SCHEMATHESIS] {
        environment.prepare()?;
    }
    let mut fetch = Command::new(INSTALLER.python());
    fetch.arg(tests().join("python/fetch_collection.py"));
    fetch.arg(target().join(COLLECTIONS));
    run("Ansible collection", &mut fetch)
}

/// Clients at work.
pub(crate) struct Clients(Vec<(&'static Suite, JoinHandle<std::io::Result<Output>>)>);

/// Runs them with the programs in `bin`, side by side.
pub(crate) fn start_clients(bin: &Path) -> Clients {
    let start = |suite: &'static Suite| {
        let mut pytest = suite.pytest(bin);
        pytest.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Read while they run: a full pipe would hold them up.
        (suite, thread::spawn(move || pytest.output()))
    };
    Clients(SUITES.iter().map(start).collect())
}

impl Clients {
    /// What they came to. All run to their end, whatever becomes of the others.
    pub(crate) fn outcome(self) -> Result<()> {
        let end = |(suite, running): (&Suite, JoinHandle<_>)| {
            let output = running.join().expect("running a program does not panic");
            suite.outcome(output)
        };
        let outcomes: Vec<Result<()>> = self.0.into_iter().map(end).collect();
        outcomes.into_iter().collect()
    }
}
