//! What the front end needs from the rest of the daemon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::{Action, Download, EventLine, Explain, History, Job, Node, Package, Software};
use evenkeel_model::{JobId, Refusal, UpdateRequest, UserName, Version};
use futures_util::stream::BoxStream;

/// Events as they happen, from some position on. Ends when the cluster's state can no longer be
/// followed; the client comes back with the last `seq` it saw.
pub type EventStream = BoxStream<'static, EventLine>;

/// The cluster behind the API. Reads are answered on every node; what changes something is admitted
/// by an append to the record, so a job id that is returned here is durable.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// The cluster itself.
    async fn cluster(&self) -> Result<evenkeel_api::Cluster, Refusal>;
    /// Its nodes, ordered by name.
    async fn nodes(&self) -> Result<Vec<Node>, Refusal>;
    /// What is installed, and the update under way or last done.
    async fn software(&self) -> Result<Software, Refusal>;
    /// The repository.
    async fn packages(&self) -> Result<Vec<Package>, Refusal>;
    /// Installations, oldest first.
    async fn history(&self) -> Result<Vec<History>, Refusal>;
    /// The download under way, or the last one.
    async fn download(&self) -> Result<Download, Refusal>;
    /// All jobs, oldest first.
    async fn jobs(&self) -> Result<Vec<Job>, Refusal>;
    /// One job. `None` only when the record itself does not know it.
    async fn job(&self, id: JobId) -> Result<Option<Job>, Refusal>;
    /// The job once it has ended, or as it is after `limit`.
    async fn wait_job(&self, id: JobId, limit: Duration) -> Result<Option<Job>, Refusal>;
    /// Users with their argon2id hashes as PHC strings.
    async fn users(&self) -> Result<Arc<BTreeMap<UserName, String>>, Refusal>;

    /// Starts an update.
    async fn update(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal>;
    /// Runs the checks only.
    async fn validate(&self, version: Version, by: UserName) -> Result<JobId, Refusal>;
    /// Pauses, resumes or cancels the update.
    async fn act(&self, action: Action, by: UserName) -> Result<JobId, Refusal>;
    /// Removes a package from every node.
    async fn delete_package(&self, version: Version, by: UserName) -> Result<JobId, Refusal>;
    /// Begins to take a package in.
    async fn upload(&self, by: UserName) -> Result<Box<dyn Upload>, Refusal>;

    /// Why each open operation is not further along.
    async fn explain(&self) -> Result<Explain, Refusal>;
    /// Events after position `since`, then as they happen; or, without `follow`, up to now.
    async fn events(&self, since: u64, follow: bool) -> Result<EventStream, Refusal>;
}

/// A package on its way in. Dropping it gives the package up and leaves nothing behind.
#[async_trait]
pub trait Upload: Send {
    /// The next bytes. A refusal ends the upload.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal>;
    /// All bytes are there: verified and durable here when this returns. The job goes on until every
    /// node has the package.
    async fn finish(self: Box<Self>) -> Result<JobId, Refusal>;
}
