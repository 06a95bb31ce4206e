//! Packages between this node's store, its peers and its agent, as the catalogue names them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_agent::{Packages, PackagesError};
use evenkeel_interconnect::{
    Content, PackageBody, PackageSource, PullError, PullOrder, Puller, StoreSource, Wanted,
};
use evenkeel_model::{Digest, NodeName, PackagesStatus, Trouble};
use evenkeel_record::View;
use evenkeel_rest::{LiveDownload, PackagePolicy};
use evenkeel_seam::watch;

use crate::error::chain;

/// Pulls what the catalogue names, and says how it stands with this node's packages.
pub(crate) struct NodePackages {
    pub(crate) policy: PackagePolicy,
    pub(crate) puller: Arc<Puller>,
    pub(crate) views: watch::Receiver<Arc<View>>,
    /// The download that this node makes.
    pub(crate) live: LiveDownload,
    /// Packages that should be gone and cannot be removed.
    pub(crate) kept: Mutex<BTreeMap<Digest, Trouble>>,
}

impl NodePackages {
    /// What this node says of its packages, to its agent and to the other nodes.
    pub(crate) fn state(&self) -> PackagesStatus {
        let mut status = self.puller.status();
        self.live.add_to(&mut status.transfers);
        status.accepts_unsigned = self.policy.allow_unsigned;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        status.trouble.extend(kept.clone());
        status
    }

    /// Why these packages are still here.
    pub(crate) fn set_kept(&self, kept: BTreeMap<Digest, Trouble>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// What a pull of the package takes; `None` if it is not in the catalogue.
    pub(crate) fn order(&self, package: Digest) -> Option<PullOrder> {
        let view = Arc::clone(&self.views.borrow());
        let catalogue = view.catalogue();
        let software = catalogue.packages.get(&package).map(|entry| {
            let (it, origin) = (&entry.package, &entry.origin);
            (
                Content::Software,
                it.archive_digest,
                it.archive_bytes,
                origin,
            )
        });
        let firmware = || {
            let entry = catalogue.firmware.get(&package)?;
            let (it, origin) = (&entry.firmware, &entry.origin);
            Some((
                Content::Firmware,
                it.archive_digest,
                it.archive_bytes,
                origin,
            ))
        };
        let (content, archive, archive_bytes, origin) = software.or_else(firmware)?;
        let topology = view.control().topology.iter();
        Some(PullOrder {
            package,
            content,
            archive,
            archive_bytes,
            origin: origin.clone(),
            members: topology.flat_map(|it| it.names()).cloned().collect(),
            policy: self.policy.at(&view),
        })
    }
}

#[async_trait]
impl Packages for NodePackages {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        Ok(self.state())
    }

    async fn pull(&self, package: Digest) -> Result<(), PackagesError> {
        let order = self.order(package).ok_or_else(|| {
            PackagesError::Refused(format!("package {package} is not in the catalogue"))
        })?;
        let pulled = self.puller.pull(&order).await;
        pulled.map_err(|error: PullError| match error.is_refusal() {
            true => PackagesError::Refused(chain(&error)),
            false => PackagesError::Unavailable(chain(&error)),
        })
    }
}

/// What other nodes may ask of this one's packages.
pub(crate) struct Served {
    pub(crate) source: StoreSource,
    pub(crate) packages: Arc<NodePackages>,
}

#[async_trait]
impl PackageSource for Served {
    async fn open(&self, wanted: Wanted) -> io::Result<Option<PackageBody>> {
        self.source.open(wanted).await
    }

    async fn chunks(&self, package: Digest, archive: Option<Digest>) -> io::Result<Option<Bytes>> {
        self.source.chunks(package, archive).await
    }

    async fn status(&self) -> PackagesStatus {
        self.packages.state()
    }

    async fn suspect(&self, package: Digest, by: &NodeName) {
        self.source.suspect(package, by).await;
    }
}
