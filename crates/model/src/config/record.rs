//! Where the record lives: the section `[record]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// The file, below the folder where the pool is mounted by whichever node serves it.
    pub path: PathBuf,
}
