//! A record as far as it is the cluster's own: one that was emptied, or put in its place, is neither read nor written.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_seam::watch;

use crate::append::{Append, AppendError, Entry};
use crate::record::{LeaseState, PutBlobError, Record, Survival, Unavailable};

/// Wraps the record that a [`Follower`](crate::Follower) follows. An append is conditional on the lengths of its streams
/// only, and those of another cluster's record may be the same.
pub struct OwnRecord {
    inner: Arc<dyn Record>,
    /// Why it is not the cluster's, while it is not.
    estranged: watch::Receiver<Option<Unavailable>>,
}

impl OwnRecord {
    pub(crate) fn new(
        inner: Arc<dyn Record>,
        estranged: watch::Receiver<Option<Unavailable>>,
    ) -> Self {
        Self { inner, estranged }
    }

    fn get(&self) -> Result<&Arc<dyn Record>, Unavailable> {
        match self.estranged.borrow().clone() {
            Some(why) => Err(why),
            None => Ok(&self.inner),
        }
    }
}

/// For people: what is wrong with the record, and what to do.
pub(crate) fn not_its_own(cluster: &str, is_empty: bool) -> Unavailable {
    let what = match is_empty {
        true => "is empty",
        false => "holds another cluster",
    };
    Unavailable::new(format!(
        "the record that evenkeeld.toml names answers, but it {what}: this node belongs to the cluster \"{cluster}\", keeps its own \
         copy of that one's record, and writes nothing. Put that cluster's record back, by its name or from a backup: \"A record that \
         is empty, or another cluster's\" in docs/operations.md"
    ))
}

#[async_trait]
impl Record for OwnRecord {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        self.get()?.append(append).await
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.get()?.read(stream, after, limit).await
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        self.get()?.read_since(after, limit).await
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        self.get()?.generation().await
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
        self.get()?.lease(name, holder, ttl).await
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        self.get()?.release(name, holder).await
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        self.get()?.put_blob(bytes).await
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        self.get()?.get_blob(digest).await
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        match self.get() {
            Ok(record) => record.survives_without(down),
            Err(unavailable) => Survival::Lost {
                why: unavailable.why,
            },
        }
    }
}
