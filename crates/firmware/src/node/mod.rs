//! All that a node does for its devices' firmware: one order after the other, and what it says of them.
//!
//! [`NodeFirmware`] carries a [`FirmwareOrder`] out over the workers of this crate. It decides with
//! [`crate::select`] which disk is next, waits while groups are not whole, goes on after a device that failed, and
//! tells in the end of all that did. It remembers nothing but what its [`NodeJournal`] does: killed at any instant and
//! given the same order again, it goes on.

mod board;
mod devices;
mod disks;
mod failure;
mod inventory;
mod journal;
mod parts;
mod patience;
mod work;

use std::sync::Arc;

use evenkeel_model::{Digest, FirmwareKind, FirmwareStatus, How, NodeName, OperationId, Progress};
use evenkeel_platform::SharedPlatform;
use evenkeel_platform::devices::SharedDevices;
use evenkeel_seam::{Clock, watch};
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::qualification::QualificationStore;
use crate::select::SelectionLimits;
use board::Board;
use work::Work;

pub use failure::{DeviceFailure, WorkError};
pub use journal::{DeviceStep, NodeJournal, WorkId};
pub use parts::{Images, ImagesError, PackedImage};

/// What a node works with.
pub struct NodeFirmwareParts {
    /// The node.
    pub node: NodeName,
    /// Its devices.
    pub devices: SharedDevices,
    /// Its machine: a service processor must not be away while it may be needed.
    pub platform: SharedPlatform,
    /// Firmware packages that it has.
    pub images: Arc<dyn Images>,
    /// Where its disk qualification package is.
    pub qualification: Arc<dyn QualificationStore>,
    /// Time to show.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the workers.
    pub limits: Limits,
    /// Bounds of what is done at a time.
    pub selection: SelectionLimits,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareOrder {
    /// For which operation.
    pub operation: OperationId,
    /// Manifest digest of the package, which is here.
    pub package: Digest,
    /// Which devices.
    pub kind: FirmwareKind,
    /// One disk of each model only.
    pub first: bool,
}

/// A node's firmware.
pub struct NodeFirmware {
    parts: NodeFirmwareParts,
    board: Board,
    /// Rings when devices should be asked anew.
    news: Notify,
}

impl NodeFirmware {
    /// The firmware of a node whose devices nobody has asked yet: see [`keep`](Self::keep).
    pub fn new(parts: NodeFirmwareParts) -> Arc<Self> {
        let board = Board::default();
        let news = Notify::new();
        Arc::new(Self { parts, board, news })
    }

    /// Brings the devices of a kind up to date. Devices that the package is not for, that run what it brings, or that
    /// another node serves are no failure.
    ///
    /// # Errors
    /// Which devices failed, when all that could be done is done; or why nothing could be begun.
    pub async fn renew(
        &self,
        order: &FirmwareOrder,
        journal: &dyn NodeJournal,
        progress: &watch::Sender<Progress>,
    ) -> Result<How, WorkError> {
        let _at_work = self.board.begin_work();
        let mut work = Work::new(self, order, journal, progress);
        let ended = match order.kind {
            FirmwareKind::Disk => work.disks().await,
            FirmwareKind::Shelf => work.shelves().await,
            FirmwareKind::ServiceProcessor => work.processor().await,
            FirmwareKind::Qualification => work.qualification().await,
        };
        self.look_again(order.kind).await;
        self.news.notify_one();
        ended?;
        work.outcome()
    }

    /// What the node knows of its devices, at once.
    ///
    /// # Errors
    /// Says why nothing is known yet.
    pub fn status(&self) -> Result<FirmwareStatus, String> {
        self.board.status()
    }
}
