//! What this node demands of a package: what the record says, and nothing of its own.

use evenkeel_model::NodeName;
use evenkeel_package_store::{Policy, PublicKey, Target, TrustedKeys};
use evenkeel_record::View;

/// Most bytes that a package may have unpacked: far above any real image, far below any disk.
const MAX_UNPACKED: u64 = 64 << 30;

/// The cluster's trusted keys and this node's hardware. Before the cluster is known nothing is trusted.
pub(crate) fn policy(view: &View, node: &NodeName) -> Policy {
    let mut trusted = TrustedKeys::none();
    for text in &view.control().trusted_keys {
        match text.parse::<PublicKey>() {
            Ok(key) => trusted.add(key),
            Err(error) => tracing::warn!(%error, "a trusted key of the record is not believed"),
        }
    }
    let topology = view.control().topology.as_ref();
    let target = topology
        .and_then(|topology| topology.node(node))
        .map(|node| Target {
            platform: node.platform.clone(),
            variant: None,
        });
    Policy {
        target,
        max_unpacked_bytes: MAX_UNPACKED,
        ..Policy::trusting(trusted)
    }
}
