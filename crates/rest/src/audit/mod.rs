//! Who asked for which change, from where, and what became of it: kept on the node that was asked, and read
//! from all of them.
//!
//! Invariants: a request is on disk before it is carried out; nothing secret is ever written; the log has a
//! bound; what strangers cause cannot push out what users did.

mod journal;
mod local;
mod log;
mod summary;
mod told;

use async_trait::async_trait;
use evenkeel_model::{AuditRecord, NodeName};

pub use local::noted_locally;
pub(crate) use log::{Asking, Noted};
pub use log::{AuditError, AuditLog};
pub(crate) use summary::{of_body, of_query};
pub(crate) use told::Told;

/// The logs of all nodes.
#[async_trait]
pub trait Audits: Send + Sync + 'static {
    /// The newest entries of each node, oldest first; `None` for one that does not answer.
    async fn newest(&self, most: usize) -> Vec<(NodeName, Option<Vec<AuditRecord>>)>;
}
