//! `cargo xtask demo`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{prerequisites, test};

/// Builds, then becomes `evenkeel lab demo`. Returns only when that cannot be started.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    prerequisites::for_demo()?;
    test::build()?;
    let evenkeel = test::bin_dir().join("evenkeel");
    let error = Command::new(&evenkeel)
        .args(["lab", "demo"])
        .args(arguments)
        .exec();
    Err(error).with_context(|| format!("cannot start {}", evenkeel.display()))
}
