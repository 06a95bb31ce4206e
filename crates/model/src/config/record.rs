//! Where the record lives: the section `[record]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::NodeName;

/// A record on etcd: for many controllers. etcd 3.4 or later, with its JSON gateway, which is on unless it is switched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdSettings {
    /// Its members' client addresses, as URLs with a port (`https://192.0.2.21:2379`). All of them: whichever answers is used.
    pub endpoints: Vec<String>,
    /// PEM of the CAs that sign the members' certificates; needed for `https`. No others are believed.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// PEM of this node's certificate to etcd (`--client-cert-auth`). Like the other files it is read anew for every connection. Its
    /// subject must have no common name where authentication is enabled: etcd's gateway refuses those.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// PEM of the certificate's key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Name of etcd's user, where authentication is enabled (`etcdctl auth enable`).
    #[serde(default)]
    pub user: Option<String>,
    /// The file with the user's password, on one line.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// What the names of all keys begin with; ends with `/`. Clusters that share an etcd need one each.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// Which of the cluster's nodes host members of etcd: the node's name, and the endpoint of its member. Members that are not
    /// named stand outside the cluster. An update takes no nodes away together that would cost etcd its majority.
    #[serde(default)]
    pub members: BTreeMap<NodeName, String>,
}

fn default_prefix() -> String {
    "/evenkeel/".to_owned()
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
    #[serde(default = "super::yes")]
    pub must_be_mounted: bool,
}

/// Where the resource agent puts the seat by default, too.
fn seat() -> PathBuf {
    PathBuf::from("/run/evenkeel/record-seat")
}
