//! What must be on the machine. A missing one fails with its name; nothing is skipped.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

struct Prerequisite {
    /// As a person would install it.
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

const CC: Prerequisite = Prerequisite {
    name: "a C compiler (cc)",
    program: "cc",
    arguments: &["--version"],
};
const GIT: Prerequisite = Prerequisite {
    name: "git",
    program: "git",
    arguments: &["--version"],
};
const TAR: Prerequisite = Prerequisite {
    name: "GNU tar (tar)",
    program: "tar",
    arguments: &["--version"],
};
const RUSTFMT: Prerequisite = Prerequisite {
    name: "rustfmt",
    program: "rustfmt",
    arguments: &["--version"],
};
const CLIPPY: Prerequisite = Prerequisite {
    name: "clippy",
    program: "cargo-clippy",
    arguments: &["--version"],
};
const PYTHON: Prerequisite = Prerequisite {
    name: "Python 3.11 or later (python3)",
    program: "python3",
    // Ansible needs that one.
    arguments: &["-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
};
const VENV: Prerequisite = Prerequisite {
    name: "Python's venv (Debian's python3-venv)",
    program: "python3",
    arguments: &["-c", "import venv, ensurepip"],
};
const MKE2FS: Prerequisite = Prerequisite {
    name: "mke2fs (Debian's e2fsprogs)",
    program: "mke2fs",
    arguments: &["-V"],
};
const MOUNTS: Prerequisite = Prerequisite {
    name: "root, for mounts in a namespace of their own (unshare --mount)",
    program: "unshare",
    arguments: &["--mount", "--propagation", "private", "true"],
};

const CURL: Prerequisite = Prerequisite {
    name: "curl",
    program: "curl",
    arguments: &["--version"],
};

const CARGO_DEB: Prerequisite = Prerequisite {
    name: "cargo-deb (cargo install --locked cargo-deb)",
    program: "cargo-deb",
    arguments: &["--version"],
};
const STRIP: Prerequisite = Prerequisite {
    name: "strip (Debian's binutils)",
    program: "strip",
    arguments: &["--version"],
};
const DPKG: Prerequisite = Prerequisite {
    name: "Debian's dpkg-dev (dpkg-shlibdeps)",
    program: "dpkg-shlibdeps",
    arguments: &["--version"],
};

const APT: Prerequisite = Prerequisite {
    name: "Debian (apt-get)",
    program: "apt-get",
    arguments: &["--version"],
};

const GZIP: Prerequisite = Prerequisite {
    name: "gzip",
    program: "gzip",
    arguments: &["--version"],
};
const CPIO: Prerequisite = Prerequisite {
    name: "cpio",
    program: "cpio",
    arguments: &["--version"],
};
const OPENSSL: Prerequisite = Prerequisite {
    name: "openssl",
    program: "openssl",
    arguments: &["version"],
};
const SWUPDATE: Prerequisite = Prerequisite {
    name: "SWUpdate (Debian's swupdate)",
    program: "swupdate",
    arguments: &["--version"],
};

pub(crate) fn for_check() -> Result<()> {
    need(&[CC, GIT, RUSTFMT, CLIPPY])
}

pub(crate) fn for_test() -> Result<()> {
    need(&[CC, TAR, PYTHON, VENV, MKE2FS, MOUNTS, CURL])
}

/// Beside what Debian's packages bring, which are installed.
pub(crate) fn for_platform() -> Result<()> {
    need(&[CC, TAR, PYTHON, MKE2FS, MOUNTS, APT])
}

pub(crate) fn for_bench() -> Result<()> {
    need(&[CC, TAR, GZIP, CPIO, OPENSSL, SWUPDATE])
}

pub(crate) fn for_deb() -> Result<()> {
    need(&[CC, GIT, CARGO_DEB, DPKG, STRIP])
}

pub(crate) fn for_demo() -> Result<()> {
    need(&[CC])
}

fn need(wanted: &[Prerequisite]) -> Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|p| !is_there(p))
        .map(|p| p.name)
        .collect();
    if !missing.is_empty() {
        bail!("this machine lacks: {}", missing.join(", "));
    }
    Ok(())
}

fn is_there(prerequisite: &Prerequisite) -> bool {
    let mut command = Command::new(prerequisite.program);
    command.args(prerequisite.arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
