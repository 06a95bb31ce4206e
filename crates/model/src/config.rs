//! `evenkeeld.toml`, and what a new cluster starts from. Read by the daemon, written by whoever sets a
//! node up (the lab, an installer).

use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod linux;
mod power;
mod record;
mod slots;

use crate::id::{NodeName, UserName};
use crate::topology::Topology;

pub use linux::{FailoverSettings, InventorySettings, LinuxSettings, PoolSettings, Storage};
pub use power::{LanSp, PowerSettings, RedfishSettings, SpSettings};
pub use record::{EtcdSettings, SharedPoolSettings};
pub use slots::{
    EntrySettings, GrubSettings, RaucSettings, RaucSlot, SlotSettings, SystemdBootSettings,
};

/// One node's configuration: who am I, addresses, directories, backends. Topology, users and trusted
/// keys are not here: they are events of the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// This node's name.
    pub node: NodeName,
    /// Folder of the node's databases, packages and certificates. Outside the boot slots.
    pub data: PathBuf,
    /// The public API.
    pub rest: RestSettings,
    /// The node-to-node port.
    pub interconnect: InterconnectSettings,
    /// Where the record lives.
    pub record: RecordSettings,
    /// The machine.
    pub platform: PlatformSettings,
    /// Packages that clients send.
    #[serde(default)]
    pub upload: UploadSettings,
    /// Packages that this node fetches from servers.
    #[serde(default)]
    pub download: DownloadSettings,
    /// Updates.
    #[serde(default)]
    pub update: UpdateSettings,
    /// First start of a new cluster.
    #[serde(default)]
    pub cluster: ClusterSettings,
    /// Only in a lab.
    #[serde(default)]
    pub lab: Option<LabSettings>,
}

/// What this node shows to the others, and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM of the cluster's CA.
    pub ca: PathBuf,
    /// PEM of this node's certificate.
    pub certificate: PathBuf,
    /// PEM of its key.
    pub key: PathBuf,
}

impl NodeSettings {
    /// Where `evenkeel cluster init` and `join` put what makes this node one of a cluster.
    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    /// Whether the configuration names the node's certificates itself: then somebody else makes and renews them.
    pub fn names_its_identity(&self) -> bool {
        self.interconnect.certificate.is_some()
    }

    /// The files that count.
    pub fn identity(&self) -> IdentityFiles {
        let (named, pki) = (&self.interconnect, self.pki());
        let or =
            |named: &Option<PathBuf>, own: &str| named.clone().unwrap_or_else(|| pki.join(own));
        IdentityFiles {
            ca: or(&named.ca, "ca.pem"),
            certificate: or(&named.certificate, "node.pem"),
            key: or(&named.key, "node.key"),
        }
    }
}

/// The public API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestSettings {
    /// `host:port` to listen on.
    pub listen: String,
    /// `host:port` that follows the coordinator: bound while this node coordinates.
    #[serde(default)]
    pub cluster_address: Option<String>,
    /// PEM chain; made at first start when the file does not exist. Default: below `data`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// PEM key of the certificate.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// PEM file of the CAs whose client certificates let users in who have chosen that. Without it none does.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// The node-to-node port: mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterconnectSettings {
    /// `host:port` to listen on.
    pub listen: String,
    /// PEM of the cluster's CA. Without it, and the two below, all of them lie below `data`, where `evenkeel cluster
    /// init` and `join` put them.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// PEM of this node's certificate; its subject alternative name is the node's name.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// PEM of its key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Most that this node sends of packages, all transfers to other nodes together. Default: no bound.
    /// A change takes effect at the daemon's next start.
    #[serde(default)]
    pub package_bytes_per_second: Option<NonZeroU64>,
}

/// Where the record lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "backend", rename_all = "snake_case", deny_unknown_fields)]
pub enum RecordSettings {
    /// One file on a local filesystem, shared by every process of a single controller or of a lab.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// etcd: for many controllers.
    Etcd(EtcdSettings),
    /// SQLite on the pair's shared pool: for two controllers without a third vote.
    SharedPool(SharedPoolSettings),
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "backend", rename_all = "snake_case", deny_unknown_fields)]
pub enum PlatformSettings {
    /// Simulated hardware, kept by the lab supervisor.
    Sim {
        /// The supervisor's Unix socket for this node.
        socket: PathBuf,
    },
    /// A real controller that runs Linux.
    Linux(Box<LinuxSettings>),
}

/// Packages that clients send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadSettings {
    /// Whether they may.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self { enabled: true }
    }
}

fn yes() -> bool {
    true
}

/// Packages that this node fetches from servers. What is not set has the default of the crate `download`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownloadSettings {
    /// PEM files of CAs that are believed beside the system's.
    #[serde(default)]
    pub ca: Vec<PathBuf>,
    /// A server that sends no byte for so long is tried anew.
    #[serde(default)]
    pub stall_seconds: Option<u64>,
    /// So is one that sends fewer bytes per second for five minutes. 0 allows any rate.
    #[serde(default)]
    pub floor_bytes_per_second: Option<u64>,
    /// Tries in a row that bring nothing new, after which a download fails.
    #[serde(default)]
    pub tries: Option<u32>,
}

/// Updates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateSettings {
    /// What is run on the node about to be taken over while the cluster's gates have the condition
    /// `script`: again and again, until it says that the update may go on.
    #[serde(default)]
    pub gate_script: Option<PathBuf>,
    /// How long one run of it may take; a minute without it.
    #[serde(default)]
    pub gate_script_seconds: Option<NonZeroU64>,
}

/// First start of a new cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// JSON file with a [`Bootstrap`]: appended to the control stream if that is empty.
    #[serde(default)]
    pub bootstrap: Option<PathBuf>,
}

/// Only in a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabSettings {
    /// Length of a minute of stabilize, boot and gate times, in milliseconds. Never scales leases or
    /// network bounds.
    pub minute_ms: u64,
    /// JSON file with a [`Link`], re-read when it changes: the fault seam to the record and to peers.
    pub link: PathBuf,
    /// Time from one scrub of a package to the next; a week where there is no lab.
    #[serde(default)]
    pub scrub_every_ms: Option<NonZeroU64>,
    /// Packages without a signature are accepted.
    #[serde(default)]
    pub allow_unsigned: bool,
}

/// State of a lab node's links to the record and its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Nothing gets through.
    #[serde(default)]
    pub cut: bool,
    /// Delay of every message, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
}

/// What a new cluster starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The members.
    pub topology: Topology,
    /// Users and their PHC strings.
    pub users: Vec<(UserName, String)>,
    /// Texts of the public-key files whose signatures are believed.
    pub trusted_keys: Vec<String>,
}
