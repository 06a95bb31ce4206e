//! The same seed is the same story.

use evenkeel_record::MemoryFaults;
use evenkeel_simulation::{Blow, Cluster, Settings, run};

use crate::stories::{REST, kill_coordinator};

/// All that was recorded in a story with faults drawn from `seed`.
fn story(seed: u64) -> Vec<String> {
    run(async {
        let mut settings = Settings::new(4);
        settings.seed = seed;
        settings.record_faults = MemoryFaults {
            unknown_per_mille: 30,
            lost_doorbell_per_mille: 200,
            max_delay: std::time::Duration::from_millis(20),
            ..MemoryFaults::default()
        };
        let cluster = Cluster::start(settings).await;
        let started = cluster.start_update(Cluster::request()).await;
        started.expect("nothing is in the way");
        kill_coordinator(&cluster);
        cluster.strike(&cluster.names()[3], Blow::Kill);
        cluster.rest(REST).await.expect("it rests");
        let entries = cluster.entries().into_iter();
        entries
            .map(|e| format!("{} {} {}", e.stream, e.id, e.body))
            .collect()
    })
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_seed_others() {
    let first = story(7);
    assert_eq!(first, story(7));
    assert_ne!(first, story(8));
}
