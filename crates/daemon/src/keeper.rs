//! Keeps this node's packages as the catalogue says: pulls what is missing, removes what nobody refers
//! to any more. That is how a node that was down catches up, and how a deletion reaches every node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_agent::{Packages, PackagesError};
use evenkeel_model::{Digest, OperationKind};
use evenkeel_package_store::Store;
use evenkeel_record::{Follower, View};
use tokio::sync::RwLock;

use crate::error::chain;
use crate::packages::Puller;

/// How often the store is compared without news.
const PERIOD: Duration = Duration::from_secs(5);
/// How soon after a failed pull or removal.
const RETRY: Duration = Duration::from_secs(1);

/// Held (shared) while a package begins to come in from outside. From then on its open operation says, in
/// the record, that it must not be taken for a leftover before the catalogue names it.
pub(crate) type Incoming = Arc<RwLock<()>>;

/// What it takes to keep packages.
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) puller: Arc<Puller>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) incoming: Incoming,
}

impl Keeper {
    /// Runs until dropped.
    pub(crate) async fn run(self) {
        let mut views = self.follower.views();
        let mut told = BTreeMap::new();
        loop {
            views.mark_unchanged();
            let settled = self.pull_missing(&mut told).await & self.remove_leftovers().await;
            let pause = if settled { PERIOD } else { RETRY };
            tokio::select! {
                // Gone only with the daemon.
                changed = views.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// `told` is what was logged of each package: trying goes on for as long as it takes.
    async fn pull_missing(&self, told: &mut BTreeMap<Digest, String>) -> bool {
        let view = self.follower.view();
        let missing = view.catalogue().packages.keys();
        let mut settled = true;
        for digest in missing.filter(|digest| self.store.get(**digest).is_none()) {
            let Err(error) = self.puller.pull(*digest).await else {
                told.remove(digest);
                continue;
            };
            settled &= matches!(error, PackagesError::Refused(_));
            let why = error.to_string();
            if told.get(digest) != Some(&why) {
                tracing::warn!(package = %digest, why, "cannot pull a package; trying again");
                told.insert(*digest, why);
            }
        }
        settled
    }

    /// No effect starts from a mirror: what is a leftover is judged by the record as it is now.
    async fn remove_leftovers(&self) -> bool {
        let held: Vec<Digest> = self
            .store
            .list()
            .iter()
            .map(|p| p.manifest_digest)
            .collect();
        if held
            .iter()
            .all(|digest| is_wanted(&self.follower.view(), *digest))
        {
            return true;
        }
        let Ok(_nothing_incoming) = self.incoming.try_write() else {
            return true;
        };
        let Ok(view) = self.follower.refresh().await else {
            return false;
        };
        let mut settled = true;
        for digest in held.into_iter().filter(|digest| !is_wanted(&view, *digest)) {
            let store = self.store.clone();
            let deleted = tokio::task::spawn_blocking(move || store.delete(digest)).await;
            match deleted {
                Ok(Ok(_)) => tracing::info!(package = %digest, "package removed"),
                Ok(Err(error)) => {
                    settled = false;
                    tracing::warn!(package = %digest, error = chain(&error), "cannot remove a package");
                }
                Err(error) => {
                    settled = false;
                    tracing::error!(package = %digest, %error, "removing a package panicked");
                }
            }
        }
        settled
    }
}

/// In the catalogue, or perhaps about to be: a get on this node may have been interrupted between
/// storing it and naming it, and only that operation's end says what becomes of it.
fn is_wanted(view: &View, digest: Digest) -> bool {
    let catalogue = &view.catalogue().packages;
    catalogue.contains_key(&digest) || view.control().open_of(OperationKind::PackageGet).is_some()
}
