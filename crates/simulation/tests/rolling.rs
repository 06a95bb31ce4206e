//! Updates without trouble.

use std::time::Duration;

use evenkeel_model::OperationEnd;
use evenkeel_simulation::{Cluster, Settings, Stand, run};

/// Updates a whole cluster and says how many events that took.
fn rolls(nodes: usize) -> usize {
    run(async {
        let cluster = Cluster::start(Settings::new(nodes)).await;
        cluster
            .start_update(Cluster::request())
            .await
            .expect("admitted");
        let stand = cluster
            .rest(Duration::from_secs(600))
            .await
            .expect("it comes to rest");
        assert_eq!(
            stand,
            Stand::Ended(OperationEnd::Completed),
            "{}",
            cluster.describe()
        );
        assert_eq!(cluster.unfinished(), Vec::<String>::new());
        assert_eq!(cluster.violations(), Vec::<String>::new());
        assert_eq!(
            cluster.hardware(|hardware, _| hardware.incidents().count()),
            0
        );
        cluster.entries().len()
    })
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
