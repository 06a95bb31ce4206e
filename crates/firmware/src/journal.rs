//! What a worker remembers over a restart.

use async_trait::async_trait;
use evenkeel_platform::devices::DeviceId;
use serde::{Deserialize, Serialize};

/// What a worker is about to do. Recorded before the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The drive leaves its group for a while.
    Offline,
    /// The image is written.
    Writing,
    /// The device begins to run it.
    Activating,
    /// The drive is read from.
    Testing,
    /// The drive goes back into its group; or the ways through a module are awaited.
    Returning,
    /// Nothing more: it runs the image.
    Done,
    /// Nothing more: it does not run the image, and nothing of the work is left. With the attempts that count when
    /// the same work is begun anew.
    Stopped,
}

impl Phase {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Offline => "leaving its group",
            Self::Writing => "writing",
            Self::Activating => "starting the new firmware",
            Self::Testing => "reading from it",
            Self::Returning => "coming back",
            Self::Done => "up to date",
            Self::Stopped => "left as it is",
        }
    }
}

/// A step of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The device.
    pub device: DeviceId,
    /// What is done to it.
    pub phase: Phase,
    /// In which attempt, from 1. None count when it is 0.
    pub attempt: u32,
}

impl Step {
    /// Whether the work on the device stands in the middle. Whoever starts workers runs one again for every such
    /// device, with the same journal, before anything else is begun.
    pub fn is_open(&self) -> bool {
        match self.phase {
            Phase::Offline
            | Phase::Writing
            | Phase::Activating
            | Phase::Testing
            | Phase::Returning => true,
            Phase::Done | Phase::Stopped => false,
        }
    }
}

/// A step could not be recorded or read. Nothing is done then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker's journal: {0}")]
pub struct JournalError(pub String);

/// The durable memory of one task: one image for one disk, one shelf or one service processor.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Records a step, durably, before it returns.
    async fn record(&self, step: &Step) -> Result<(), JournalError>;
    /// The newest step that was recorded for a device of the task; none before the first.
    async fn last(&self, device: &DeviceId) -> Result<Option<Step>, JournalError>;
    /// Whether anything was ever begun on a device with this image, for whatever task: one that does not answer now may not
    /// for that.
    async fn was_touched(&self, device: &DeviceId) -> Result<bool, JournalError>;
    /// Forgets what was recorded for a device of the task, of which nothing was done.
    async fn forget(&self, device: &DeviceId) -> Result<(), JournalError>;
}
