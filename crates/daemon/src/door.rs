//! The front end's way to the orchestrator and the package store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::Action;
use evenkeel_model::{
    Awaiting, JobId, NodeName, PackageRef, Refusal, UpdateRequest, UserName, Version, code,
};
use evenkeel_orchestrator::{FrontDoor, GetTicket, UpdateAction};
use evenkeel_package_store::{StageError, StageLimits, Staging, Store, StoredPackage};
use evenkeel_record::View;
use evenkeel_rest::Upload;
use tokio::sync::{OwnedRwLockReadGuard, watch};
use uuid::Uuid;

use crate::error::chain;
use crate::keeper::Incoming;
use crate::trust::policy;

/// As the job of an upload is described.
const UPLOAD: &str = "POST /api/cluster/software/upload";

/// What requests need.
pub(crate) struct Door {
    pub(crate) node: NodeName,
    /// This start of the daemon: a get does not survive it.
    pub(crate) incarnation: Uuid,
    pub(crate) front: FrontDoor,
    pub(crate) store: Store,
    pub(crate) views: watch::Receiver<Arc<View>>,
    pub(crate) incoming: Incoming,
}

#[async_trait]
impl evenkeel_rest::FrontDoor for Door {
    async fn update(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.front.start_update(request, by).await
    }

    async fn validate(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        self.front.validate(version, by).await
    }

    async fn act(&self, action: Action, by: UserName) -> Result<JobId, Refusal> {
        let action = match action {
            Action::Pause => UpdateAction::Pause,
            Action::Resume => UpdateAction::Resume,
            Action::Cancel => UpdateAction::Cancel,
        };
        self.front.act(action, by).await
    }

    async fn delete_package(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        self.front.delete(version, by).await
    }

    async fn upload(&self, by: UserName) -> Result<Box<dyn Upload>, Refusal> {
        let incoming = Arc::clone(&self.incoming).read_owned().await;
        let node = self.node.clone();
        let ticket = self
            .front
            .begin_get(node, self.incarnation, by, UPLOAD)
            .await?;
        let get = Get {
            front: self.front.clone(),
            ticket: Some(ticket),
            _incoming: incoming,
        };
        let policy = policy(&self.views.borrow(), &self.node);
        let stage_id = ticket.operation.to_string();
        match self.store.begin(&stage_id, policy, StageLimits::default()) {
            Ok(staging) => Ok(Box::new(Receiving {
                staging: Some(staging),
                get,
            })),
            Err(error) => Err(get.fail(refusal(&error)).await),
        }
    }

    async fn awaiting(&self) -> Result<Vec<Awaiting>, Refusal> {
        Ok(self.front.explain())
    }
}

/// A get that was admitted and must be ended, whatever becomes of the upload.
struct Get {
    front: FrontDoor,
    /// Taken when it is ended.
    ticket: Option<GetTicket>,
    _incoming: OwnedRwLockReadGuard<()>,
}

impl Get {
    /// Ends it with the refusal that the client is told too.
    async fn fail(mut self, refusal: Refusal) -> Refusal {
        if let Some(ticket) = self.ticket.take() {
            end(&self.front, ticket, &refusal).await;
        }
        refusal
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let front = self.front.clone();
            let text = "The package was not sent to its end.";
            let refusal = Refusal::new(code::UPLOAD_IO, text);
            tokio::spawn(async move { end(&front, ticket, &refusal).await });
        }
    }
}

/// A record that cannot be reached keeps the get open; the coordinator, or this daemon's next start,
/// ends it.
async fn end(front: &FrontDoor, ticket: GetTicket, refusal: &Refusal) {
    if let Err(error) = front.fail_get(ticket, refusal).await {
        tracing::warn!(operation = %ticket.operation, %error, "a package get cannot be ended");
    }
}

/// A package on its way in. The staging goes first when it is dropped.
struct Receiving {
    staging: Option<Staging>,
    get: Get,
}

impl Receiving {
    /// Nothing stays on disk before the operation says that it failed.
    async fn fail(&mut self, error: &StageError) -> Refusal {
        let refusal = refusal(error);
        if let Some(staging) = self.staging.take() {
            staging.abort().await;
        }
        if let Some(ticket) = self.get.ticket.take() {
            end(&self.get.front, ticket, &refusal).await;
        }
        refusal
    }
}

#[async_trait]
impl Upload for Receiving {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let written = match &mut self.staging {
            Some(staging) => staging.write(chunk).await,
            None => Err(StageError::Ended),
        };
        match written {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(&error).await),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<JobId, Refusal> {
        let finished = match self.staging.take() {
            Some(staging) => staging.finish().await,
            None => Err(StageError::Ended),
        };
        let stored = match finished {
            Ok(stored) => stored,
            Err(error) => return Err(self.fail(&error).await),
        };
        let Some(ticket) = self.get.ticket else {
            return Err(refusal(&StageError::Ended));
        };
        let job = self.get.front.staged(ticket, package_ref(stored)).await?;
        // From here on the coordinator ends it.
        self.get.ticket = None;
        Ok(job)
    }
}

fn package_ref(stored: StoredPackage) -> PackageRef {
    PackageRef {
        digest: stored.manifest_digest,
        archive_digest: stored.archive_digest,
        archive_bytes: stored.archive_bytes,
        summary: stored.summary,
    }
}

/// The API's code for what kept a package out.
fn refusal(error: &StageError) -> Refusal {
    let code = match error {
        StageError::NoSpace { .. } | StageError::TooLarge { .. } => code::NO_SPACE,
        StageError::VersionExists { .. } => code::PACKAGE_EXISTS,
        StageError::Refused(_) => code::PROCESSING_FAILED,
        StageError::BadId { .. }
        | StageError::Busy { .. }
        | StageError::Io { .. }
        | StageError::Aborted
        | StageError::Ended => code::UPLOAD_IO,
    };
    let text = match error {
        // Clients look for these words.
        StageError::VersionExists { version, .. } => {
            format!("Package image with the same name already exists: version {version}.")
        }
        other => format!("The package was not taken in: {}.", chain(other)),
    };
    Refusal::new(code, text)
}
