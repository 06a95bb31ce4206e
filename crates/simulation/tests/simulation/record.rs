//! A record that is away, loses answers, or does not ring.

use std::time::Duration;

use evenkeel_record::{MemoryFaults, NextAppend};
use evenkeel_simulation::{Cluster, Settings, run};
use tokio::time::sleep;

use crate::stories::{REST, begun, completes, served_always, updating};

#[test]
fn an_update_goes_on_where_it_was_after_the_record_was_away_for_all() {
    for action in [
        "do-download-job",
        "do-failover-job",
        "do-boot-job",
        "do-giveback-job",
    ] {
        run(async {
            let cluster = updating(2).await;
            begun(&cluster, 1, action).await;
            for node in cluster.names() {
                cluster.cut_record(&node, true);
            }
            sleep(Duration::from_secs(40)).await;
            for node in cluster.names() {
                cluster.cut_record(&node, false);
            }
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

#[test]
fn outcomes_that_are_unknown_are_settled_by_looking() {
    for outcome in [
        NextAppend::UnknownApplied,
        NextAppend::UnknownNotApplied,
        NextAppend::Unavailable,
    ] {
        run(async {
            let cluster = updating(2).await;
            for node in cluster.names() {
                for _ in 0..6 {
                    cluster.record(&node).script(outcome);
                }
            }
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

#[test]
fn a_bad_way_to_the_record_costs_only_time() {
    for seed in 1..=5 {
        run(async {
            let mut settings = Settings::new(4);
            settings.seed = seed;
            settings.record_faults = MemoryFaults {
                unknown_per_mille: 100,
                unavailable_per_mille: 50,
                lost_doorbell_per_mille: 500,
                max_delay: Duration::from_millis(100),
                ..MemoryFaults::default()
            };
            let cluster = Cluster::start(settings).await;
            let started = cluster.start_update(Cluster::request()).await;
            started.expect("nothing is in the way");
            let rested = cluster.rest(REST * 4).await;
            rested.unwrap_or_else(|stuck| panic!("seed {seed}: {stuck:?}"));
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}
