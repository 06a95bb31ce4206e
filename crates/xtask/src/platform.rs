//! `cargo xtask test --platform`: the engines that real controllers are run by, each of them real.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::prerequisites;
use crate::step::{Beside, Step, cargo, run};

/// Tests of one target that need something real, and are ignored without it.
struct Suite {
    title: &'static str,
    /// The test target.
    target: &'static str,
    /// Debian's packages that it needs.
    packages: &'static [&'static str],
}

const SUITES: &[Suite] = &[];

/// All of it, whatever becomes of a part, except where the parts cannot be built.
pub(crate) fn run_all() -> Result<()> {
    prerequisites::for_platform()?;
    install()?;
    let all = ["build", "--workspace", "--bins", "--tests"];
    run("building programs and tests", cargo().args(all))?;
    start().outcome()
}

/// The suites, one after the other, beside what else is done. Programs and tests are built already.
pub(crate) fn start() -> Beside {
    let steps = SUITES.iter().map(|suite| {
        let mut tests = cargo();
        tests.args(["test", "--workspace", "--test", suite.target]);
        tests.args(["--", "--ignored", "--test-threads", "1"]);
        Step::new(suite.title, tests)
    });
    Beside::start(steps.collect())
}

/// Installs what is missing of Debian's packages.
pub(crate) fn install() -> Result<()> {
    let wanted = SUITES.iter().flat_map(|suite| suite.packages);
    let missing: Vec<&str> = wanted.copied().filter(|it| !is_installed(it)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run("reading Debian's lists", apt().arg("update").arg("-qq"))?;
    let title = format!("installing {}", missing.join(" "));
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    run(&title, apt().args(install).args(&missing))
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    let state = query.output();
    state.is_ok_and(|state| state.stdout == b"installed")
}
