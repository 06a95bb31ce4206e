//! The firmware that a software package brings, looked at when the package is built. What nodes refuse of it shows there
//! only after the cluster's update to the package: too late for whoever built it.

use std::collections::BTreeMap;
use std::path::Path;

use evenkeel_model::Manifest;

use crate::build_error::BuildError;
use crate::head::Policy;
use crate::keys::SecretKey;

use super::error::FirmwareError;
use super::prove::{SignedFirmware, verify_all_but_trust};

/// Proves the firmware that `manifest` names in the tree at `root`, and gives it in that order. `key` is the one that
/// the software package is signed with.
pub(crate) fn prove_brought(
    root: &Path,
    manifest: &Manifest,
    key: &SecretKey,
) -> Result<Vec<SignedFirmware>, BuildError> {
    let mut brought = Vec::with_capacity(manifest.firmware.len());
    let mut paths = BTreeMap::new();
    for path in manifest.firmware.iter().map(|bundled| &bundled.path) {
        let signed = prove_one(&root.join(path), key).map_err(|source| BuildError::Firmware {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let kind = signed.manifest.kind;
        for image in &signed.manifest.images {
            // Both would be written, one after the other: every such device would be taken out of service twice, or
            // the second one skipped as older.
            let model = image.model.clone();
            if let Some(first) = paths.insert((kind, model.clone()), path.clone()) {
                let second = path.clone();
                return Err(BuildError::FirmwareTwice {
                    first,
                    second,
                    kind,
                    model,
                });
            }
        }
        brought.push(signed);
    }
    Ok(brought)
}

/// Unsigned firmware is refused, though a lab may take it: a cluster would take the software package, update to it, and
/// only then refuse its firmware. To sign it is no burden, since whoever builds has a key at hand.
fn prove_one(path: &Path, key: &SecretKey) -> Result<SignedFirmware, FirmwareError> {
    let signed = verify_all_but_trust(path)?;
    let public = key.public();
    // Another key's signature cannot be checked here.
    if signed.signed_by() == Some(public.id()) {
        signed.check(&Policy::trusting([public].into_iter().collect()))?;
    }
    Ok(signed)
}
