//! The record of a pair, carried to the node that has it open: opaque bytes there and back, in the crate `record`'s own words.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_model::NodeName;

use crate::message::CallError;

/// More than any request or answer has: a value of 16 MiB as base64, and what stands around it. A peer cannot make a node hold more
/// in memory.
pub(crate) const MAX_RECORD_BYTES: usize = 32 << 20;
/// Requests for the record answered at once. One of them waits for news all the time; a pair needs a handful.
pub(crate) const MAX_RECORD_CALLS: usize = 32;
/// A request may be as long as a value: on a slow link it takes its time.
pub(crate) const RECORD_BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Answers requests for the record: served by this crate's server. Bounded in time by itself, below what a client waits.
#[async_trait]
pub trait RecordService: Send + Sync + 'static {
    /// Answers `from`'s request. `from` is who the peer's certificate says it is.
    async fn answer(&self, from: &NodeName, request: Bytes) -> Vec<u8>;
}

/// What a node of a pair with a record on its pool serves.
#[derive(Clone)]
pub struct RecordServing {
    /// Who answers.
    pub service: Arc<dyn RecordService>,
    /// The partner, by the configuration. It is heard here also while the topology is not known: how else would a cluster begin
    /// whose first events the partner appends? Once the topology is known, members alone are heard.
    pub partner: NodeName,
}

/// Brings requests for the record to other nodes.
#[async_trait]
pub trait RecordClient: Send + Sync + 'static {
    /// Hands the request to `node`'s [`RecordService`]. `address`: where it is; without it, where the topology says. Once that is known,
    /// only members are asked.
    async fn record(
        &self,
        node: &NodeName,
        address: Option<&str>,
        request: Vec<u8>,
    ) -> Result<Bytes, CallError>;
}
