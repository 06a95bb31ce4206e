//! What pools stand on, and who serves them.

use async_trait::async_trait;
use evenkeel_model::{NodeName, PoolName};

use evenkeel_platform::PlatformError;

pub use evenkeel_model::Storage;

/// A pool as whoever moves it knows it: where it belongs, where it is, and what it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlace {
    /// Its name.
    pub name: PoolName,
    /// The node that serves it when all is well.
    pub home: NodeName,
    /// The node that serves it now, if any.
    pub owner: Option<NodeName>,
    /// The home's root pool.
    pub root: bool,
    /// What it stands on: its health is the worst of these. A pool of which nobody says what it stands on has no health that could
    /// be known.
    pub storage: Vec<Storage>,
}

/// Names the pools of this node and its partner: an HA engine, or this node's configuration.
#[async_trait]
pub trait PoolPlaces: Send + Sync {
    /// All pools that either of them could serve.
    async fn pools(&self) -> Result<Vec<PoolPlace>, PlatformError>;
}

/// In words, for people.
pub(crate) fn text(storage: &Storage) -> String {
    match storage {
        Storage::Zfs { pool } => format!("the ZFS pool {pool}"),
        Storage::Vg { name } => format!("the volume group {name}"),
        Storage::Md { device } => format!("the array {device}"),
        Storage::Filesystem { device, folder } => {
            format!("the filesystem of {device} on {}", folder.display())
        }
    }
}
