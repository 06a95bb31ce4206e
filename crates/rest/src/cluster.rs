//! What the front end needs from the rest of the daemon: a picture to show, and a door to knock at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::{
    Acknowledgement, Action, Certificate, Download, EstimateRecord, EventLine, Explain, Firmware,
    FirmwareHistory, GateSettings, History, Job, Key, NewAcknowledgement, NewCertificate, NewKey,
    Node, Package, PlanPreview, Retention, Software, User,
};
use evenkeel_download::Source;
use evenkeel_model::{
    Account, AccountChange, Awaiting, Digest, FirmwareStatus, JobId, NodeName, PackagesStatus,
    Refusal, UpdateRequest, UserName, Version, WallTime,
};
use evenkeel_orchestrator::{GatesChange, UserChange};
use evenkeel_record::View;
use futures_util::stream::BoxStream;

/// Events as they happen, from some position on. After an error there are no more: it says that there may be some
/// that did not come.
pub type EventStream = BoxStream<'static, Result<EventLine, Refusal>>;

/// What there is to see. Answered on every node, also from a mirror.
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
    /// Updates of firmware, those that run too, oldest first.
    async fn firmware_history(&self) -> Result<Vec<FirmwareHistory>, Refusal>;
    /// To which disks firmware goes, and firmware updates that wait to begin.
    async fn firmware(&self) -> Result<Firmware, Refusal>;
    /// What every node says of its devices' firmware; nothing of one that does not answer.
    async fn devices(&self) -> BTreeMap<evenkeel_model::NodeName, FirmwareStatus>;
    /// The download under way, or the last one.
    async fn download(&self) -> Result<Download, Refusal>;
    /// All jobs, oldest first.
    async fn jobs(&self) -> Result<Vec<Job>, Refusal>;
    /// One job, as far as it is known here.
    async fn job(&self, id: JobId) -> Result<Option<Job>, Refusal>;
    /// The job once it has ended, or as it is after `limit`.
    async fn wait_job(&self, id: JobId, limit: Duration) -> Result<Option<Job>, Refusal>;
    /// Who that user is, if there is one.
    async fn account(&self, user: &UserName) -> Result<Option<Account>, Refusal>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, Refusal>;
    /// The keys that packages are signed with, those that were revoked too.
    async fn keys(&self) -> Result<Vec<Key>, Refusal>;
    /// The warnings that somebody knows of.
    async fn acknowledgements(&self) -> Result<Vec<Acknowledgement>, Refusal>;
    /// How many packages that nothing needs are kept.
    async fn retention(&self) -> Result<Retention, Refusal>;
    /// What an update waits for between nodes.
    async fn gates(&self) -> Result<GateSettings, Refusal>;
    /// Estimates that were asked for, oldest first.
    async fn estimates(&self) -> Result<Vec<EstimateRecord>, Refusal>;
    /// Why each open operation is not further along, given what the coordinator says it waits for.
    async fn explain(&self, awaiting: Result<Vec<Awaiting>, Refusal>) -> Result<Explain, Refusal>;
    /// Events after position `since`, then as they happen; or, without `follow`, up to now.
    async fn events(&self, since: u64, follow: bool) -> Result<EventStream, Refusal>;
    /// Reads the record itself, so that what is unknown afterwards does not exist.
    async fn refresh(&self) -> Result<(), Refusal>;
    /// What all of this is read from just now; `None` where nobody can say. From the same picture the same is read:
    /// cluster, nodes, software, packages, history and jobs, and of these only software depends on its time.
    fn picture(&self) -> Option<Picture> {
        None
    }
    /// How old the picture is, when it comes from a mirror and the record cannot be reached.
    fn age(&self) -> Option<Duration>;
}

/// What is shown: a view of the record, and how late it is in it.
#[derive(Clone, Debug)]
pub struct Picture {
    view: Arc<View>,
    pub(crate) time: WallTime,
}

impl Picture {
    pub(crate) fn new(view: Arc<View>, time: WallTime) -> Self {
        Self { view, time }
    }

    /// Whether both are of one view. A view that is held here is at no other's address, so one that was read anew
    /// is another, whatever it says.
    pub(crate) fn is_of_same_view(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.view, &other.view)
    }
}

/// Asks the coordinator, wherever it is. A job id that is returned is durable in the record. `upload`,
/// `download` and `Upload::finish` run to their end, in a task of their own, also when the client leaves.
#[async_trait]
pub trait FrontDoor: Send + Sync + 'static {
    /// Starts an update.
    async fn update(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal>;
    /// Estimates an update, and changes nothing.
    async fn estimate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal>;
    /// What an update would do, from what every node sees now.
    async fn preview(&self, request: UpdateRequest, by: UserName) -> Result<PlanPreview, Refusal>;
    /// Runs the checks of such an update only.
    async fn validate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal>;
    /// Pauses, resumes or cancels the update.
    async fn act(&self, action: Action, by: UserName) -> Result<JobId, Refusal>;
    /// Removes a package from every node.
    async fn delete_package(&self, version: Version, by: UserName) -> Result<JobId, Refusal>;
    /// Whether a package of so many bytes could be taken in now. Admits nothing.
    async fn may_upload(&self, declared: Option<u64>) -> Result<(), Refusal>;
    /// Begins to take a package in, of about so many bytes and in a file of that name, where that is known.
    async fn upload(
        &self,
        declared: Option<u64>,
        file: Option<String>,
        by: UserName,
    ) -> Result<Box<dyn Upload>, Refusal>;
    /// Begins to fetch a package. It goes on by itself, and the job tells how it ended.
    async fn download(&self, source: Source, by: UserName) -> Result<JobId, Refusal>;
    /// Believes signatures of a key from now on; answers its id.
    async fn trust_key(&self, key: NewKey, by: UserName) -> Result<String, Refusal>;
    /// Refuses what a key signed from now on.
    async fn revoke_key(&self, id: &str, by: UserName) -> Result<(), Refusal>;
    /// Says how many packages that nothing needs are kept.
    async fn set_retention(&self, keep: Option<u32>, by: UserName) -> Result<(), Refusal>;
    /// Changes what an update waits for between nodes.
    async fn set_gates(&self, change: GatesChange, by: UserName) -> Result<(), Refusal>;
    /// A check's warning does not block any more, as long as it is about nothing new.
    async fn acknowledge(&self, new: NewAcknowledgement, by: UserName) -> Result<(), Refusal>;
    /// Takes an acknowledgement back.
    async fn withdraw_acknowledgement(&self, check: &str, by: UserName) -> Result<(), Refusal>;
    /// Adds a user.
    async fn create_user(
        &self,
        user: &UserName,
        account: AccountChange,
        by: UserName,
    ) -> Result<(), Refusal>;
    /// Changes a user.
    async fn change_user(
        &self,
        user: &UserName,
        change: UserChange,
        by: UserName,
    ) -> Result<(), Refusal>;
    /// Removes a user.
    async fn delete_user(&self, user: &UserName, by: UserName) -> Result<(), Refusal>;
    /// Ends a firmware update, by its job.
    async fn cancel_firmware(&self, job: JobId, by: UserName) -> Result<(), Refusal>;
    /// Withdraws a firmware update that waits to begin, by its package.
    async fn withdraw_firmware(&self, digest: Digest, by: UserName) -> Result<(), Refusal>;
    /// Says whether firmware also goes to disks that hold data, or to spares only.
    async fn set_background_firmware(&self, on: bool, by: UserName) -> Result<(), Refusal>;
    /// What the coordinator waits for.
    async fn awaiting(&self) -> Result<Vec<Awaiting>, Refusal>;
    /// What each node says of its packages; `None` for one that does not answer.
    async fn transfers(&self) -> Vec<(NodeName, Option<PackagesStatus>)>;
}

/// The certificate that this node shows.
#[async_trait]
pub trait Certificates: Send + Sync + 'static {
    /// What it says; `None` while there is none.
    fn shown(&self) -> Option<Certificate>;
    /// Shows another one to whoever connects from now on.
    async fn replace(self: Arc<Self>, new: NewCertificate) -> Result<(), Refusal>;
}

/// How an upload ended without a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadError {
    /// It did not get here, or does not fit: answered at once.
    Refused(Refusal),
    /// It got here and is refused for what it is: its job has failed and says why.
    Failed(JobId),
}

/// A package on its way in. Dropping it gives the package up and leaves nothing behind.
#[async_trait]
pub trait Upload: Send {
    /// The next bytes. An error ends the upload.
    async fn write(&mut self, chunk: Bytes) -> Result<(), UploadError>;
    /// All bytes are there: verified and durable here when this returns. The job goes on until every
    /// node has the package.
    async fn finish(self: Box<Self>) -> Result<JobId, UploadError>;
    /// Ends the upload and its job for this reason.
    async fn give_up(self: Box<Self>, why: Refusal);
}

/// Packages on the other nodes, and on their way to them.
#[async_trait]
pub trait PeerRoom: Send + Sync + 'static {
    /// Bytes that a package may still take on each other node that answers within 2 s.
    async fn rooms(&self) -> Vec<(NodeName, u64)>;
    /// What each node says of its packages, this one's too; `None` for one that does not answer within 2 s.
    async fn states(&self) -> Vec<(NodeName, Option<PackagesStatus>)>;
}
