//! Who belongs to the cluster, and who is whose HA partner.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, LifName, NodeId, NodeName, PlatformName};
use crate::membership::Membership;

/// One controller as configured. A control event carries it to every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// Stable id.
    pub id: NodeId,
    /// Name, unique in the cluster.
    pub name: NodeName,
    /// HA partner; none on a single-node cluster.
    pub partner: Option<NodeName>,
    /// `host:port` of the node-to-node port.
    pub interconnect: String,
    /// `host:port` of the node's REST port.
    pub rest: String,
    /// Hardware platform: packages for another one are refused.
    pub platform: PlatformName,
    /// Variant of the platform, where it has any: packages for another one are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Features in use here: packages whose image does not support them are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The site it stands at, where the cluster spans sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Data LIFs that are at home here.
    #[serde(default)]
    pub lifs: Vec<LifConfig>,
}

/// What names a controller's hardware, as far as its machine says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineId {
    /// Serial number of the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// Its system id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
}

impl MachineId {
    /// Whether nothing is said.
    pub fn is_unsaid(&self) -> bool {
        *self == Self::default()
    }
}

/// A data address and where it lives when all is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifConfig {
    /// Name of the LIF.
    pub name: LifName,
    /// `host:port` that clients read through.
    pub address: String,
}

/// The cluster's members, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Stable id of the cluster.
    pub id: ClusterId,
    /// Name shown to people.
    pub name: String,
    /// All nodes.
    pub nodes: Vec<NodeConfig>,
    /// Who was let in how, and who may come.
    #[serde(default, skip_serializing_if = "Membership::is_empty")]
    pub membership: Membership,
}

/// Why a topology was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// A cluster needs a node.
    #[error("the cluster has no nodes")]
    Empty,
    /// Names identify nodes.
    #[error("two nodes are called {0}")]
    Duplicate(NodeName),
    /// Partners must name each other.
    #[error("{node} names {partner} as its partner, but not the other way round")]
    Unpaired {
        /// The node that names.
        node: NodeName,
        /// The node that does not answer in kind.
        partner: NodeName,
    },
    /// Nodes without a partner cannot be updated while they serve.
    #[error("{0} has no partner, which only a single-node cluster allows")]
    NoPartner(NodeName),
}

impl Topology {
    /// Orders the nodes by name and checks that partners name each other.
    pub fn new(
        id: ClusterId,
        name: String,
        mut nodes: Vec<NodeConfig>,
    ) -> Result<Self, TopologyError> {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let topology = Self {
            id,
            name,
            nodes,
            membership: Membership::default(),
        };
        topology.check()?;
        Ok(topology)
    }

    fn check(&self) -> Result<(), TopologyError> {
        if self.nodes.is_empty() {
            return Err(TopologyError::Empty);
        }
        for pair in self.nodes.windows(2) {
            if pair[0].name == pair[1].name {
                return Err(TopologyError::Duplicate(pair[0].name.clone()));
            }
        }
        for node in &self.nodes {
            match &node.partner {
                Some(partner) if self.partner_of(partner) == Some(&node.name) => {}
                Some(partner) => {
                    let (node, partner) = (node.name.clone(), partner.clone());
                    return Err(TopologyError::Unpaired { node, partner });
                }
                None if self.nodes.len() == 1 => {}
                None => return Err(TopologyError::NoPartner(node.name.clone())),
            }
        }
        Ok(())
    }

    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&NodeConfig> {
        // Ordered by name, unless somebody wrote them down otherwise.
        match self.nodes.binary_search_by(|n| n.name.cmp(name)) {
            Ok(at) => self.nodes.get(at),
            Err(_) => self.nodes.iter().find(|n| n.name == *name),
        }
    }

    /// The HA partner of that node.
    pub fn partner_of(&self, name: &NodeName) -> Option<&NodeName> {
        self.node(name)?.partner.as_ref()
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().map(|n| &n.name)
    }

    /// The sites that the cluster spans; none when it stands at one place.
    pub fn sites(&self) -> BTreeSet<&str> {
        let sites = self.nodes.iter().filter_map(|n| n.site.as_deref());
        sites.collect()
    }

    /// Each HA pair once, in the order of its first member.
    pub fn pairs(&self) -> Vec<(&NodeName, &NodeName)> {
        let paired = self
            .nodes
            .iter()
            .filter_map(|n| Some((&n.name, n.partner.as_ref()?)));
        paired.filter(|(node, partner)| node < partner).collect()
    }
}
