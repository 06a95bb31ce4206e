//! Who may be spoken with, where, and by which key it is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_model::{Digest, NodeName, Topology};

/// A node of the cluster, as its peers meet it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `host:port` of its node-to-node port.
    pub address: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo). A certificate for another key is not believed, whoever signed it.
    /// None: any certificate of the cluster's CA in its name is.
    pub key: Option<Digest>,
}

impl From<String> for Member {
    fn from(address: String) -> Self {
        Self { address, key: None }
    }
}

/// Every node of the cluster. Empty while the topology is not known: then nobody is heard.
pub type Members = Arc<BTreeMap<NodeName, Member>>;

/// The members of a topology.
pub fn members_of(topology: &Topology) -> Members {
    let member = |node: &evenkeel_model::NodeConfig| {
        let member = Member {
            address: node.interconnect.clone(),
            key: topology.membership.keys.get(&node.name).copied(),
        };
        (node.name.clone(), member)
    };
    Arc::new(topology.nodes.iter().map(member).collect())
}
