//! How packages leave the store: deleted, or set aside as damaged.

use std::fs;

use evenkeel_model::Digest;

use crate::aside;
use crate::fsutil;
use crate::scrub::{CopyId, copy_in};
use crate::store::{Inner, Store, StoreError};

/// How a deletion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was here and is gone for good.
    Removed,
    /// It was not here.
    WasNotThere,
}

/// How setting a package aside ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quarantined {
    /// It is not served any more.
    SetAside,
    /// The damaged copy is gone already: another one is here, or none.
    HealedBefore,
}

/// A package whose copy here does not hold what was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPackage {
    /// Which.
    pub digest: Digest,
    /// What is wrong with the copy.
    pub why: String,
}

impl Store {
    /// Removes a package, a damaged copy too; durable when it returns, though its files go later. Doing it
    /// again is fine. Whether it *may* go — no operation refers to it — is for the caller to know.
    pub fn delete(&self, digest: Digest) -> Result<Deleted, StoreError> {
        let inner = &self.inner;
        let _change = inner.change();
        // First out of sight: nobody begins to read what is about to go.
        let package = inner.index().packages.remove(&digest);
        let damaged = inner.index().damaged.remove(&digest);
        let from = inner.package_dir(digest);
        if let Err(error) = aside::bury(inner, &from) {
            let mut index = inner.index();
            index.packages.extend(package.map(|it| (digest, it)));
            index.damaged.extend(damaged.map(|it| (digest, it)));
            return Err(StoreError::io("remove", &from)(error));
        }
        let rotten = inner.damaged_dir(digest);
        aside::bury(inner, &rotten).map_err(StoreError::io("remove", &rotten))?;
        // Even if it was not there: an earlier call may have failed just here.
        sync(inner)?;
        Ok(match (package, damaged) {
            (None, None) => Deleted::WasNotThere,
            (Some(_), _) | (None, Some(_)) => Deleted::Removed,
        })
    }

    /// Sets a package aside whose copy is damaged: from now on it is neither listed nor served, and a good
    /// copy can come in. The damaged one can be looked at until then, or until the store is opened again.
    /// With `copy`, a copy that has taken its place since stays.
    pub fn quarantine(
        &self,
        digest: Digest,
        copy: Option<CopyId>,
        why: &str,
    ) -> Result<Quarantined, StoreError> {
        let inner = &self.inner;
        let _change = inner.change();
        if copy.is_some() && copy_in(&inner.package_dir(digest)) != copy {
            return Ok(Quarantined::HealedBefore);
        }
        if inner.index().packages.remove(&digest).is_none() {
            return Err(StoreError::NotThere { digest });
        }
        set_aside(inner, digest, why)?;
        sync(inner)?;
        Ok(Quarantined::SetAside)
    }

    /// What was set aside as damaged since the store was opened, and has not come in again.
    pub fn damaged(&self) -> Vec<DamagedPackage> {
        let index = self.inner.index();
        let damaged = index.damaged.iter();
        damaged
            .map(|(digest, why)| DamagedPackage {
                digest: *digest,
                why: why.clone(),
            })
            .collect()
    }

    /// What was set aside as damaged since this was last asked, also if a good copy has come in meanwhile.
    pub fn take_damage(&self) -> Vec<DamagedPackage> {
        std::mem::take(&mut self.inner.index().untold)
    }
}

/// Moves a package's folder aside. Durable with a sync of the folders.
pub(crate) fn set_aside(inner: &Inner, digest: Digest, why: &str) -> Result<(), StoreError> {
    let (from, to) = (inner.package_dir(digest), inner.damaged_dir(digest));
    tracing::error!(package = %digest, why, "the stored copy of a package is damaged");
    inner.index().damaged.insert(digest, why.to_owned());
    aside::bury(inner, &to).map_err(StoreError::io("remove", &to))?;
    fsutil::rename(&from, &to).map_err(StoreError::io("set aside", &from))?;
    inner.index().untold.push(DamagedPackage {
        digest,
        why: why.to_owned(),
    });
    // For whoever looks at it; without consequence.
    let _ = fs::write(to.join("why"), format!("{why}\n"));
    Ok(())
}

fn sync(inner: &Inner) -> Result<(), StoreError> {
    for folder in [inner.packages_dir(), inner.aside_dir()] {
        fsutil::sync_dir(&folder).map_err(StoreError::io("sync", &folder))?;
    }
    Ok(())
}
