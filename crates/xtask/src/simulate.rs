//! `cargo xtask simulate`.

use anyhow::Result;

use crate::step::{cargo, run};

/// Lets more storms loose on simulated clusters than the tests do. A seed that fails is named.
pub(crate) fn simulate(storms: u64, first: u64) -> Result<()> {
    let tests = [
        "test",
        "-p",
        "evenkeel-simulation",
        "--test",
        "simulation",
        "--no-fail-fast",
        "storms::",
    ];
    let title = format!("{storms} storms of each kind, from seed {first}");
    let mut command = cargo();
    command
        .args(tests)
        .env("EVENKEEL_STORMS", storms.to_string())
        .env("EVENKEEL_STORMS_FROM", first.to_string());
    run(&title, &mut command)
}
