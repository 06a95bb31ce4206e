//! The record on the pair's pool, as everything else sees it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_seam::watch;
use tokio::task::JoinHandle;

use super::peer::RecordPeer;
use super::remote::Remote;
use super::state::{Pool, PoolOptions};
use super::{answer, bell, keep, seat};
use crate::append::{Append, AppendError, Entry};
use crate::record::{LeaseState, PutBlobError, Record, Survival, Unavailable};
use crate::sqlite::SqliteRecord;

/// A record in SQLite on the shared pool of a pair. While this node sits, calls go to the file; otherwise to the partner. Each call
/// decides anew. While nobody sits the record is unavailable, and says why and since when.
///
/// Dropping it closes the file.
pub struct SharedPoolRecord {
    pool: Arc<Pool>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for SharedPoolRecord {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Ok(record) = self.pool.seated() {
            record.let_go();
        }
    }
}

/// Where a call goes.
enum Way<'a> {
    File(Arc<SqliteRecord>),
    Partner(Remote<'a>),
}

impl SharedPoolRecord {
    /// Follows the seat from now on. Within a tokio runtime. Fails only where no thread can be had.
    pub fn start(options: PoolOptions, peer: Arc<dyn RecordPeer>) -> io::Result<Self> {
        let seats = seat::follow(options.seat.clone())?;
        let pool = Arc::new(Pool::new(options, peer));
        let tasks = [
            tokio::spawn(keep::keep(Arc::clone(&pool), seats)),
            tokio::spawn(bell::listen(Arc::clone(&pool))),
        ];
        Ok(Self { pool, tasks })
    }

    /// Answers a request that the partner's [`RecordPeer`] brought here. Whoever brings it has made sure that it is a member of
    /// the cluster. Bounded in time.
    pub async fn serve(&self, request: &[u8]) -> Vec<u8> {
        answer::answer(&self.pool, request).await
    }

    /// Whether this node has the file open.
    pub fn sits(&self) -> bool {
        self.pool.seated().is_ok()
    }

    fn way(&self) -> Way<'_> {
        match self.pool.seated() {
            Ok(record) => Way::File(record),
            Err(here) => Way::Partner(Remote {
                pool: &self.pool,
                here,
            }),
        }
    }
}

#[async_trait]
impl Record for SharedPoolRecord {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        match self.way() {
            Way::File(record) => record.append(append).await,
            Way::Partner(remote) => remote.append(append).await,
        }
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        match self.way() {
            Way::File(record) => record.read(stream, after, limit).await,
            Way::Partner(remote) => remote.read(stream, after, limit).await,
        }
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        match self.way() {
            Way::File(record) => record.read_since(after, limit).await,
            Way::Partner(remote) => remote.read_since(after, limit).await,
        }
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        match self.way() {
            Way::File(record) => record.generation().await,
            Way::Partner(remote) => remote.generation().await,
        }
    }

    fn doorbell(&self) -> watch::Receiver<u64> {
        self.pool.bell.subscribe()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        match self.way() {
            Way::File(record) => record.lease(name, holder, ttl).await,
            Way::Partner(remote) => remote.lease(name, holder, ttl).await,
        }
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        match self.way() {
            Way::File(record) => record.release(name, holder).await,
            Way::Partner(remote) => remote.release(name, holder).await,
        }
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        match self.way() {
            Way::File(record) => record.put_blob(bytes).await,
            Way::Partner(remote) => remote.put_blob(bytes).await,
        }
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        match self.way() {
            Way::File(record) => record.get_blob(digest).await,
            Way::Partner(remote) => remote.get_blob(digest).await,
        }
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        self.pool.survives_without(down)
    }
}
