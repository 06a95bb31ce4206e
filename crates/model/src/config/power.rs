//! Power and service processors of a real controller.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// How the node's boots are told apart, and how it is rebooted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerSettings {
    /// A file with a UUID that whoever starts the host makes anew at each start. For hosts that share a kernel with others (containers,
    /// network namespaces): the kernel's own boot id does not change when one of them starts anew. Default: the kernel's.
    #[serde(default)]
    pub boot_id_file: Option<PathBuf>,
    /// A program and its arguments, which shut the host down cleanly and start it again. Default: `systemctl reboot`.
    #[serde(default)]
    pub reboot: Option<Vec<String>>,
}

/// Service processors: the node's own, and its partner's through the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpSettings {
    /// Neither the node nor its partner has one. Then nothing of them is checked, and a node that hangs is reached by nobody from afar.
    #[serde(default)]
    pub none: bool,
    /// The node's own, through the network. Default: through the kernel's IPMI device.
    #[serde(default)]
    pub own: Option<LanSp>,
    /// The partner's.
    #[serde(default)]
    pub partner: Option<LanSp>,
    /// The node's own by Redfish: what its firmware is brought to it through.
    #[serde(default)]
    pub redfish: Option<RedfishSettings>,
}

/// A service processor that is asked by IPMI over LAN (RMCP+).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanSp {
    /// Its address or name.
    pub host: String,
    /// Its UDP port.
    #[serde(default = "ipmi_port")]
    pub port: u16,
    /// A user of its. The privilege level USER is enough.
    pub user: String,
    /// A file with that user's password and nothing else, readable by its owner only.
    pub password_file: PathBuf,
    /// The cipher suite; 17 is what IPMI 2.0 processors of today agree to, 3 what older ones do.
    #[serde(default = "cipher_suite")]
    pub cipher_suite: u8,
}

fn ipmi_port() -> u16 {
    623
}

fn cipher_suite() -> u8 {
    17
}

/// How a node's own service processor is reached by Redfish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedfishSettings {
    /// `https://host[:port]`, without a path.
    pub url: String,
    /// The account.
    pub user: String,
    /// A file whose first line is its password.
    pub password_file: PathBuf,
    /// Certificates (PEM) of authorities that vouch for the service processor.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// SHA-256 of the service processor's own certificate, in hex: for one that nobody vouches for. Given beside `ca`, either of them
    /// is enough.
    #[serde(default)]
    pub fingerprint: Option<Digest>,
}
