//! `cargo xtask simulate`.

use std::process::Command;

use anyhow::Result;

use crate::determinism::SIMULATED;
use crate::step::{Kindness, Step, cargo, kind_cargo, run};

/// How many seeds `cargo xtask test` plays.
pub(crate) const TESTED: u64 = 10_000;
/// Says how many seeds are played.
pub(crate) const COUNT: &str = "EVENKEEL_SEEDS";

/// Of what the simulation runs: it only passes calls on, and most of it is the network, which is not run.
const PASSES_ON: &str = "interconnect";

/// The same, with what the simulation runs ten thousand times optimised. Everything else is compiled plain, in half the time. Level 1
/// compiles in a minute of CPU less, and makes a seed cost half as much again.
pub(crate) fn optimised(mut cargo: Command) -> Command {
    for name in SIMULATED.iter().filter(|name| **name != PASSES_ON) {
        let level = format!("profile.dev.package.evenkeel-{name}.opt-level=2");
        cargo.args(["--config", &level]);
    }
    cargo
}

/// Plays other seeds than the tests do, or more of them; or tells one.
pub(crate) fn simulate(seeds: u64, first: u64, tell: bool) -> Result<()> {
    let (title, test) = match tell {
        true => (format!("seed {first}"), "tell_one"),
        false => {
            let title = format!("{seeds} seeds, from {first}");
            (
                title,
                "whatever_a_seed_brings_the_rules_hold_and_the_update_ends",
            )
        }
    };
    let mut command = optimised(cargo());
    // Of the whole workspace, as the tests are: with other packages chosen cargo would compile the
    // dependencies anew, with other features.
    let of_all = [
        "test",
        "--workspace",
        "--test",
        "seeds",
        "--",
        "--include-ignored",
    ];
    command
        .args(of_all)
        .args(["--exact", "--nocapture", test])
        .env(COUNT, seeds.to_string())
        .env("EVENKEEL_SEEDS_FROM", first.to_string());
    run(&title, &mut command)
}

/// Explores an update of one pair to the end of what the given faults and requests may lead to.
pub(crate) fn explore(faults: u8, requests: u8, most_states: usize) -> Result<()> {
    let title = format!("all that {faults} faults and {requests} requests may lead to");
    let mut command = optimised(cargo());
    let of_all = ["test", "--workspace", "--test", "explore", "--"];
    let exactly = ["--include-ignored", "--exact", "--nocapture"];
    command
        .args(of_all)
        .args(exactly)
        .arg("as_much_as_is_asked_for")
        .env("EVENKEEL_EXPLORE_FAULTS", faults.to_string())
        .env("EVENKEEL_EXPLORE_REQUESTS", requests.to_string())
        .env("EVENKEEL_EXPLORE_STATES", most_states.to_string());
    run(&title, &mut command)
}

/// What is broken on purpose must be caught. A build of its own: nothing else is ever built so. It plays a few seeds, so that to
/// optimise as for ten thousand would cost more than it saves.
pub(crate) fn sabotage() -> Step {
    let mut command = kind_cargo(Kindness::Full);
    let feature = "evenkeel-simulation/sabotage";
    command.args(["test", "--workspace", "--features", feature]);
    command.args(["--test", "sabotage"]);
    Step::new("rules broken on purpose are caught", command)
}
