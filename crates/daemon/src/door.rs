//! The front door, as the keeper of packages needs it.

use async_trait::async_trait;
use evenkeel_api::{Action, NewAcknowledgement, NewKey, PlanPreview};
use evenkeel_download::Source;
use evenkeel_model::{
    AccountChange, Awaiting, Digest, JobId, NodeName, PackagesStatus, Refusal, UpdateRequest,
    UserName, Version,
};
use evenkeel_orchestrator::{GatesChange, UserChange};
use evenkeel_rest::{FrontDoor, NodeDoor, Upload};

use crate::keeper::Incoming;

/// A node's door that lets no upload begin while leftovers are being removed: once its operation is in
/// the record, the keeper sees it there.
pub(crate) struct Door {
    pub(crate) inner: NodeDoor,
    pub(crate) incoming: Incoming,
}

#[async_trait]
impl FrontDoor for Door {
    async fn update(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.inner.update(request, by).await
    }

    async fn estimate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.inner.estimate(request, by).await
    }

    async fn preview(&self, request: UpdateRequest, by: UserName) -> Result<PlanPreview, Refusal> {
        self.inner.preview(request, by).await
    }

    async fn validate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.inner.validate(request, by).await
    }

    async fn act(&self, action: Action, by: UserName) -> Result<JobId, Refusal> {
        self.inner.act(action, by).await
    }

    async fn delete_package(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        self.inner.delete_package(version, by).await
    }

    async fn may_upload(&self, declared: Option<u64>) -> Result<(), Refusal> {
        self.inner.may_upload(declared).await
    }

    async fn upload(
        &self,
        declared: Option<u64>,
        file: Option<String>,
        by: UserName,
    ) -> Result<Box<dyn Upload>, Refusal> {
        let _nothing_removed = self.incoming.read().await;
        self.inner.upload(declared, file, by).await
    }

    async fn download(&self, source: Source, by: UserName) -> Result<JobId, Refusal> {
        let _nothing_removed = self.incoming.read().await;
        self.inner.download(source, by).await
    }

    async fn trust_key(&self, key: NewKey, by: UserName) -> Result<String, Refusal> {
        self.inner.trust_key(key, by).await
    }

    async fn revoke_key(&self, id: &str, by: UserName) -> Result<(), Refusal> {
        self.inner.revoke_key(id, by).await
    }

    async fn acknowledge(&self, new: NewAcknowledgement, by: UserName) -> Result<(), Refusal> {
        self.inner.acknowledge(new, by).await
    }

    async fn withdraw_acknowledgement(&self, check: &str, by: UserName) -> Result<(), Refusal> {
        self.inner.withdraw_acknowledgement(check, by).await
    }

    async fn set_retention(&self, keep: Option<u32>, by: UserName) -> Result<(), Refusal> {
        self.inner.set_retention(keep, by).await
    }

    async fn set_gates(&self, change: GatesChange, by: UserName) -> Result<(), Refusal> {
        self.inner.set_gates(change, by).await
    }

    async fn create_user(
        &self,
        user: &UserName,
        account: AccountChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.inner.create_user(user, account, by).await
    }

    async fn change_user(
        &self,
        user: &UserName,
        change: UserChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.inner.change_user(user, change, by).await
    }

    async fn delete_user(&self, user: &UserName, by: UserName) -> Result<(), Refusal> {
        self.inner.delete_user(user, by).await
    }

    async fn cancel_firmware(&self, job: JobId, by: UserName) -> Result<(), Refusal> {
        self.inner.cancel_firmware(job, by).await
    }

    async fn withdraw_firmware(&self, digest: Digest, by: UserName) -> Result<(), Refusal> {
        self.inner.withdraw_firmware(digest, by).await
    }

    async fn set_background_firmware(&self, on: bool, by: UserName) -> Result<(), Refusal> {
        self.inner.set_background_firmware(on, by).await
    }

    async fn awaiting(&self) -> Result<Vec<Awaiting>, Refusal> {
        self.inner.awaiting().await
    }

    async fn transfers(&self) -> Vec<(NodeName, Option<PackagesStatus>)> {
        self.inner.transfers().await
    }
}
