//! Where the record lives: the section `[record]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::NodeName;

/// A record on etcd: for many controllers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdSettings {
    /// Its members' client addresses, as URLs (`https://192.0.2.21:2379`).
    pub endpoints: Vec<String>,
}

/// A record in SQLite on the pair's shared pool: for two controllers without a third vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedPoolSettings {
    /// The file, below the folder where the pool is mounted by whichever node serves it. The same on both nodes.
    pub path: PathBuf,
    /// The other node of the pair.
    pub partner: NodeName,
    /// `host:port` of its node-to-node port. The topology says it too, but the topology is in the record, and a node that has not read
    /// the record yet must reach whoever holds it.
    pub partner_address: String,
    /// The file by which the HA engine's resource agent says that this node holds the record.
    #[serde(default = "seat")]
    pub seat: PathBuf,
    /// Refuses a file on the root's filesystem: there the pool is not mounted. Off only where a pool is a folder, as in a lab.
    #[serde(default = "yes")]
    pub must_be_mounted: bool,
}

/// Where the resource agent puts the seat by default, too.
fn seat() -> PathBuf {
    PathBuf::from("/run/evenkeel/record-seat")
}

fn yes() -> bool {
    true
}
