//! `cargo xtask simulate`.

use anyhow::Result;

use crate::step::run;
use crate::test::cargo_test;

/// How many seeds `cargo xtask test` plays.
pub(crate) const TESTED: u64 = 10_000;
/// Says how many seeds are played.
pub(crate) const COUNT: &str = "EVENKEEL_SEEDS";

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
    let mut command = cargo_test();
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
    let mut command = cargo_test();
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
