//! Makes a proven package appear in the store, in one step.

use evenkeel_model::{Digest, Version};

use crate::archive::ArchiveFile;
use crate::aside;
use crate::chunks::chunk_digest;
use crate::fsutil;
use crate::head::SignedManifest;
use crate::partial::{NOTE, Place};
use crate::stage_error::StageError;
use crate::store::{Inner, MANIFEST, SIDECAR, SIGNATURE, StoredPackage};

/// Everything is proven, archive and chunk list are on disk: the rest is written and synced, then the folder
/// gets its name, then that name is made durable.
pub(crate) fn commit(
    place: Place,
    archive: &ArchiveFile,
    signed: &SignedManifest,
) -> Result<StoredPackage, StageError> {
    let package = StoredPackage {
        manifest_digest: signed.digest,
        archive_digest: archive.list().digest(),
        archive_bytes: archive.received(),
        signature_digest: chunk_digest(&signed.signature_text),
        signed_by: signed.signed_by().map(|key| key.to_string()),
        summary: signed.manifest.summary(),
        stage_id: Some(place.stage_id().to_owned()),
    };
    let dir = place.dir();
    let sidecar = serde_json::to_vec_pretty(&package).expect("a package is plain JSON");
    for (name, bytes) in [
        (MANIFEST, &signed.bytes),
        (SIGNATURE, &signed.signature_text),
        (SIDECAR, &sidecar),
    ] {
        let path = dir.join(name);
        fsutil::write_synced(&path, bytes).map_err(StageError::io("write", &path))?;
    }
    fsutil::sync_dir(dir).map_err(StageError::io("sync", dir))?;
    let installed = install(&place, package)?;
    place.growing().whole(archive.received());
    Ok(installed)
}

/// Moves the complete folder to its place. The same archive again replaces the copy that is there, which
/// heals a damaged one; another archive of the same package changes nothing, since peers may be
/// reading the one that is there.
fn install(place: &Place, package: StoredPackage) -> Result<StoredPackage, StageError> {
    let (inner, dir) = (&place.inner, place.dir());
    let digest = package.manifest_digest;
    let to = inner.package_dir(digest);
    let _change = inner.change();
    check_version(inner, digest, &package.summary.version)?;
    let existing = inner.index().packages.get(&digest).cloned();
    match existing {
        Some(existing) if existing.archive_digest != package.archive_digest => {
            return Ok(existing);
        }
        None if !to.exists() => {
            fsutil::rename(dir, &to).map_err(StageError::io("rename into", &to))?;
            if let Err(error) = sync_names(inner) {
                // Not known to be durable, so not here: back to where it comes from. If not even that can
                // be done, the next open sees what is true.
                let _ = fsutil::rename(&to, dir);
                return Err(error);
            }
        }
        // Also a folder that no one knows: left by a rename that could not be undone. Whichever of the
        // two a crash leaves there, it is a proven copy.
        Some(_) | None => {
            fsutil::exchange(dir, &to).map_err(StageError::io("replace", &to))?;
            sync_names(inner)?;
        }
    }
    let mut index = inner.index();
    index.packages.insert(digest, package.clone());
    index.damaged.remove(&digest);
    drop(index);
    tidy(inner, digest);
    Ok(package)
}

fn sync_names(inner: &Inner) -> Result<(), StageError> {
    for folder in [inner.packages_dir(), inner.incoming_dir()] {
        fsutil::sync_dir(&folder).map_err(StageError::io("sync", &folder))?;
    }
    Ok(())
}

/// What is not needed any more now that a good copy is here. Nothing depends on it: the next open of the
/// store does the same.
fn tidy(inner: &Inner, digest: Digest) {
    let damaged = inner.damaged_dir(digest);
    let note = inner.package_dir(digest).join(NOTE);
    let tidied = aside::bury(inner, &damaged).and_then(|()| fsutil::remove_all(&note));
    if let Err(error) = tidied {
        tracing::warn!(package = %digest, %error, "something useless stays in the package store");
    }
}

/// At most one package has a version.
pub(crate) fn check_version(
    inner: &Inner,
    digest: Digest,
    version: &Version,
) -> Result<(), StageError> {
    let other = |p: &&StoredPackage| p.summary.version == *version && p.manifest_digest != digest;
    match inner.index().packages.values().find(other) {
        None => Ok(()),
        Some(existing) => Err(StageError::VersionExists {
            version: version.clone(),
            existing: existing.manifest_digest,
        }),
    }
}
