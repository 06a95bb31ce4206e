//! Running one command after another, readably.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The repository's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2);
    root.expect("this crate lies in <root>/crates/xtask")
        .to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The same, giving way to whatever else wants to compute.
pub(crate) fn kind_cargo() -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(cargo().get_program());
    command.current_dir(root());
    command
}

/// Announces a step, runs its command to success and says how long it took.
#[expect(clippy::disallowed_methods, reason = "a person waits for it")]
pub(crate) fn run(title: &str, command: &mut Command) -> Result<()> {
    eprintln!("== {title}");
    let begun = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{title}: cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{title}: failed ({status})");
    }
    eprintln!("== {title}: {} s", begun.elapsed().as_secs());
    Ok(())
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {program:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program:?} failed ({}): {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program:?} printed no UTF-8"))
}
