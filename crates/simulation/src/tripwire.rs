//! A node's way to the record, on which a blow may wait for an event.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_record::{
    Append, AppendError, Entry, LeaseState, MemoryRecord, PutBlobError, Record, Survival,
    Unavailable,
};
use evenkeel_seam::watch;
use tokio::time::sleep;

use crate::conditions::Conditions;
use crate::world::World;

/// The record as one node reaches it. What is appended through it is told to the world before the
/// appender learns of it.
pub(crate) struct Tripwire {
    pub(crate) inner: Arc<MemoryRecord>,
    pub(crate) node: NodeName,
    pub(crate) daemon: u64,
    pub(crate) world: Weak<World>,
    pub(crate) conditions: Arc<Conditions>,
}

#[async_trait]
impl Record for Tripwire {
    /// What was sent reaches the record also when its sender has given up or is dead by then.
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        let events = append.writes.iter().flat_map(|write| &write.events);
        let ids = events.map(|event| event.id).collect();
        let lag = self.conditions.append_lag();
        if let Some(world) = self.world.upgrade() {
            world.signs(&self.node, append.fence, ids);
        }
        let (inner, world) = (Arc::clone(&self.inner), self.world.clone());
        let sent = tokio::spawn(async move {
            if !lag.is_zero() {
                sleep(lag).await;
            }
            let outcome = inner.append(append).await;
            if let Some(world) = world.upgrade() {
                world.appended();
            }
            outcome
        });
        let outcome = sent.await;
        let alive = |world: Arc<World>| world.is_alive(&self.node, self.daemon);
        if !self.world.upgrade().is_some_and(alive) {
            // Whoever is dead learns nothing any more.
            std::future::pending::<()>().await;
        }
        outcome.expect("nothing aborts it")
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.inner.read(stream, after, limit).await
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        self.inner.read_since(after, limit).await
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        self.inner.generation().await
    }

    fn doorbell(&self) -> watch::Receiver<u64> {
        self.inner.doorbell()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        self.inner.lease(name, holder, ttl).await
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        self.inner.release(name, holder).await
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        self.inner.put_blob(bytes).await
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        self.inner.get_blob(digest).await
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        self.inner.survives_without(down)
    }
}
