//! What the record needs from the rest of the daemon: a way to the partner, and what the HA engine says.

use async_trait::async_trait;
use evenkeel_model::NodeName;

/// Why the partner gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It was not reached: the request had no effect.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The answer did not come: the request may have had its effect.
    #[error("it did not answer: {0}")]
    NoAnswer(String),
}

/// The way to the partner's [`SharedPoolRecord`](super::SharedPoolRecord). Authenticated: whoever answers is the partner.
#[async_trait]
pub trait RecordPeer: Send + Sync + 'static {
    /// Hands the request to the partner's [`serve`](super::SharedPoolRecord::serve), and brings back what that returns.
    async fn call(&self, request: Vec<u8>) -> Result<Vec<u8>, PeerError>;
}

/// What the HA engine says of the nodes.
pub trait StandIn: Send + Sync + 'static {
    /// Whether `node` could take the pool now. If not, or if it is not known: why, for people.
    fn can_take(&self, node: &NodeName) -> Result<(), String>;
}
