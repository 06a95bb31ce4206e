//! What a node remembers of the work on its devices.

use async_trait::async_trait;
use evenkeel_model::{Digest, OperationId};
use evenkeel_platform::devices::DeviceId;
use serde::{Deserialize, Serialize};

use crate::journal::{Journal, JournalError, Step};

/// For what a device is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkId {
    /// The operation that asked for it.
    pub operation: OperationId,
    /// Manifest digest of the package.
    pub package: Digest,
}

/// The newest step of a device, and what it was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStep {
    /// What it was for.
    pub work: WorkId,
    /// The step.
    pub step: Step,
}

impl DeviceStep {
    /// It is a disk, and its group lacks it perhaps.
    pub(super) fn is_open_disk(&self) -> bool {
        self.step.is_open() && matches!(self.step.device, DeviceId::Drive(_))
    }
}

/// The durable memory of a node: for each device the newest step, whatever it was for.
#[async_trait]
pub trait NodeJournal: Send + Sync {
    /// Remembers a step in place of the device's last one, durably, before it returns.
    async fn record(&self, step: &DeviceStep) -> Result<(), JournalError>;
    /// The newest step of a device; none before the first.
    async fn last(&self, device: &DeviceId) -> Result<Option<DeviceStep>, JournalError>;
    /// The newest steps of all devices.
    async fn all(&self) -> Result<Vec<DeviceStep>, JournalError>;
    /// Forgets a device that is not there any more, or to which nothing was done.
    async fn forget(&self, device: &DeviceId) -> Result<(), JournalError>;
}

/// The memory of one piece of work.
///
/// What another operation did with the same package counts only where it stands in the middle: attempts of daemons that
/// ended are not given anew, but whoever brings a package in again asks for it to be tried again.
pub(super) struct OneWork<'a> {
    pub(super) all: &'a dyn NodeJournal,
    pub(super) work: WorkId,
}

impl OneWork<'_> {
    fn counts(&self, known: &DeviceStep) -> bool {
        let same = known.work.package == self.work.package;
        known.work == self.work || (same && known.step.is_open())
    }
}

#[async_trait]
impl Journal for OneWork<'_> {
    async fn record(&self, step: &Step) -> Result<(), JournalError> {
        let step = DeviceStep {
            work: self.work,
            step: step.clone(),
        };
        self.all.record(&step).await
    }

    async fn last(&self, device: &DeviceId) -> Result<Option<Step>, JournalError> {
        let known = self.all.last(device).await?;
        let counts = known.filter(|known| self.counts(known));
        Ok(counts.map(|known| known.step))
    }

    async fn was_touched(&self, device: &DeviceId) -> Result<bool, JournalError> {
        let known = self.all.last(device).await?;
        Ok(known.is_some_and(|known| known.work.package == self.work.package))
    }

    async fn forget(&self, device: &DeviceId) -> Result<(), JournalError> {
        self.all.forget(device).await
    }
}
