//! What a node demands of a package.

use evenkeel_model::{NodeName, TrustedKey};
use evenkeel_package_store::{Policy, PublicKey, Target, TrustedKeys};
use evenkeel_record::View;

/// Bytes a package may have unpacked: far above any system image, far below a boot disk.
const MAX_UNPACKED_BYTES: u64 = 64 << 30;

/// Whose demands, and what of them is this node's own to say. All else is the record's: keys, revocations,
/// hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePolicy {
    /// The node.
    pub node: NodeName,
    /// Its configuration lets unsigned packages in: a lab's may.
    pub allow_unsigned: bool,
}

impl PackagePolicy {
    /// What the node demands just now: a signature that is trusted, and its own hardware. Before the cluster is
    /// known nothing is trusted.
    pub fn at(&self, view: &View) -> Policy {
        let control = view.control();
        let node = control.topology.as_ref().and_then(|t| t.node(&self.node));
        let target = node.map(|node| Target {
            platform: node.platform.clone(),
            variant: node.variant.clone(),
            features: node.features.clone(),
        });
        Policy {
            trusted: trusted(&control.trusted_keys),
            target,
            max_unpacked_bytes: MAX_UNPACKED_BYTES,
            allow_unsigned: self.allow_unsigned,
        }
    }
}

fn trusted(keys: &[TrustedKey]) -> TrustedKeys {
    let mut trusted = TrustedKeys::none();
    for known in keys {
        match known.public_key.parse::<PublicKey>() {
            Ok(key) if known.revoked.is_some() => trusted.add_revoked(key.id()),
            Ok(key) => trusted.add(key),
            Err(error) => tracing::error!(%error, "a trusted key cannot be read and is ignored"),
        }
    }
    trusted
}
