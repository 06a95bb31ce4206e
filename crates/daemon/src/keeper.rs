//! Keeps this node's packages, those of firmware too, as the catalogue says: pulls what is missing, removes what nobody refers
//! to any more. That is how a node that was down catches up, and how a deletion reaches every node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_agent::{NodeDb, Packages};
use evenkeel_interconnect::pulled_package;
use evenkeel_model::{Action, Digest, OperationKind, Trouble, code};
use evenkeel_package_store::{Deleted, Store, StoreError};
use evenkeel_record::{Follower, View};
use tokio::sync::{Notify, RwLock};
use tokio::time::Instant;

use crate::error::chain;
use crate::packages::NodePackages;

/// How often the store is compared without news.
const PERIOD: Duration = Duration::from_secs(5);
/// How soon after the first failed pull, and after a failed removal. Each further failed pull doubles it…
const RETRY: Duration = Duration::from_secs(1);
/// …up to this: a holder that returns is noticed about so soon.
const RETRY_MOST: Duration = Duration::from_secs(15);

/// Held (shared) while a package begins to come in from outside. From then on its open operation says, in
/// the record, that it must not be taken for a leftover before the catalogue names it.
pub(crate) type Incoming = Arc<RwLock<()>>;

/// What it takes to keep packages.
pub(crate) struct Keeper {
    pub(crate) store: Store,
    /// Says which orders are open: firmware that one of them works with stays.
    pub(crate) db: NodeDb,
    pub(crate) packages: Arc<NodePackages>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) incoming: Incoming,
    /// Rung when a copy was set aside.
    pub(crate) bell: Arc<Notify>,
}

/// A package that could not be pulled.
struct Failed {
    /// What was logged of it: trying goes on for as long as it takes.
    told: String,
    pause: Duration,
    next: Instant,
}

impl Keeper {
    /// Runs until dropped. Removing does not wait for a pull, which may take as long as its source likes.
    pub(crate) async fn run(self) {
        tokio::join!(self.keep_pulling(), self.keep_removing());
    }

    async fn keep_pulling(&self) {
        let mut views = self.follower.views();
        let mut failed = BTreeMap::new();
        loop {
            views.mark_unchanged();
            let next = self.pull_missing(&mut failed).await;
            let until = next.map_or(PERIOD, |next| {
                PERIOD.min(next.saturating_duration_since(Instant::now()))
            });
            tokio::select! {
                // Gone only with the daemon.
                changed = views.changed() => if changed.is_err() { return },
                () = self.bell.notified() => {}
                () = tokio::time::sleep(until) => {}
            }
        }
    }

    async fn keep_removing(&self) {
        let mut views = self.follower.views();
        loop {
            views.mark_unchanged();
            let settled = self.remove_leftovers().await;
            let pause = if settled { PERIOD } else { RETRY };
            tokio::select! {
                // Gone only with the daemon.
                changed = views.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Says when something is to be tried again.
    async fn pull_missing(&self, failed: &mut BTreeMap<Digest, Failed>) -> Option<Instant> {
        let view = self.follower.view();
        failed.retain(|digest, _| is_named(&view, *digest));
        self.packages
            .puller
            .forget_trouble_except(|digest| is_named(&view, digest));
        for digest in &self.missing(&view) {
            let earlier = failed.get(digest);
            if earlier.is_some_and(|failed| failed.next > Instant::now()) {
                continue;
            }
            let pulled = tokio::select! {
                pulled = self.packages.pull(*digest) => pulled,
                // It was deleted meanwhile: what is here of it goes with the leftovers.
                () = self.unwanted(*digest) => Ok(()),
            };
            let Err(error) = pulled else {
                failed.remove(digest);
                continue;
            };
            let told = error.to_string();
            if earlier.is_none_or(|earlier| earlier.told != told) {
                tracing::warn!(package = %digest, why = told, "cannot pull package {digest}; trying again: {told}");
            }
            let pause = earlier.map_or(RETRY, |earlier| (earlier.pause * 2).min(RETRY_MOST));
            let next = Instant::now() + pause;
            failed.insert(*digest, Failed { told, pause, next });
        }
        failed.values().map(|failed| failed.next).min()
    }

    /// What the catalogue names and is not here.
    fn missing(&self, view: &View) -> Vec<Digest> {
        let packages = view.catalogue().packages.keys();
        let packages = packages.filter(|digest| self.store.get(**digest).is_none());
        let firmware = view.catalogue().firmware.keys();
        let firmware = firmware.filter(|digest| self.store.get_firmware(**digest).is_none());
        packages.chain(firmware).copied().collect()
    }

    /// Returns when the catalogue does not name the package any more.
    async fn unwanted(&self, digest: Digest) {
        let mut views = self.follower.views();
        // Gone only with the daemon, which ends this too.
        let gone = |view: &Arc<View>| !is_named(view, digest);
        if views.wait_for(gone).await.is_err() {
            std::future::pending().await
        }
    }

    /// What is left of pulls of packages that nobody wants any more. They have no worth but the time that
    /// getting them again would take, so the view is good enough to judge by.
    async fn discard_partials(&self, view: &View) -> bool {
        let store = self.store.clone();
        let catalogue = view.catalogue();
        let wanted = catalogue.packages.keys().chain(catalogue.firmware.keys());
        let wanted: Vec<_> = wanted.copied().collect();
        let discarded = tokio::task::spawn_blocking(move || {
            for partial in store.partials().unwrap_or_default() {
                let package = pulled_package(&partial.stage_id);
                if package.is_some_and(|package| !wanted.contains(&package)) {
                    tracing::info!(
                        stage = partial.stage_id,
                        "what was here of a package is not wanted"
                    );
                    store.discard(&partial.stage_id)?;
                }
            }
            Ok::<_, evenkeel_package_store::StageError>(())
        });
        match discarded.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = chain(&error),
                    "cannot discard what is left of a package"
                );
                false
            }
            Err(error) => {
                tracing::error!(%error, "discarding what is left of a package panicked");
                false
            }
        }
    }

    /// No effect starts from a mirror: what is a leftover is judged by the record as it is now.
    async fn remove_leftovers(&self) -> bool {
        let discarded = self.discard_partials(&self.follower.view()).await;
        let held: Vec<Digest> = self.held();
        if held
            .iter()
            .all(|digest| is_wanted(&self.follower.view(), *digest))
        {
            self.packages.set_kept(BTreeMap::new());
            return discarded;
        }
        let Ok(_nothing_incoming) = self.incoming.try_write() else {
            return discarded;
        };
        let Ok(view) = self.follower.refresh().await else {
            return false;
        };
        let mut kept = BTreeMap::new();
        let leftovers = held.into_iter();
        let leftovers = leftovers.filter(|digest| !is_wanted(&view, *digest));
        for digest in leftovers.filter(|digest| !self.is_in_use(*digest)) {
            if let Err(message) = self.remove(digest).await {
                let code = code::CLEANUP_NODE;
                kept.insert(digest, Trouble { code, message });
            }
        }
        let settled = discarded && kept.is_empty();
        self.packages.set_kept(kept);
        settled
    }

    fn held(&self) -> Vec<Digest> {
        let firmware = self.store.firmware().into_iter().map(|it| it.digest);
        let packages = self.store.list();
        let packages = packages.iter().map(|package| package.manifest_digest);
        packages.chain(firmware).collect()
    }

    /// Whether an order that has not ended works with the firmware; if that cannot be read, it may.
    fn is_in_use(&self, digest: Digest) -> bool {
        let Ok(open) = self.db.open_orders() else {
            return true;
        };
        open.iter().any(|entry| {
            matches!(entry.order.task.action, Action::Firmware { package, .. } if package == digest)
        })
    }

    /// Says why it cannot.
    async fn remove(&self, digest: Digest) -> Result<(), String> {
        let store = self.store.clone();
        let deleted = tokio::task::spawn_blocking(move || delete(&store, digest)).await;
        match deleted {
            Ok(Ok(_)) => {
                tracing::info!(package = %digest, "package {digest} is removed");
                Ok(())
            }
            Ok(Err(error)) => {
                let error = chain(&error);
                tracing::warn!(package = %digest, error, "cannot remove package {digest}: {error}");
                Err(error)
            }
            Err(error) => {
                tracing::error!(package = %digest, %error, "removing a package panicked");
                Err("removing it panicked".to_owned())
            }
        }
    }
}

fn delete(store: &Store, digest: Digest) -> Result<Deleted, StoreError> {
    match store.get_firmware(digest) {
        Some(_) => store.delete_firmware(digest),
        None => store.delete(digest),
    }
}

fn is_named(view: &View, digest: Digest) -> bool {
    let catalogue = view.catalogue();
    catalogue.packages.contains_key(&digest) || catalogue.firmware.contains_key(&digest)
}

/// In the catalogue, or perhaps about to be: a get on this node may have been interrupted between
/// storing it and naming it, and only that operation's end says what becomes of it.
fn is_wanted(view: &View, digest: Digest) -> bool {
    is_named(view, digest) || view.control().open_of(OperationKind::PackageGet).is_some()
}
