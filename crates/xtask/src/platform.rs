//! `cargo xtask test --platform`: the engines that real controllers are run by, each of them real.

use std::process::Command;

use anyhow::{Result, bail};

use crate::step::{Beside, Step, cargo, output, run};
use crate::test::cargo_test;

/// Tests that need something real, and are ignored without it.
struct Suite {
    title: &'static str,
    /// Names the test target to cargo.
    target: &'static [&'static str],
    /// Names the tests in it, and how they are run.
    tests: &'static [&'static str],
    /// Debian's packages that it needs.
    packages: &'static [&'static str],
}

/// What lives on the hosts of `crates/hosts`: it counts milliseconds of silence, so nothing that computes for long runs beside it. The
/// guest comes after it: it wants a whole core for minutes, and beside hosts would wait for it until it is given up.
const HOSTS: &[Suite] = &[
    Suite {
        title: "failover by Pacemaker",
        target: &["--test", "pacemaker"],
        tests: &["--test-threads", "1"],
        packages: &[
            "pacemaker",
            "corosync",
            "pacemaker-cli-utils",
            "resource-agents",
            "fence-agents",
            "iproute2",
            "iputils-arping",
            "iputils-ping",
            "nftables",
            "e2fsprogs",
        ],
    },
    Suite {
        title: "updates of real hosts",
        target: &["--test", "whole"],
        tests: &["--test-threads", "1"],
        packages: &["etcd-server", "etcd-client"],
    },
    Suite {
        title: "systemd-boot in a guest",
        target: &["--test", "guest"],
        tests: &["--test-threads", "1"],
        packages: &[
            "qemu-system-x86",
            "ovmf",
            "systemd-boot-efi",
            "gdisk",
            "dosfstools",
            "mtools",
            "busybox-static",
            "cpio",
            "kmod",
            "iproute2",
            "util-linux",
            "binutils",
        ],
    },
];

const SERVICES: &[Suite] = &[
    Suite {
        title: "the installed package in a container",
        target: &["--test", "installed"],
        tests: &["--test-threads", "1"],
        packages: &["debootstrap", "systemd-container", "dpkg-dev", "lintian"],
    },
    Suite {
        title: "the record on etcd",
        target: &["--test", "etcd"],
        tests: &[],
        packages: &["etcd-server", "etcd-client"],
    },
    Suite {
        title: "the record's resource agent",
        target: &["--test", "pool"],
        tests: &["agent::"],
        packages: &["resource-agents"],
    },
    Suite {
        title: "GRUB, RAUC and a service processor",
        target: &["--lib"],
        tests: &["slots::tests::real", "power::tests"],
        packages: &["grub-common", "rauc", "dbus", "openipmi", "ipmitool"],
    },
    Suite {
        title: "arrays, volumes and disks in a guest",
        target: &["--test", "kernel"],
        tests: &["--exact", "outside"],
        packages: &[],
    },
];

/// Each is done one after the other, beside the others.
const CHAINS: &[&[Suite]] = &[HOSTS, SERVICES];

/// Installs what is missing.
pub(crate) fn prepare() -> Result<()> {
    install()?;
    cargo_deb()
}

/// Begins everything, beside what else is done. All is built already.
pub(crate) fn start() -> Vec<Beside> {
    let step = |suite: &Suite| {
        let mut tests = cargo_test();
        tests.args(suite.target);
        tests.args(["--", "--ignored"]).args(suite.tests);
        Step::new(suite.title, tests)
    };
    let chains = CHAINS.iter();
    chains
        .map(|chain| Beside::start(chain.iter().map(step).collect()))
        .collect()
}

/// What all of it came to.
pub(crate) fn outcome(chains: Vec<Beside>) -> Result<()> {
    let outcomes: Vec<Result<()>> = chains.into_iter().map(Beside::outcome).collect();
    outcomes.into_iter().collect()
}

/// Installs what is missing of Debian's packages.
fn install() -> Result<()> {
    let suites = CHAINS.iter().copied().flatten();
    let wanted = suites.flat_map(|suite| suite.packages);
    let mut missing: Vec<&str> = wanted.copied().filter(|it| version(it).is_none()).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    run("reading Debian's lists", apt().args(["update", "-qq"]))?;
    let title = format!("installing {}", missing.join(" "));
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    let named: Vec<String> = missing.into_iter().flat_map(in_one_version).collect();
    // Only what goes together in one version is ever named by its version.
    let downgrades = named.iter().any(|it| it.contains('='));
    let allow = downgrades.then_some("--allow-downgrades");
    run(&title, apt().args(install).args(allow).args(named))
}

/// QEMU's packages go together in one version only, and its tools may be there already: from another of Debian's collections, or
/// in a version that is not offered any more.
fn in_one_version(package: &'static str) -> Vec<String> {
    const TOOLS: &str = "qemu-utils";
    let Some(there) = version(TOOLS).filter(|_| package.starts_with("qemu-system")) else {
        return vec![package.to_owned()];
    };
    let offered = offered(package);
    match offered.first() {
        Some(newest) if !offered.contains(&there) => {
            vec![format!("{package}={newest}"), format!("{TOOLS}={newest}")]
        }
        Some(_) => vec![format!("{package}={there}")],
        None => vec![package.to_owned()],
    }
}

/// The versions of a package that can be installed, the newest first.
fn offered(package: &str) -> Vec<String> {
    let said = output(Command::new("apt-cache").args(["madison", package]));
    let lines = said.unwrap_or_default();
    let versions = lines.lines().filter_map(|line| line.split('|').nth(1));
    versions.map(|it| it.trim().to_owned()).collect()
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// The version of a package that is installed.
fn version(package: &str) -> Option<String> {
    let mut query = Command::new("dpkg-query");
    let format = "${db:Status-Status} ${Version}";
    query.args(["--show", "--showformat", format, package]);
    let said = output(&mut query).ok()?;
    said.strip_prefix("installed ").map(str::to_owned)
}

/// Makes the package that the container is given.
fn cargo_deb() -> Result<()> {
    let mut asked = cargo();
    if output(asked.args(["deb", "--version"])).is_ok() {
        return Ok(());
    }
    let install = [
        "install",
        "--quiet",
        "--locked",
        "--debug",
        "--no-default-features",
        "cargo-deb",
    ];
    match run("installing cargo-deb", cargo().args(install)) {
        Ok(()) => Ok(()),
        Err(error) => bail!("{error}: the Debian package is made with it"),
    }
}
