//! Who may be spoken with, and where.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_model::{NodeName, Topology};

/// Every node of the cluster with the `host:port` of its node-to-node port. Empty while the topology
/// is not known: then nobody is heard.
pub type Members = Arc<BTreeMap<NodeName, String>>;

/// The members of a topology.
pub fn members_of(topology: &Topology) -> Members {
    let member = |node: &evenkeel_model::NodeConfig| (node.name.clone(), node.interconnect.clone());
    Arc::new(topology.nodes.iter().map(member).collect())
}
