//! Clusters of every size come up and are shown.

use evenkeel_simulation::{Cluster, Settings, run};

use crate::stories::sound;

#[test]
fn a_single_node_and_many_pairs_come_up() {
    for nodes in [1, 2, 14] {
        run(async {
            let cluster = Cluster::start(Settings::new(nodes)).await;
            assert_eq!(cluster.names().len(), nodes);
            assert!(cluster.coordinator().is_some());
            sound(&cluster);
        });
    }
}
