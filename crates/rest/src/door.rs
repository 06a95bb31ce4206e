//! The front door of this node: admission by the orchestrator, uploads into the package store.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::Action;
use evenkeel_model::{
    Awaiting, GetSource, JobId, NodeName, PackageRef, Refusal, UpdateRequest, UserName,
};
use evenkeel_model::{Version, code};
use evenkeel_orchestrator::{FrontDoor as Admission, GetTicket, UpdateAction};
use evenkeel_package_store::{
    Policy, PublicKey, StageError, StageLimits, Staging, Store, StoredPackage, Target, TrustedKeys,
};
use evenkeel_record::{Follower, View};
use tokio::time::sleep;
use uuid::Uuid;

use crate::cluster::{FrontDoor, Upload};

/// Bytes a package may have unpacked: far above any system image, far below a boot disk.
const MAX_UNPACKED_BYTES: u64 = 64 << 30;

/// Tries to end a get while the record is out of reach, and the pause between them: an hour.
const END_TRIES: u32 = 720;
const END_PAUSE: Duration = Duration::from_secs(5);

/// As the job of an upload is described.
const UPLOAD: &str = "POST /api/cluster/software/upload";

/// Where this node's users ask for changes.
#[derive(Clone)]
pub struct NodeDoor {
    me: NodeName,
    /// Names this run of the daemon: a get does not survive it.
    incarnation: Uuid,
    admission: Admission,
    follower: Arc<Follower>,
    store: Store,
}

impl NodeDoor {
    /// The door of the node `me`, in this run of its daemon.
    pub fn new(
        me: NodeName,
        incarnation: Uuid,
        admission: Admission,
        follower: Arc<Follower>,
        store: Store,
    ) -> Self {
        Self {
            me,
            incarnation,
            admission,
            follower,
            store,
        }
    }
}

impl NodeDoor {
    async fn begin(&self, by: UserName) -> Result<StoreUpload, Refusal> {
        let (me, incarnation) = (self.me.clone(), self.incarnation);
        let ticket = self
            .admission
            .begin_get(me, incarnation, GetSource::Upload, by, UPLOAD)
            .await?;
        let mut get = Get {
            admission: self.admission.clone(),
            ticket: Some(ticket),
        };
        let policy = package_policy(&self.follower.view(), &self.me);
        let id = ticket.operation.to_string();
        match self.store.begin(&id, policy, StageLimits::default()) {
            Ok(staging) => {
                let (store, staging) = (self.store.clone(), Some(staging));
                Ok(StoreUpload {
                    get,
                    staging,
                    store,
                })
            }
            Err(error) => Err(get.fail(refusal(&error)).await),
        }
    }
}

#[async_trait]
impl FrontDoor for NodeDoor {
    async fn update(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.admission.start_update(request, by).await
    }

    async fn validate(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        self.admission.validate(version, by).await
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

    async fn upload(&self, by: UserName) -> Result<Box<dyn Upload>, Refusal> {
        Ok(Box::new(self.begin(by).await?))
    }

    async fn awaiting(&self) -> Result<Vec<Awaiting>, Refusal> {
        Ok(self.admission.explain())
    }
}

/// What a node demands of a package, by the record: a trusted signature, and its own hardware. Before the
/// cluster is known nothing is trusted.
pub fn package_policy(view: &View, me: &NodeName) -> Policy {
    let mut trusted = TrustedKeys::none();
    for known in &view.control().trusted_keys {
        if known.revoked.is_some() {
            continue;
        }
        match known.public_key.parse::<PublicKey>() {
            Ok(key) => trusted.add(key),
            Err(error) => tracing::error!(%error, "a trusted key cannot be read and is ignored"),
        }
    }
    let node = view
        .control()
        .topology
        .as_ref()
        .and_then(|topology| topology.node(me));
    let target = node.map(|node| Target {
        platform: node.platform.clone(),
        variant: None,
        features: vec![],
    });
    Policy {
        trusted,
        target,
        allow_unsigned: false,
        max_unpacked_bytes: MAX_UNPACKED_BYTES,
    }
}

/// An admitted get that this node must end.
struct Get {
    admission: Admission,
    ticket: Option<GetTicket>,
}

impl Get {
    /// Ends the get and its job with the refusal; while that cannot be recorded, dropping it tries on.
    async fn fail(&mut self, refusal: Refusal) -> Refusal {
        if let Some(ticket) = self.ticket
            && self.admission.fail_get(ticket, &refusal).await.is_ok()
        {
            self.ticket = None;
        }
        refusal
    }
}

impl Drop for Get {
    /// The client went away, or the record is out of reach. An open get keeps updates from being
    /// admitted, so this tries for a while; after that, the daemon's next start ends it.
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let admission = self.admission.clone();
        runtime.spawn(async move {
            let refusal = refusal(&StageError::Aborted);
            for _ in 0..END_TRIES {
                match admission.fail_get(ticket, &refusal).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "a failed get cannot be ended yet"),
                }
                sleep(END_PAUSE).await;
            }
            tracing::error!(operation = %ticket.operation, "a failed get stays open");
        });
    }
}

/// Bytes on their way into the store.
struct StoreUpload {
    get: Get,
    staging: Option<Staging>,
    store: Store,
}

#[async_trait]
impl Upload for StoreUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let Some(staging) = &mut self.staging else {
            return Err(refusal(&StageError::Ended));
        };
        let Err(error) = staging.write(chunk).await else {
            return Ok(());
        };
        Err(self.get.fail(refusal(&error)).await)
    }

    async fn finish(mut self: Box<Self>) -> Result<JobId, Refusal> {
        let Some(staging) = self.staging.take() else {
            return Err(refusal(&StageError::Ended));
        };
        let stored = match staging.finish().await {
            Ok(stored) => stored,
            Err(error) => return Err(self.get.fail(refusal(&error)).await),
        };
        let Some(ticket) = self.get.ticket else {
            return Err(refusal(&StageError::Ended));
        };
        match self.get.admission.staged(ticket, package(&stored)).await {
            Ok(job) => {
                // From here on the coordinator ends it.
                self.get.ticket = None;
                Ok(job)
            }
            Err(refusal) => {
                if refusal.code == code::PACKAGE_EXISTS {
                    self.forget(stored).await;
                }
                Err(self.get.fail(refusal).await)
            }
        }
    }
}

impl StoreUpload {
    /// The catalogue has other content for the version, so this one will never be asked for.
    async fn forget(&self, stored: StoredPackage) {
        let store = self.store.clone();
        let deleted = tokio::task::spawn_blocking(move || store.delete(stored.manifest_digest));
        match deleted.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a refused package stays in the store"),
            Err(error) => tracing::error!(%error, "deleting a refused package panicked"),
        }
    }
}

fn package(stored: &StoredPackage) -> PackageRef {
    PackageRef {
        signed_by: stored.signed_by.clone(),
        digest: stored.manifest_digest,
        archive_digest: stored.archive_digest,
        archive_bytes: stored.archive_bytes,
        summary: stored.summary.clone(),
    }
}

fn refusal(error: &StageError) -> Refusal {
    let code = match error {
        StageError::NoSpace { .. } => code::NO_SPACE,
        StageError::VersionExists { .. } => code::PACKAGE_EXISTS,
        StageError::TooLarge { .. } | StageError::Refused(_) => code::PROCESSING_FAILED,
        StageError::Io { .. } => code::UPLOAD_IO,
        StageError::Aborted
        | StageError::Ended
        | StageError::BadId { .. }
        | StageError::NothingKept { .. }
        | StageError::Busy { .. } => code::GET_FAILED,
    };
    let text = match error {
        // Clients look for these words.
        StageError::VersionExists { version, .. } => {
            format!("Package image with the same name already exists: version {version}.")
        }
        StageError::Refused(refused) => {
            format!(
                "The package is refused: {}; {}.",
                chain(refused),
                refused.advice()
            )
        }
        StageError::NoSpace { .. }
        | StageError::TooLarge { .. }
        | StageError::Io { .. }
        | StageError::Aborted
        | StageError::NothingKept { .. }
        | StageError::Ended
        | StageError::BadId { .. }
        | StageError::Busy { .. } => format!("The package was not taken in: {}.", chain(error)),
    };
    Refusal::new(code, text).about("file")
}

/// An error with all its causes, which its own text leaves out.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
