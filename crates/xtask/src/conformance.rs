//! The unmodified clients, each against labs that the tests bring up themselves.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::step::{root, run, target};

/// A virtual environment, named by its folder in the target folder.
struct Environment {
    folder: &'static str,
    requirements: &'static str,
}

/// The client of the API's own release.
const PYTHON: Environment = Environment {
    folder: "python",
    requirements: "requirements.txt",
};

/// A late release of it. Its calls are the same; what differs is what it accepts.
const PYTHON_LATE: Environment = Environment {
    folder: "python-late",
    requirements: "requirements-late.txt",
};

const ANSIBLE: Environment = Environment {
    folder: "ansible",
    requirements: "requirements-ansible.txt",
};

/// Where the Ansible collection is kept, in the target folder.
const COLLECTIONS: &str = "ansible-collections";

/// One story, or several that share a lab.
struct Suite {
    title: &'static str,
    environment: Environment,
    /// Below `tests/python`.
    tests: &'static [&'static str],
}

const FIRST: Suite = Suite {
    title: "Python client and the document's calls against labs",
    environment: PYTHON,
    tests: &[
        "test_conformance.py",
        "test_download.py",
        "test_document.py",
        "test_sites.py",
        "test_certificates.py",
        "test_inventory.py",
        "test_waiting.py",
    ],
};

/// Each waits most of its time: the collection looks once a minute.
const BESIDE: &[Suite] = &[
    Suite {
        title: "Ansible and monitoring while the cluster's address is away",
        environment: ANSIBLE,
        tests: &["test_ansible_away.py"],
    },
    Suite {
        title: "Ansible updates a lab",
        environment: ANSIBLE,
        tests: &["test_ansible_update.py"],
    },
    Suite {
        title: "Ansible's modules against a lab",
        environment: ANSIBLE,
        tests: &["test_ansible_tasks.py"],
    },
    Suite {
        title: "Python client of a late release against a lab",
        environment: PYTHON_LATE,
        tests: &[
            "test_conformance.py",
            "test_download.py",
            "test_certificates.py",
            "test_inventory.py",
            "test_waiting.py",
        ],
    },
];

fn tests() -> PathBuf {
    root().join("tests/python")
}

impl Environment {
    fn python(&self) -> PathBuf {
        target().join(self.folder).join("bin/python")
    }

    fn prepare(&self) -> Result<()> {
        if !self.python().exists() {
            let mut make = Command::new("python3");
            make.args(["-m", "venv"]).arg(target().join(self.folder));
            run("Python environment", &mut make)?;
        }
        let mut install = Command::new(self.python());
        install.args(["-m", "pip", "install", "--quiet"]);
        install.args(["--disable-pip-version-check", "-r"]);
        install.arg(tests().join(self.requirements));
        run("Python packages", &mut install)
    }
}

impl Suite {
    fn pytest(&self, bin: &Path) -> Command {
        let mut pytest = Command::new(self.environment.python());
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

    fn start(&self, bin: &Path) -> Result<Child> {
        let mut pytest = self.pytest(bin);
        pytest.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = pytest.spawn();
        started.with_context(|| format!("{}: cannot run it", self.title))
    }

    /// Waits for it, and shows what it said.
    fn finish(&self, running: Child) -> Result<()> {
        let done = running
            .wait_with_output()
            .with_context(|| self.title.to_owned())?;
        eprintln!("== {}", self.title);
        eprint!("{}", String::from_utf8_lossy(&done.stdout));
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("{}: failed ({}): {said}", self.title, done.status);
        }
        Ok(())
    }
}

/// Virtual environments with the clients, and the collection. Made before the long tests run, so that a
/// missing network shows early.
pub(crate) fn prepare() -> Result<()> {
    for environment in [PYTHON, PYTHON_LATE, ANSIBLE] {
        environment.prepare()?;
    }
    let mut fetch = Command::new(ANSIBLE.python());
    fetch.arg(tests().join("fetch_collection.py"));
    fetch.arg(target().join(COLLECTIONS));
    run("Ansible collection", &mut fetch)
}

/// Runs them with the programs in `bin`, side by side: most of their time is waiting. All run to their
/// end, whatever becomes of the others.
pub(crate) fn run_clients(bin: &Path) -> Result<()> {
    let beside: Vec<Result<Child>> = BESIDE.iter().map(|suite| suite.start(bin)).collect();
    let mut outcomes = vec![run(FIRST.title, &mut FIRST.pytest(bin))];
    for (suite, started) in BESIDE.iter().zip(beside) {
        outcomes.push(started.and_then(|running| suite.finish(running)));
    }
    outcomes.into_iter().collect()
}
