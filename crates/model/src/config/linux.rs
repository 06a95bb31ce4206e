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
    },
}

/// What the inventory does not find out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventorySettings {}
