//! Updates without trouble.

use crate::stories::{completes, served_always, updating};
use evenkeel_simulation::run;

fn rolls(nodes: usize) {
    run(async {
        let cluster = updating(nodes).await;
        completes(&cluster).await;
        served_always(&cluster);
    });
}

#[test]
fn a_pair_rolls_to_the_new_version() {
    rolls(2);
}

#[test]
fn two_pairs_roll_to_the_new_version() {
    rolls(4);
}

#[test]
fn three_pairs_roll_to_the_new_version() {
    rolls(6);
}

#[test]
fn twelve_pairs_roll_to_the_new_version() {
    rolls(24);
}
