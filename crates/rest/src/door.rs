//! The front door of this node: admission by the orchestrator, packages into the store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::{Action, Code, NewAcknowledgement, NewKey, PlanPreview};
use evenkeel_download::{Client, Source};
use evenkeel_model::{AccountChange, Digest, PackagesStatus, UserName, Version, code};
use evenkeel_model::{Awaiting, GetSource, JobId, NodeName, OperationKind, Refusal, UpdateRequest};
use evenkeel_orchestrator::{FrontDoor as Admission, GatesChange, UpdateAction, UserChange};
use evenkeel_package_store::{PublicKey, StageError, StageLimits, Store};
use evenkeel_record::Follower;
use uuid::Uuid;

use crate::cluster::{FrontDoor, PeerRoom, Upload, UploadError};
use crate::fetch::Fetcher;
use crate::incoming::{Get, ROOM_EVERY, Room, hand_over, hand_over_firmware, is_verdict, refusal};
use crate::inlet::{Inlet, Stored};
use crate::live::LiveDownload;
use crate::plan;
use crate::policy::PackagePolicy;

/// As the jobs are described.
const UPLOAD: &str = "POST /api/cluster/software/upload";
const DOWNLOAD: &str = "POST /api/cluster/software/download";

/// What a node's door leads to.
#[derive(Clone)]
pub struct NodeDoorParts {
    /// This node, and what it demands of packages.
    pub policy: PackagePolicy,
    /// Names this run of the daemon: an upload does not survive it.
    pub incarnation: Uuid,
    /// Admission.
    pub admission: Admission,
    /// What the record holds.
    pub follower: Arc<Follower>,
    /// Packages here.
    pub store: Store,
    /// Room for packages elsewhere.
    pub peers: Arc<dyn PeerRoom>,
    /// Opens sources of downloads.
    pub client: Client,
    /// Where the download under way is shown.
    pub live: LiveDownload,
    /// Whether clients may send packages.
    pub upload_enabled: bool,
}

/// Where this node's users ask for changes.
#[derive(Clone)]
pub struct NodeDoor {
    policy: PackagePolicy,
    incarnation: Uuid,
    admission: Admission,
    follower: Arc<Follower>,
    store: Store,
    room: Room,
    fetcher: Fetcher,
    upload_enabled: bool,
}

impl NodeDoor {
    /// The door of a node, in this run of its daemon.
    pub fn new(parts: NodeDoorParts) -> Self {
        let room = Room {
            store: parts.store.clone(),
            peers: parts.peers,
        };
        let fetcher = Fetcher {
            policy: parts.policy.clone(),
            admission: parts.admission.clone(),
            follower: Arc::clone(&parts.follower),
            store: parts.store.clone(),
            room: room.clone(),
            client: parts.client,
            live: parts.live,
        };
        Self {
            policy: parts.policy,
            incarnation: parts.incarnation,
            admission: parts.admission,
            follower: parts.follower,
            store: parts.store,
            room,
            fetcher,
            upload_enabled: parts.upload_enabled,
        }
    }

    /// Goes on with the download that an earlier daemon of this node was making, and ends what cannot go
    /// on: uploads, and downloads whose secrets went with that daemon. Called once, at start; an error means
    /// that the record could not be had, and that it should be called again.
    pub async fn take_up_gets(&self) -> Result<(), Refusal> {
        let me = &self.policy.node;
        for get in self.admission.stale_gets(me, self.incarnation).await? {
            let source = match &get.source {
                GetSource::Upload => Err(format!(
                    "evenkeeld of node \"{me}\" restarted while it received the package."
                )),
                GetSource::Download {
                    needs_secret: true, ..
                } => Err(format!(
                    "evenkeeld of node \"{me}\" restarted during the download. The user name, password or \
                     query that it was given are not kept anywhere, so it cannot go on: start it again."
                )),
                GetSource::Download { url, .. } => Source::parse(url, None, None)
                    .map_err(|error| format!("The address of the download is not valid: {error}.")),
            };
            match source {
                Ok(source) => self.fetcher.start(get.ticket, source),
                Err(why) => {
                    let refusal = Refusal::new(code::GET_FAILED, why);
                    self.admission.fail_get(get.ticket, &refusal).await?;
                }
            }
        }
        self.fetcher.discard_unwanted().await;
        Ok(())
    }

    async fn begin(
        &self,
        declared: Option<u64>,
        file: Option<String>,
        by: UserName,
    ) -> Result<StoreUpload, Refusal> {
        let (me, incarnation) = (self.policy.node.clone(), self.incarnation);
        let ticket = self
            .admission
            .begin_get(me, incarnation, GetSource::Upload, by, UPLOAD)
            .await?;
        let mut get = Get {
            admission: self.admission.clone(),
            ticket: Some(ticket),
        };
        let policy = self.policy.at(&self.follower.view());
        let id = ticket.operation.to_string();
        let limits = StageLimits {
            expected_bytes: declared,
            ..StageLimits::default()
        };
        match Inlet::begin(&self.store, &id, policy, limits) {
            Ok(inlet) => Ok(StoreUpload {
                get,
                job: ticket.job,
                inlet: Some(inlet),
                file,
                store: self.store.clone(),
                room: self.room.clone(),
                declared,
                received: 0,
                room_asked_at: 0,
            }),
            Err(error) => Err(get.fail(refusal(&error)).await),
        }
    }
}

#[async_trait]
impl FrontDoor for NodeDoor {
    async fn update(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.admission.start_update(request, by).await
    }

    async fn estimate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.admission.estimate(request, by).await
    }

    async fn preview(&self, request: UpdateRequest, by: UserName) -> Result<PlanPreview, Refusal> {
        let preview = self.admission.preview(&request, by).await?;
        Ok(plan::preview(&request, preview, self.admission.minute()))
    }

    async fn validate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.admission.validate(request, by).await
    }

    async fn act(&self, action: Action, by: UserName) -> Result<JobId, Refusal> {
        let action = match action {
            Action::Pause => UpdateAction::Pause,
            Action::Resume => UpdateAction::Resume,
            Action::Cancel => UpdateAction::Cancel,
        };
        self.admission.act(action, by).await
    }

    async fn delete_package(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        self.admission.delete(version, by).await
    }

    async fn may_upload(&self, declared: Option<u64>) -> Result<(), Refusal> {
        if !self.upload_enabled {
            let disabled = Code::UploadDisabled;
            return Err(Refusal::new(disabled.number(), disabled.text()));
        }
        self.follower
            .view()
            .control()
            .admits(OperationKind::PackageGet)?;
        self.room.check(declared.unwrap_or(0)).await
    }

    async fn upload(
        &self,
        declared: Option<u64>,
        file: Option<String>,
        by: UserName,
    ) -> Result<Box<dyn Upload>, Refusal> {
        Ok(Box::new(self.begin(declared, file, by).await?))
    }

    async fn download(&self, source: Source, by: UserName) -> Result<JobId, Refusal> {
        let (me, incarnation) = (self.policy.node.clone(), self.incarnation);
        let get = GetSource::download(&source.shown(), source.needs_secret());
        let ticket = self
            .admission
            .begin_get(me, incarnation, get, by, DOWNLOAD)
            .await?;
        self.fetcher.start(ticket, source);
        Ok(ticket.job)
    }

    async fn trust_key(&self, key: NewKey, by: UserName) -> Result<String, Refusal> {
        let NewKey { public_key, name } = key;
        let id = match public_key.parse::<PublicKey>() {
            Ok(key) => key.id().to_string(),
            Err(error) => {
                let text = format!("The key is refused: {error}.");
                return Err(Refusal::new(code::INVALID_VALUE, text).about("public_key"));
            }
        };
        let key = evenkeel_orchestrator::NewKey {
            public_key,
            key_id: id.clone(),
            name,
        };
        self.admission.trust_key(key, by).await?;
        Ok(id)
    }

    async fn revoke_key(&self, id: &str, by: UserName) -> Result<(), Refusal> {
        self.admission.revoke_key(id, by).await
    }

    async fn acknowledge(&self, new: NewAcknowledgement, by: UserName) -> Result<(), Refusal> {
        let NewAcknowledgement { check, reason } = new;
        self.admission.acknowledge(&check, &reason, by).await
    }

    async fn withdraw_acknowledgement(&self, check: &str, by: UserName) -> Result<(), Refusal> {
        self.admission.withdraw_acknowledgement(check, by).await
    }

    async fn set_retention(&self, keep: Option<u32>, by: UserName) -> Result<(), Refusal> {
        self.admission.set_retention(keep, by).await
    }

    async fn set_gates(&self, change: GatesChange, by: UserName) -> Result<(), Refusal> {
        self.admission.set_gates(change, by).await
    }

    async fn create_user(
        &self,
        user: &UserName,
        account: AccountChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.admission.create_user(user, account, by).await
    }

    async fn change_user(
        &self,
        user: &UserName,
        change: UserChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.admission.change_user(user, change, by).await
    }

    async fn delete_user(&self, user: &UserName, by: UserName) -> Result<(), Refusal> {
        self.admission.delete_user(user, by).await
    }

    async fn cancel_firmware(&self, job: JobId, by: UserName) -> Result<(), Refusal> {
        self.admission.cancel_firmware(job, by).await
    }

    async fn withdraw_firmware(&self, digest: Digest, by: UserName) -> Result<(), Refusal> {
        self.admission.withdraw_firmware(digest, by).await
    }

    async fn set_background_firmware(&self, on: bool, by: UserName) -> Result<(), Refusal> {
        self.admission.set_background_firmware(on, by).await
    }

    async fn awaiting(&self) -> Result<Vec<Awaiting>, Refusal> {
        let mut awaiting = self.admission.explain_live().await;
        // From the record alone nobody knows how far this node's own download is.
        for wait in awaiting.iter_mut().filter(|wait| wait.seen.is_none()) {
            let live = &self.fetcher.live;
            wait.seen = wait.operation.and_then(|get| live.describe(get));
        }
        Ok(awaiting)
    }

    async fn transfers(&self) -> Vec<(NodeName, Option<PackagesStatus>)> {
        self.room.peers.states().await
    }
}

/// Bytes on their way into the store.
struct StoreUpload {
    get: Get,
    job: JobId,
    inlet: Option<Inlet>,
    /// Name of the file, if it has one.
    file: Option<String>,
    store: Store,
    room: Room,
    declared: Option<u64>,
    received: u64,
    room_asked_at: u64,
}

impl StoreUpload {
    /// Ends the get. What is wrong with the package itself is the job's to say.
    async fn fail(&mut self, refusal: Refusal) -> UploadError {
        let refusal = self.get.fail(refusal).await;
        match is_verdict(&refusal) {
            true => UploadError::Failed(self.job),
            false => UploadError::Refused(refusal),
        }
    }

    async fn check_others(&mut self) -> Result<(), Refusal> {
        if self.received - self.room_asked_at < ROOM_EVERY {
            return Ok(());
        }
        self.room_asked_at = self.received;
        let needed = self.declared.unwrap_or(0).max(self.received);
        self.room.check_others(needed).await
    }
}

#[async_trait]
impl Upload for StoreUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), UploadError> {
        let Some(inlet) = &mut self.inlet else {
            return Err(self.fail(refusal(&StageError::Ended)).await);
        };
        self.received += chunk.len() as u64;
        if let Err(error) = inlet.write(chunk).await {
            return Err(self.fail(error.refusal()).await);
        }
        match self.check_others().await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.fail(refusal).await),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<JobId, UploadError> {
        let (Some(inlet), Some(ticket)) = (self.inlet.take(), self.get.ticket) else {
            return Err(self.fail(refusal(&StageError::Ended)).await);
        };
        let stored = match inlet.finish().await {
            Ok(stored) => stored,
            Err(error) => return Err(self.fail(error.refusal()).await),
        };
        let admission = &self.get.admission;
        let handed_over = match stored {
            Stored::Software(stored) => {
                hand_over(admission, &self.store, ticket, stored, None).await
            }
            Stored::Firmware(stored) => {
                hand_over_firmware(admission, ticket, stored, self.file.as_deref()).await
            }
        };
        match handed_over {
            Ok(job) => {
                // From here on the coordinator ends it.
                self.get.ticket = None;
                Ok(job)
            }
            Err(refusal) => Err(self.fail(refusal).await),
        }
    }

    async fn give_up(mut self: Box<Self>, why: Refusal) {
        if let Some(inlet) = self.inlet.take() {
            inlet.abort().await;
        }
        self.get.fail(why).await;
    }
}
