//! Packages between this node's store, its peers and its agent, as the catalogue names them.

use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_agent::{Packages, PackagesError};
use evenkeel_interconnect::{PullError, PullOrder, Puller};
use evenkeel_model::{Digest, PackagesStatus};
use evenkeel_record::View;
use evenkeel_rest::PackagePolicy;
use tokio::sync::watch;

/// Pulls what the catalogue names.
pub(crate) struct NodePackages {
    pub(crate) policy: PackagePolicy,
    pub(crate) puller: Arc<Puller>,
    pub(crate) views: watch::Receiver<Arc<View>>,
}

impl NodePackages {
    /// What a pull of the package takes; `None` if it is not in the catalogue.
    pub(crate) fn order(&self, package: Digest) -> Option<PullOrder> {
        let view = Arc::clone(&self.views.borrow());
        let entry = view.catalogue().packages.get(&package)?;
        let topology = view.control().topology.iter();
        Some(PullOrder {
            package,
            archive: entry.package.archive_digest,
            archive_bytes: entry.package.archive_bytes,
            origin: entry.origin.clone(),
            members: topology.flat_map(|it| it.names()).cloned().collect(),
            policy: self.policy.at(&view),
        })
    }
}

#[async_trait]
impl Packages for NodePackages {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        Ok(self.puller.status())
    }

    async fn pull(&self, package: Digest) -> Result<(), PackagesError> {
        let order = self.order(package).ok_or_else(|| {
            PackagesError::Refused(format!("package {package} is not in the catalogue"))
        })?;
        let pulled = self.puller.pull(&order).await;
        pulled.map_err(|error: PullError| match error.is_refusal() {
            true => PackagesError::Refused(error.chain()),
            false => PackagesError::Unavailable(error.chain()),
        })
    }
}
