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
mod home;
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
use tokio::sync::{Mutex, Notify};

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
    /// Whether an operation is canceled or over, as far as this node knows: then no further device is begun for it.
    pub is_over: Arc<dyn Fn(OperationId) -> bool + Send + Sync>,
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
    /// No disks that hold data.
    pub spares_only: bool,
}

/// A node's firmware.
pub struct NodeFirmware {
    parts: NodeFirmwareParts,
    board: Board,
    /// Held by whoever works on devices.
    turn: Mutex<()>,
    /// Rings when devices should be asked anew.
    news: Notify,
}

impl NodeFirmware {
    /// The firmware of a node whose devices nobody has asked yet: see [`keep`](Self::keep).
    pub fn new(parts: NodeFirmwareParts) -> Arc<Self> {
        let board = Board::default();
        Arc::new(Self {
            parts,
            board,
            turn: Mutex::default(),
            news: Notify::new(),
        })
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
        let _turn = self.turn.lock().await;
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

    /// Brings disks back into their groups that a worker left in the middle and that no order will: its own has failed, or
    /// ended while the node was away. Nothing is done beside an order.
    pub async fn mend(&self, journal: &dyn NodeJournal) {
        let Ok(_turn) = self.turn.try_lock() else {
            return;
        };
        let open = match journal.all().await {
            Ok(all) => all.into_iter().find(|known| known.is_open_disk()),
            Err(error) => return tracing::warn!("the devices' steps cannot be read: {error}"),
        };
        let Some(open) = open else {
            return;
        };
        let _at_work = self.board.begin_work();
        let order = FirmwareOrder {
            operation: open.work.operation,
            package: open.work.package,
            kind: FirmwareKind::Disk,
            first: false,
            spares_only: false,
        };
        let progress = watch::Sender::new(Progress::default());
        let mended = Work::new(self, &order, journal, &progress)
            .bring_back()
            .await;
        if let Err(error) = mended {
            tracing::warn!("disks that are out of their groups cannot be looked after: {error}");
        }
    }

    /// What the node knows of its devices, at once; nothing for a moment after its start.
    ///
    /// # Errors
    /// Says why it is not known.
    pub fn status(&self) -> Result<FirmwareStatus, String> {
        self.board.status()
    }
}
