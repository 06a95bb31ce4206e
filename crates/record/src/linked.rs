//! Any record behind a link that the lab can slow down or cut.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_seam::LinkState;
use evenkeel_seam::watch;

use crate::append::{Append, AppendError, Entry};
use crate::record::{LeaseState, PutBlobError, Record, Survival, Unavailable};

/// Wraps a record so that it is reached only as the [`LinkState`] allows.
pub struct LinkedRecord {
    inner: Arc<dyn Record>,
    link: watch::Receiver<LinkState>,
}

impl LinkedRecord {
    /// `link` is asked on the way there and on the way back of every call.
    pub fn new(inner: Arc<dyn Record>, link: watch::Receiver<LinkState>) -> Self {
        Self { inner, link }
    }

    async fn pass(&self) -> Result<(), Unavailable> {
        let state = *self.link.borrow();
        match state {
            LinkState::Up => Ok(()),
            LinkState::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            LinkState::Cut => Err(Unavailable::new("the link to the record is cut")),
        }
    }

    /// The way back takes no further delay: `Slow` is per exchange.
    fn still_up(&self) -> Result<(), Unavailable> {
        match *self.link.borrow() {
            LinkState::Up | LinkState::Slow(_) => Ok(()),
            LinkState::Cut => Err(Unavailable::new("the link to the record was cut meanwhile")),
        }
    }
}

#[async_trait]
impl Record for LinkedRecord {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        self.pass().await?;
        let outcome = self.inner.append(append).await;
        self.still_up()
            .map_err(|cut| AppendError::Unknown(cut.why))?;
        outcome
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.pass().await?;
        let entries = self.inner.read(stream, after, limit).await?;
        self.still_up().map(|()| entries)
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        self.pass().await?;
        let entries = self.inner.read_since(after, limit).await?;
        self.still_up().map(|()| entries)
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        self.pass().await?;
        let generation = self.inner.generation().await?;
        self.still_up().map(|()| generation)
    }

    /// Rings even while cut; the read that follows fails then, as it should.
    fn doorbell(&self) -> watch::Receiver<u64> {
        self.inner.doorbell()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        self.pass().await?;
        let lease = self.inner.lease(name, holder, ttl).await?;
        self.still_up().map(|()| lease)
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        self.pass().await?;
        self.inner.release(name, holder).await?;
        self.still_up()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        self.pass().await?;
        let digest = self.inner.put_blob(bytes).await?;
        self.still_up()?;
        Ok(digest)
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        self.pass().await?;
        let bytes = self.inner.get_blob(digest).await?;
        self.still_up().map(|()| bytes)
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        self.inner.survives_without(down)
    }
}
