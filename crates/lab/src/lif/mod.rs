//! Data LIFs: a server process on each node that dies with the node's power, and the protocol that
//! clients read with.
//!
//! A client sends `READ n\n` and is answered `DATA n NODE LIF\n`, any number of times on a connection.

mod process;
mod server;

pub(crate) use process::LifProcess;
pub(crate) use server::serve;

use serde::{Deserialize, Serialize};

/// Longest line of the protocol.
pub(crate) const MAX_LINE: usize = 256;

/// A line from the supervisor to a LIF server: from now on it hosts these, and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hosting {
    pub(crate) lifs: Vec<HostedLif>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct HostedLif {
    pub(crate) lif: String,
    pub(crate) address: String,
}
