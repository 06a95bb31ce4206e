//! How a node's way to the record and to its peers behaves: the lab's `cut` and `slow`.

use std::time::Duration;

/// The state of one node's network, as a fault makes it. Everything that leaves the node asks this
/// first, usually through a `evenkeel_seam::watch::Receiver<LinkState>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkState {
    /// No fault.
    #[default]
    Up,
    /// Every exchange takes this much longer.
    Slow(Duration),
    /// Nothing gets through.
    Cut,
}
