//! The lab's CA and the certificates it signs: those of a cluster that nobody joins.

use std::path::Path;

use anyhow::Result;

/// The CA whose files these are; made when they do not exist. Nothing of a lab runs out.
pub(crate) fn open(name: &str, certificate: &Path, key: &Path) -> Result<evenkeel_identity::Ca> {
    Ok(evenkeel_identity::Ca::open_or_make(
        name,
        certificate,
        key,
        None,
    )?)
}
