//! `cargo xtask deb`: the Debian package. What it holds is said in `crates/daemon/Cargo.toml`, for cargo-deb; what of that is
//! built or generated is put into `target/package` here. cargo-deb knows of no profile, and so packages a debug build as well as
//! a release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::prerequisites;
use crate::step::{cargo, output, root, run, target};

/// What the package is made of.
#[derive(clap::Args)]
pub(crate) struct Deb {
    /// From a debug build: sooner made, bigger, slower. For tests.
    #[arg(long)]
    debug: bool,
    /// Of the programs that are built already.
    #[arg(long)]
    no_build: bool,
    /// Another version than the workspace's: for tests of upgrades.
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,
    /// The file, or the folder for it; target/debian unless given.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Name and address in the package's changelog.
const MAINTAINER: &str = "The Evenkeel authors <evenkeel@evenkeel.invalid>";

/// Makes it.
pub(crate) fn make(deb: &Deb) -> Result<()> {
    prerequisites::for_deb()?;
    if !deb.no_build {
        run("building evenkeeld and evenkeel", &mut build(deb.debug))?;
    }
    let version = match &deb.deb_version {
        Some(version) => version.clone(),
        None => concat!(env!("CARGO_PKG_VERSION"), "-1").to_owned(),
    };
    stage(&bin_dir(deb.debug), &version)?;
    run("the Debian package", &mut package(deb, &version))
}

fn build(debug: bool) -> Command {
    let mut build = cargo();
    build.args([
        "build",
        "-p",
        "evenkeel-daemon",
        "-p",
        "evenkeel-cli",
        "--bins",
    ]);
    if !debug {
        build.arg("--release");
    }
    build
}

fn bin_dir(debug: bool) -> PathBuf {
    target().join(match debug {
        true => "debug",
        false => "release",
    })
}

fn package(deb: &Deb, version: &str) -> Command {
    let mut package = cargo();
    package.args(["deb", "-p", "evenkeel-daemon", "--no-build"]);
    package.arg("--compress-system");
    package.args(["--deb-version", version]);
    if deb.debug {
        package.args(["--fast", "-Z", "gz"]);
    }
    if let Some(output) = &deb.output {
        package.arg("--output").arg(output);
    }
    package
}

/// The programs, what they say of themselves, and the changelog.
fn stage(bin: &Path, version: &str) -> Result<()> {
    // Where the manifest looks for it, wherever cargo builds.
    let folder = root().join("target/package");
    strip(bin, &folder.join("bin"))?;
    let completions = folder.join("completions");
    fs::create_dir_all(&completions).with_context(|| completions.display().to_string())?;
    for (shell, file) in [
        ("bash", "evenkeel"),
        ("zsh", "_evenkeel"),
        ("fish", "evenkeel.fish"),
    ] {
        let mut program = Command::new(bin.join("evenkeel"));
        let script = output(program.args(["completions", shell]))?;
        write(&completions.join(file), &script)?;
    }
    write(&folder.join("changelog"), &changelog(version)?)
}

/// The programs without what only a debugger reads.
fn strip(bin: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for name in ["evenkeel", "evenkeeld"] {
        let program = bin.join(name);
        anyhow::ensure!(
            program.exists(),
            "{} is not there: build it first (cargo build -p evenkeel-daemon -p evenkeel-cli --bins), or leave --no-build out",
            program.display()
        );
        let mut strip = Command::new("strip");
        strip.args(["--strip-unneeded", "-o"]);
        run(
            "a program without its debugging information",
            strip.arg(folder.join(name)).arg(&program),
        )?;
    }
    Ok(())
}

/// Of one entry: what changed is in CHANGELOG.md, which the package has too.
fn changelog(version: &str) -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["log", "-1", "--format=%cD"]);
    let date = output(&mut git)?;
    Ok(format!(
        "evenkeel ({version}) stable; urgency=medium\n\n  * What changed is in /usr/share/doc/evenkeel/changelog.gz.\n\n \
         -- {MAINTAINER}  {}\n",
        date.trim()
    ))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
