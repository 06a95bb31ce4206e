//! The trait of all backends.

use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_seam::watch;

use crate::append::{Append, AppendError, Entry};

/// The record cannot be reached or cannot answer now. Nothing follows about its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record is unavailable: {why}")]
pub struct Unavailable {
    /// What went wrong, for people.
    pub why: String,
}

impl Unavailable {
    /// With a reason for people.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// Why a value was not stored by digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutBlobError {
    /// It may be stored or not; storing it again does no harm.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Over [`MAX_BLOB_BYTES`](crate::MAX_BLOB_BYTES).
    #[error("a value of {size} bytes is over the {limit} allowed")]
    TooLarge {
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// Who holds a lease, and for how long if it is not renewed.
///
/// A lease only spares nodes from competing. What makes a stale coordinator harmless is the generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseState {
    /// The holder.
    pub holder: NodeName,
    /// Time until it expires.
    pub remaining: Duration,
}

impl LeaseState {
    /// Whether `node` is the holder.
    pub fn is_held_by(&self, node: &NodeName) -> bool {
        self.holder == *node
    }
}

/// Whether the record can still be written when some nodes are down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survival {
    /// It can.
    Survives,
    /// It cannot.
    Lost {
        /// The reason, for people.
        why: String,
    },
}

/// The cluster's record. Every call is bounded in time by the backend.
#[async_trait]
pub trait Record: Send + Sync + 'static {
    /// Appends to several streams, all or nothing. The position is that of the last event appended.
    /// When all its events are there already (a retry), that is `Ok` too, whatever the fence says now.
    async fn append(&self, append: Append) -> Result<Position, AppendError>;

    /// The events of `stream` with numbers after `after`, in order, at most `limit`. Fewer do not say that there are no more; none do.
    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable>;

    /// The events of all streams with positions after `after`, in order, at most `limit`. Fewer do not say that there are no more; none do.
    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable>;

    /// The coordinator's generation.
    async fn generation(&self) -> Result<Generation, Unavailable>;

    /// Changes whenever there may be something to read. Lossy: read after it, and now and then without it.
    fn doorbell(&self) -> watch::Receiver<u64>;

    /// Takes or renews the lease `name` for `ttl` if it is free, expired or `holder`'s own; in any case says
    /// who holds it now.
    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable>;

    /// Gives the lease up if `holder` holds it.
    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable>;

    /// Stores a value that is bigger than an event. Durable when this returns; append the event that names
    /// it afterwards.
    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError>;

    /// A value by its digest, verified.
    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Whether the record could still be written with `down` out of service.
    fn survives_without(&self, down: &[NodeName]) -> Survival;
}
