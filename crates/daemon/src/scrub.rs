//! Reads stored packages anew, slowly and in the background, about once a week: disks rot. A copy that is
//! damaged is set aside, the keeper pulls it again from another node, and events say so.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::Digest;
use evenkeel_orchestrator::{CopyNote, CopyState, FrontDoor};
use evenkeel_package_store::{CopyId, Quarantined, ScrubOutcome, Store, StoreError};
use evenkeel_record::Follower;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::packages::NodePackages;

/// Packages whose copy here another node found bad.
pub(crate) type Suspects = mpsc::Receiver<Digest>;

/// From one scrub of a package to the next.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often the ages, and what an extraction found damaged, are looked at, at most…
const TICK: Duration = Duration::from_secs(5);
/// …and while something damaged is to be told or healed.
const TICK_DAMAGED: Duration = Duration::from_secs(1);
/// However short a lab's period is.
const TICK_LEAST: Duration = Duration::from_millis(50);
/// How often the ages are written down: so much may be forgotten by a restart.
const SAVE: Duration = Duration::from_secs(600);
/// What a scrub reads per second, so that it is not felt: half a per cent of what a disk gives would do as
/// well, but then a large package would take a day.
const BYTES_PER_SECOND: u64 = 32 << 20;

/// What it takes to scrub packages.
pub(crate) struct Scrubber {
    pub(crate) store: Store,
    pub(crate) packages: Arc<NodePackages>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) front: FrontDoor,
    /// Where the ages are kept.
    pub(crate) file: PathBuf,
    /// Only in a lab: instead of a week.
    pub(crate) every: Option<Duration>,
    /// Rings the keeper.
    pub(crate) bell: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

/// What outlives a restart.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// Since the last scrub of each package: time in which a daemon ran, so it needs no clock.
    #[serde(default)]
    age_ms: BTreeMap<Digest, u64>,
    /// Copies that were found damaged, until they are here again and that has been told.
    #[serde(default)]
    damaged: BTreeMap<Digest, Damaged>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Damaged {
    why: String,
    /// The event is in the record.
    told: bool,
}

impl Memory {
    /// So much later, with these packages.
    fn pass(&mut self, time: Duration, held: &[Digest]) {
        self.age_ms.retain(|digest, _| held.contains(digest));
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        for digest in held {
            // What came in was verified while it did.
            let age = self.age_ms.entry(*digest).or_default();
            *age = age.saturating_add(millis);
        }
    }

    /// The package that waits for longest, if any has waited for `every`.
    fn due(&self, every: Duration) -> Option<Digest> {
        let oldest = self.age_ms.iter().max_by_key(|(_, age)| **age);
        let (digest, age) = oldest?;
        (Duration::from_millis(*age) >= every).then_some(*digest)
    }
}

impl Scrubber {
    /// Runs until dropped.
    pub(crate) async fn run(self, mut suspects: Suspects) {
        let every = self.every.unwrap_or(WEEK);
        let mut memory = self.load().await;
        let mut unsaved = Duration::ZERO;
        loop {
            let tick = match memory.damaged.is_empty() {
                true => TICK.min(every / 4),
                false => TICK_DAMAGED.min(every),
            };
            let tick = tick.max(TICK_LEAST);
            let before = tokio::time::Instant::now();
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                // Gone only with the daemon.
                suspect = suspects.recv() => match suspect {
                    Some(digest) => self.scrub(digest, &mut memory).await,
                    None => return,
                }
            }
            let held: Vec<_> = self
                .store
                .list()
                .iter()
                .map(|p| p.manifest_digest)
                .collect();
            memory.pass(before.elapsed(), &held);
            unsaved += before.elapsed();
            let due = memory.due(every);
            if let Some(digest) = due {
                self.scrub(digest, &mut memory).await;
            }
            let changed = self.settle(&mut memory).await | due.is_some();
            if changed || unsaved >= SAVE {
                unsaved = Duration::ZERO;
                self.save(&memory).await;
            }
        }
    }

    async fn scrub(&self, digest: Digest, memory: &mut Memory) {
        let (store, stop) = (self.store.clone(), self.stop.clone());
        let pace = move |bytes: u64| {
            if stop.is_cancelled() {
                return ControlFlow::Break(());
            }
            // A thread of its own: nobody else waits for it.
            std::thread::sleep(Duration::from_nanos(
                bytes.saturating_mul(1_000_000_000) / BYTES_PER_SECOND,
            ));
            ControlFlow::Continue(())
        };
        let scrubbed = tokio::task::spawn_blocking(move || {
            let mut pace = pace;
            store.scrub(digest, &mut pace)
        });
        match scrubbed.await {
            Ok(Ok(ScrubOutcome::Whole)) => {
                tracing::info!(package = %digest, "package {digest} is as it was");
                memory.age_ms.insert(digest, 0);
            }
            Ok(Ok(ScrubOutcome::Damaged { why, copy })) => {
                self.quarantine(digest, copy, why).await;
            }
            Ok(Ok(ScrubOutcome::Stopped) | Err(StoreError::NotThere { .. })) => {}
            Ok(Err(error)) => {
                tracing::warn!(package = %digest, error = chain(&error), "cannot scrub a package");
                // Not again at once: it is due again after another period.
                memory.age_ms.insert(digest, 0);
            }
            Err(error) => tracing::error!(package = %digest, %error, "scrubbing panicked"),
        }
    }

    async fn quarantine(&self, digest: Digest, copy: Option<CopyId>, why: String) {
        tracing::error!(package = %digest, why, "a stored package is damaged; it is set aside");
        let store = self.store.clone();
        let aside = tokio::task::spawn_blocking(move || store.quarantine(digest, copy, &why));
        match aside.await {
            Ok(
                Ok(Quarantined::SetAside | Quarantined::HealedBefore)
                | Err(StoreError::NotThere { .. }),
            ) => self.bell.notify_one(),
            Ok(Err(error)) => {
                tracing::error!(package = %digest, error = chain(&error), "it cannot be set aside");
            }
            Err(error) => tracing::error!(package = %digest, %error, "setting aside panicked"),
        }
    }

    /// Tells what was found damaged, by a scrub, by an extraction or when the store was opened, and what is
    /// here again.
    async fn settle(&self, memory: &mut Memory) -> bool {
        let mut changed = false;
        let view = self.follower.view();
        if view.control().topology.is_none() {
            // The record was not read yet: which packages count is not known.
            return false;
        }
        let wanted = &view.catalogue().packages;
        let damaged = self.store.take_damage().into_iter();
        for damaged in damaged.filter(|damaged| wanted.contains_key(&damaged.digest)) {
            if let std::collections::btree_map::Entry::Vacant(new) =
                memory.damaged.entry(damaged.digest)
            {
                let why = self.with_prospects(damaged.digest, damaged.why).await;
                new.insert(Damaged { why, told: false });
                changed = true;
            }
        }
        let mut over = Vec::new();
        for (digest, damaged) in &mut memory.damaged {
            if !wanted.contains_key(digest) {
                over.push(*digest);
                continue;
            }
            if !damaged.told {
                let why = damaged.why.clone();
                damaged.told = self.tell(*digest, CopyState::Damaged { why }).await;
                changed |= damaged.told;
            }
            let is_back = damaged.told && self.store.get(*digest).is_some();
            if is_back && self.tell(*digest, CopyState::Restored).await {
                tracing::info!(package = %digest, "package {digest}, which was damaged, is whole again");
                over.push(*digest);
            }
        }
        changed |= !over.is_empty();
        memory.damaged.retain(|digest, _| !over.contains(digest));
        changed
    }

    /// Whether it can be healed is the first thing that anybody wants to know.
    async fn with_prospects(&self, digest: Digest, why: String) -> String {
        let Some(order) = self.packages.order(digest) else {
            return why;
        };
        match self.packages.puller.holders(&order).await.as_slice() {
            [] => {
                tracing::error!(
                    package = %digest,
                    "no other node that answers holds the damaged package: upload it again"
                );
                format!("{why}; no other node that answers holds the package: upload it again")
            }
            [first, ..] => format!("{why}; it is pulled again, for example from {first}"),
        }
    }

    async fn tell(&self, digest: Digest, what: CopyState) -> bool {
        let note = CopyNote {
            node: self.packages.policy.node.clone(),
            digest,
            what,
        };
        match self.front.note_copy(note).await {
            Ok(()) => true,
            Err(refusal) => {
                tracing::debug!(package = %digest, ?refusal, "the record cannot be told of a copy yet");
                false
            }
        }
    }

    /// A file that cannot be read costs a scrub that comes later than it could.
    async fn load(&self) -> Memory {
        match tokio::fs::read(&self.file).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "the times of the last scrubs cannot be read");
                Memory::default()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Memory::default(),
            Err(error) => {
                tracing::warn!(%error, "the times of the last scrubs cannot be read");
                Memory::default()
            }
        }
    }

    /// Replaced in one step. Not synced: losing it costs little, and the disk's time is worth more.
    async fn save(&self, memory: &Memory) {
        let bytes = serde_json::to_vec(memory).expect("plain data with text keys");
        let new = self.file.with_extension("json.new");
        let saved = async {
            tokio::fs::write(&new, bytes).await?;
            tokio::fs::rename(&new, &self.file).await
        };
        if let Err(error) = saved.await {
            tracing::warn!(%error, "the times of the last scrubs cannot be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn digest(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn a_package_is_due_a_week_after_it_came_or_was_scrubbed() {
        let mut memory = Memory::default();
        memory.pass(DAY * 3, &[digest(1)]);
        memory.pass(DAY * 4, &[digest(1), digest(2)]);
        assert_eq!(memory.due(WEEK), Some(digest(1)));
        memory.age_ms.insert(digest(1), 0);
        assert_eq!(memory.due(WEEK), None);
        memory.pass(DAY * 3, &[digest(1), digest(2)]);
        assert_eq!(memory.due(WEEK), Some(digest(2)));
        memory.pass(DAY, &[digest(1)]);
        assert_eq!(memory.due(WEEK), None, "what is gone needs no scrub");
    }

    #[test]
    fn ages_and_damage_outlive_a_restart() {
        let mut memory = Memory::default();
        memory.pass(DAY, &[digest(1)]);
        let (why, told) = ("rot".to_owned(), true);
        memory.damaged.insert(digest(2), Damaged { why, told });
        let text = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
        assert_eq!(
            serde_json::from_str::<Memory>("{}").unwrap(),
            Memory::default()
        );
    }
}
