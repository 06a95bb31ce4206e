//! Which calls act on the hardware, what follows, and what is said on the keeper's socket.

use std::collections::BTreeSet;
use std::path::PathBuf;

use evenkeel_model::{BootId, LifName, NodeName, Slot};
use serde::{Deserialize, Serialize};

use crate::traits::PlatformError;
use crate::wire::{Command, Reply};

impl Command {
    /// Whether it acts; the others only look.
    pub fn acts(&self) -> bool {
        match self {
            Self::TakeOver(_)
            | Self::GiveBack(_)
            | Self::ServeAlone
            | Self::MarkUnbootable { .. }
            | Self::SetDefault { .. }
            | Self::MarkGood { .. }
            | Self::Reboot(_)
            | Self::SendHome { .. } => true,
            Self::Device(call) => call.acts(),
            Self::Pair
            | Self::Slots
            | Self::BootId
            | Self::Sp
            | Self::Lifs
            | Self::Pools
            | Self::Disks
            | Self::Load
            | Self::TimeSync
            | Self::ExclusiveJobs
            | Self::Alerts
            | Self::ClientHazards
            | Self::Space
            | Self::Witness
            | Self::Fencing
            | Self::BootSettings
            | Self::PartnerSp
            | Self::Ports
            | Self::UnownedDisks
            | Self::Shelves
            | Self::ClientRisks
            | Self::Machine => false,
        }
    }

    /// The same without the bytes of an image, for the hardware's memory of what was asked.
    #[must_use]
    pub(super) fn without_data(&self) -> Self {
        match self {
            Self::Device(call) => Self::Device(call.without_data()),
            other => other.clone(),
        }
    }
}

/// What must happen to a node's processes because of what happened to its hardware. In order: an
/// address is released before it is hosted elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The node is up: start what runs on it, but its daemon.
    Boot {
        /// Which node.
        node: NodeName,
        /// From which slot.
        slot: Slot,
        /// In which boot.
        boot_id: BootId,
    },
    /// The node is up and its daemon can start.
    Daemon {
        /// Which node.
        node: NodeName,
        /// From which slot.
        slot: Slot,
        /// In which boot.
        boot_id: BootId,
    },
    /// Power or the running system was lost: everything on the node ends at once.
    PowerLost {
        /// Which node.
        node: NodeName,
    },
    /// The node shuts down cleanly: its processes may end by themselves, its LIFs are gone at once.
    Shutdown {
        /// Which node.
        node: NodeName,
    },
    /// From now on the node hosts exactly these LIFs.
    Lifs {
        /// Which node.
        node: NodeName,
        /// Which LIFs.
        hosting: BTreeSet<LifName>,
    },
}

/// A line from a client to the keeper of the hardware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Whose socket is this, and where are its slots?
    Hello,
    /// A call.
    Call {
        /// Which.
        command: Command,
    },
}

/// A line back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Hello`].
    Hello {
        /// The node.
        node: NodeName,
        /// Folder that holds the folders `a` and `b` of its slots.
        slots: PathBuf,
    },
    /// The call was answered.
    Reply {
        /// With this.
        reply: Reply,
    },
    /// It was not.
    Failed {
        /// Why.
        error: PlatformError,
    },
}
