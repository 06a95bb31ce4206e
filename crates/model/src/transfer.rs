//! Packages on a node's disk and on their way to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, NodeName, Version};
use crate::time::WallTime;

/// A package that is coming in on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Manifest digest, once it is known.
    #[serde(default)]
    pub package: Option<Digest>,
    /// Version, once it is known.
    #[serde(default)]
    pub version: Option<Version>,
    /// Where it comes from.
    pub source: TransferSource,
    /// Bytes that are here.
    pub received_bytes: u64,
    /// Bytes of all of it, where that is known.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// How fast it comes just now.
    pub bytes_per_second: u64,
    /// When it began.
    pub since: WallTime,
    /// What it met last that keeps it from going on, and when it tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Where a package comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferSource {
    /// A client sends it.
    #[default]
    Upload,
    /// This node fetches it from outside.
    Download {
        /// Whose server.
        host: String,
    },
    /// This node fetches it from another one.
    Pull {
        /// From whom just now.
        #[serde(default)]
        from: Option<NodeName>,
    },
}

/// Why a node does not have a package that it should have, or still has one that it should not, for as long
/// as that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The API's code for it.
    pub code: u32,
    /// What it is, in words.
    pub message: String,
}

/// What a node says of its packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackagesStatus {
    /// Manifest digests of the whole, verified packages on its disk, those of firmware too.
    pub held: Vec<Digest>,
    /// What is on its way.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// Bytes that a package may still take, where that is known.
    #[serde(default)]
    pub room: Option<u64>,
    /// Why a package cannot be had, or cannot be removed.
    #[serde(default)]
    pub trouble: BTreeMap<Digest, Trouble>,
    /// It takes packages without a signature: a lab's node may.
    #[serde(default)]
    pub accepts_unsigned: bool,
}
