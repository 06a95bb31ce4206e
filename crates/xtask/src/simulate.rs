//! `cargo xtask simulate`.

use std::process::Command;

use anyhow::Result;

use crate::determinism::SIMULATED;
use crate::step::{cargo, run};

/// How many seeds `cargo xtask test` plays.
pub(crate) const TESTED: u64 = 10_000;
/// Says how many seeds are played.
pub(crate) const COUNT: &str = "EVENKEEL_SEEDS";

/// Of what the simulation runs: it only passes calls on, and most of it is the network, which is not run.
const PASSES_ON: &str = "interconnect";

/// `cargo test` of the simulation, in the one build that it is ever tested in. What it runs ten thousand times is optimised; everything
/// else is compiled plain, in half the time, and so are the simulation's own tests where `.ci/run` compiles. Level 1 compiles in a minute
/// of CPU less, and makes a seed cost half as much again. What breaks rules on purpose is compiled in, and off but where it is tested:
/// another build would cost more than all that runs in it.
///
/// Of the whole workspace, as all tests are: with other packages chosen cargo would compile the dependencies anew, with other features.
pub(crate) fn test(mut cargo: Command) -> Command {
    for name in SIMULATED.iter().filter(|name| **name != PASSES_ON) {
        let level = format!("profile.dev.package.evenkeel-{name}.opt-level=2");
        cargo.args(["--config", &level]);
    }
    cargo.args(["test", "--workspace", "--features"]);
    cargo.arg("evenkeel-simulation/sabotage");
    cargo
}

/// Plays other seeds than the tests do, or more of them; or tells one.
pub(crate) fn simulate(seeds: u64, first: u64, tell: bool) -> Result<()> {
    let (title, name) = match tell {
        true => (format!("seed {first}"), "tell_one"),
        false => {
            let title = format!("{seeds} seeds, from {first}");
            (
                title,
                "whatever_a_seed_brings_the_rules_hold_and_the_update_ends",
            )
        }
    };
    let mut command = test(cargo());
    command
        .args(["--test", "seeds", "--", "--include-ignored"])
        .args(["--exact", "--nocapture", name])
        .env(COUNT, seeds.to_string())
        .env("EVENKEEL_SEEDS_FROM", first.to_string());
    run(&title, &mut command)
}

/// Explores an update of one pair to the end of what the given faults and requests may lead to.
pub(crate) fn explore(faults: u8, requests: u8, most_states: usize) -> Result<()> {
    let title = format!("all that {faults} faults and {requests} requests may lead to");
    let mut command = test(cargo());
    let exactly = ["--include-ignored", "--exact", "--nocapture"];
    command
        .args(["--test", "explore", "--"])
        .args(exactly)
        .arg("as_much_as_is_asked_for")
        .env("EVENKEEL_EXPLORE_FAULTS", faults.to_string())
        .env("EVENKEEL_EXPLORE_REQUESTS", requests.to_string())
        .env("EVENKEEL_EXPLORE_STATES", most_states.to_string());
    run(&title, &mut command)
}
