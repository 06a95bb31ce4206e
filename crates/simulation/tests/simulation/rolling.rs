//! Updates without trouble.

use std::time::Duration;

use evenkeel_simulation::{Cluster, Settings, run};

use crate::stories::{REST, completes, served_always, updating};

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

/// With real minutes, every bound is what it is in the field.
#[test]
fn a_pair_rolls_in_real_minutes() {
    run(async {
        let mut settings = Settings::new(2);
        settings.minute = Duration::from_secs(60);
        let cluster = Cluster::start(settings).await;
        let mut request = Cluster::request();
        request.stabilize_minutes = 8;
        let started = cluster.start_update(request).await;
        started.expect("nothing is in the way");
        cluster.rest(REST * 20).await.expect("it rests");
        completes(&cluster).await;
        served_always(&cluster);
    });
}
