//! One pull, from source to source.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use evenkeel_model::{NodeName, TransferSource};
use evenkeel_package_store::{CHUNK_BYTES, StageError, StageLimits};
use tokio::time::Instant;

use super::hop::Took;
use super::inlet::Inlet;
use super::list::{self, Archive};
use super::{Content, Current, PullError, PullOrder, Puller, pull_stage_id};
use crate::chain::{Source, sources};

/// A package on its way.
pub(super) struct Pull<'a> {
    pub(super) puller: &'a Puller,
    pub(super) order: &'a PullOrder,
    pub(super) archive: Archive,
    pub(super) staging: Inlet,
    /// Bytes handed to the store: at a chunk's boundary.
    pub(super) next: u64,
    /// The chunk that is coming in.
    pub(super) chunk: BytesMut,
    /// Until when predecessors may begin; together, so that a node that comes late does not wait for each.
    pub(super) may_begin: Instant,
    /// Sources that failed, and how often: those that did not are asked first.
    failed: BTreeMap<NodeName, u32>,
    /// Sources that sent what is not the catalogue's: never asked again.
    bad: BTreeSet<NodeName>,
    /// How often a source was left only because it was slow.
    pub(super) left_slow: u32,
}

pub(super) async fn run(puller: &Puller, order: &PullOrder) -> Result<(), PullError> {
    let archive = list::find(puller, order).await?;
    let (staging, next) = stage(puller, order, &archive).await?;
    *puller.current() = Some(Current {
        package: order.package,
        archive: archive.digest,
        list: Bytes::copy_from_slice(archive.list.as_bytes()),
        from: None,
    });
    let pull = Pull {
        puller,
        order,
        archive,
        staging,
        next,
        chunk: BytesMut::new(),
        may_begin: Instant::now() + puller.bounds.begin,
        failed: BTreeMap::new(),
        bad: BTreeSet::new(),
        left_slow: 0,
    };
    pull.run().await
}

/// Begins, or goes on with what an earlier pull of the same archive has left.
async fn stage(
    puller: &Puller,
    order: &PullOrder,
    archive: &Archive,
) -> Result<(Inlet, u64), PullError> {
    let (store, policy, id) = (
        puller.store.clone(),
        order.policy.clone(),
        pull_stage_id(order.package),
    );
    let limits = StageLimits {
        expected_bytes: Some(archive.bytes),
        expected_package: Some(order.package),
        expected_archive: Some(archive.digest),
        keep_partial: true,
        source: TransferSource::Pull { from: None },
        ..StageLimits::default()
    };
    if order.content == Content::Firmware {
        let begun = tokio::task::spawn_blocking(move || store.begin_firmware(&id, policy, limits));
        let staging = begun.await.unwrap_or(Err(StageError::Ended))?;
        return Ok((Inlet::Firmware(staging), 0));
    }
    let note = archive.digest.to_string().into_bytes();
    let begun = tokio::task::spawn_blocking(move || {
        let kept = store.partials().unwrap_or_default();
        if kept
            .iter()
            .any(|kept| kept.stage_id == id && kept.note == note)
        {
            match store.resume(&id, policy.clone(), limits.clone()) {
                Ok((staging, next)) if next % CHUNK_BYTES == 0 => {
                    tracing::info!(
                        stage = id,
                        bytes = next,
                        "going on with what is here of a package"
                    );
                    return Ok((staging, next));
                }
                Ok((staging, _)) => staging.abort_blocking(),
                Err(error @ (StageError::NoSpace { .. } | StageError::Busy { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(stage = id, %error, "what was here of a package is no use")
                }
            }
        }
        let staging = store.begin(&id, policy, limits)?;
        staging.note(&note)?;
        Ok((staging, 0))
    });
    let (staging, next) = begun.await.unwrap_or(Err(StageError::Ended))?;
    Ok((Inlet::Software(staging), next))
}

impl Pull<'_> {
    async fn run(mut self) -> Result<(), PullError> {
        let mut fruitless = 0;
        let mut why = BTreeMap::new();
        while self.next < self.archive.bytes {
            let before = self.next;
            for source in self.sources() {
                match self.take(&source).await? {
                    Took::All => break,
                    Took::Left(reason) => {
                        if self.next > before {
                            tracing::info!(source = %source.node, at = self.next, reason, "leaving a source");
                        } else {
                            tracing::debug!(source = %source.node, reason, "a source gives nothing");
                        }
                        *self.failed.entry(source.node.clone()).or_default() += 1;
                        why.insert(source.node, reason);
                    }
                    Took::Bad(reason) => {
                        self.report(&source.node, &reason).await;
                        self.bad.insert(source.node.clone());
                        why.insert(source.node, reason);
                    }
                }
                if self.next > before {
                    break;
                }
            }
            if self.next > before {
                fruitless = 0;
                continue;
            }
            fruitless += 1;
            self.failed.clear();
            if fruitless >= self.puller.bounds.rounds {
                return self.give_up(why.into_values().collect()).await;
            }
            tokio::time::sleep(self.puller.bounds.pause).await;
        }
        let what = self.staging.finish().await?;
        tracing::info!(what, package = %self.order.package, "package pulled");
        Ok(())
    }

    /// Whom to ask, the best first.
    pub(super) fn sources(&self) -> Vec<Source> {
        let order = self.order;
        let mut all = sources(&order.members, &order.origin, &self.puller.node);
        all.retain(|source| !self.bad.contains(&source.node));
        // Stable: those that did equally well stay in the chain's order.
        all.sort_by_key(|source| self.failed.get(&source.node).copied().unwrap_or(0));
        all
    }

    /// What is here stays for the next try.
    async fn give_up(self, why: Vec<String>) -> Result<(), PullError> {
        self.staging.leave().await?;
        let package = self.order.package;
        Err(PullError::NoSource { package, why })
    }

    async fn report(&self, node: &NodeName, why: &str) {
        let package = self.order.package;
        tracing::error!(%node, %package, why, "a node sent what is not the catalogue's");
        let told = self.puller.peers.suspect(node, package);
        match tokio::time::timeout(self.puller.bounds.ask, told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%node, %error, "it cannot be told"),
            Err(_) => tracing::warn!(%node, "it cannot be told: it does not answer"),
        }
    }
}
