//! `evenkeel cluster`: what is asked of a node's daemon through its local socket, below `/evenkeel/v1/local/cluster`. None of
//! it is served over the network.

use serde::{Deserialize, Serialize};

use crate::users::Secret;

/// Where the calls are; `GET` shows the cluster as this node knows it.
pub const CLUSTER: &str = "/evenkeel/v1/local/cluster";
/// `POST`: begins a cluster.
pub const CLUSTER_INIT: &str = "/evenkeel/v1/local/cluster/init";
/// `POST`: makes a token.
pub const CLUSTER_TOKEN: &str = "/evenkeel/v1/local/cluster/token";
/// `POST`: joins a cluster.
pub const CLUSTER_JOIN: &str = "/evenkeel/v1/local/cluster/join";
/// `POST`: takes nodes out.
pub const CLUSTER_REMOVE: &str = "/evenkeel/v1/local/cluster/remove";
/// `POST`: renews this node's certificate.
pub const CLUSTER_RENEW: &str = "/evenkeel/v1/local/cluster/renew";

/// What this node is to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipState {
    /// It belongs to none yet.
    None,
    /// It belongs to one, and has not read yet what that is: its record does not answer.
    Unknown,
    /// It is one of its nodes.
    Member,
    /// It was let in, and waits for its partner.
    Candidate,
    /// It was removed.
    Removed,
    /// Another machine has taken its place.
    Replaced,
}

/// The cluster as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalCluster {
    /// The node that answers.
    pub node: String,
    /// What it is to the cluster.
    pub state: MembershipState,
    /// What to do about it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The cluster's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The cluster's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its nodes.
    #[serde(default)]
    pub nodes: Vec<LocalNode>,
    /// Tokens that nobody has used.
    #[serde(default)]
    pub tokens: Vec<LocalToken>,
    /// Until when this node's certificate is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<String>,
    /// Until when the CA's is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_until: Option<String>,
}

/// A node of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNode {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uuid: String,
    /// Member, or candidate.
    pub state: MembershipState,
    /// Its HA partner; of a candidate, the one that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// `host:port` of its node-to-node port.
    pub interconnect: String,
    /// `host:port` of its REST port.
    pub rest: String,
    /// Hardware platform.
    pub platform: String,
    /// Whether it answers this node; not asked of candidates, nor by a node that is no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<bool>,
}

/// A token that nobody has used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalToken {
    /// Whom it is for, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether that node takes the place of one.
    pub replaces: bool,
    /// Until when it is good.
    pub until: String,
}

/// How a node wants to be known: what its configuration does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewNode {
    /// Hardware platform.
    pub platform: String,
    /// Variant of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Features in use.
    #[serde(default)]
    pub features: Vec<String>,
    /// The site it stands at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Host that others reach it at; needed where it listens on all addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Data LIFs that are at home here, each `NAME=HOST:PORT`.
    #[serde(default)]
    pub lifs: Vec<String>,
}

/// Body of [`CLUSTER_INIT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitCluster {
    /// The cluster's name.
    pub name: String,
    /// The first user, an admin.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The first node.
    pub node: NewNode,
}

/// Body of [`CLUSTER_TOKEN`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeToken {
    /// Whom it is for; none: any name that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// That node is broken, and another machine takes its place.
    #[serde(default)]
    pub replaces: bool,
    /// Somebody has seen that the machine is gone for good.
    #[serde(default)]
    pub is_gone: bool,
}

/// What [`CLUSTER_TOKEN`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeToken {
    /// The token: whoever has it can join.
    pub token: Secret,
    /// Until when it is good.
    pub until: String,
}

/// Body of [`CLUSTER_JOIN`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinCluster {
    /// The token.
    pub token: Secret,
    /// The HA partner that it is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The node.
    pub node: NewNode,
}

/// Body of [`CLUSTER_REMOVE`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNodes {
    /// Whom.
    pub nodes: Vec<String>,
    /// Somebody has seen that they are gone for good.
    #[serde(default)]
    pub is_gone: bool,
}
