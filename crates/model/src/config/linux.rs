//! A real Linux controller: the section `[platform]` with `backend = "linux"`.

use serde::{Deserialize, Serialize};

use super::power::{PowerSettings, SpSettings};
use super::slots::SlotSettings;

/// A Linux controller and the engines that it is run by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinuxSettings {
    /// The boot slots.
    pub slots: SlotSettings,
    /// The HA engine; none on a node without a partner.
    #[serde(default)]
    pub failover: Option<FailoverSettings>,
    /// Boots and reboots.
    #[serde(default)]
    pub power: PowerSettings,
    /// Service processors.
    #[serde(default)]
    pub sp: SpSettings,
    /// What is not found out by itself.
    #[serde(default)]
    pub inventory: InventorySettings,
}

/// The HA engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "engine", rename_all = "snake_case", deny_unknown_fields)]
pub enum FailoverSettings {
    /// Pacemaker on Corosync.
    Pacemaker {
        /// The HA partner, by the name that both Evenkeel and Pacemaker know it by.
        partner: crate::id::NodeName,
        /// Addresses that the partner has taken over must answer this node before it shuts down. Without it Pacemaker's word counts:
        /// where this node cannot reach them, as they are of a network that is routed elsewhere.
        #[serde(default = "super::yes")]
        ask_addresses: bool,
    },
}

/// What the inventory does not find out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventorySettings {
    /// The pools of a node without an HA engine; what is found, if none is named. An HA engine names its own.
    #[serde(default)]
    pub pools: Vec<PoolSettings>,
    /// Ports that can carry data LIFs, with their broadcast domains: both partners call the same one by the same name. If none is
    /// named: every port that has an address, and its network is its domain.
    #[serde(default)]
    pub ports: std::collections::BTreeMap<String, String>,
    /// Disks of this node alone, by serial number or by the kernel's name, beside those that its system runs from. Its partner
    /// need not see them, nor need they have two paths.
    #[serde(default)]
    pub local_disks: Vec<String>,
    /// Folder of programs that print, a line each, the jobs that a takeover would break.
    #[serde(default)]
    pub jobs: Option<std::path::PathBuf>,
}

/// A pool of a node without an HA engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    /// Its name.
    pub name: crate::id::PoolName,
    /// The node's root pool.
    #[serde(default)]
    pub root: bool,
    /// What it stands on.
    pub storage: Storage,
}

/// What a pool stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Storage {
    /// A pool of ZFS.
    Zfs {
        /// Its name there.
        pool: String,
    },
    /// A volume group of LVM.
    Vg {
        /// Its name.
        name: String,
    },
    /// An array of the kernel's RAID.
    Md {
        /// `/dev/md0`, `/dev/md/name`.
        device: String,
    },
    /// A mounted filesystem.
    Filesystem {
        /// The device that it is on.
        device: String,
        /// Where it is mounted.
        folder: std::path::PathBuf,
    },
}
