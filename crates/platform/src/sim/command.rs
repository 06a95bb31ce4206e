//! What is asked of the hardware, what it answers, and what follows.

use std::collections::BTreeSet;
use std::path::PathBuf;

use evenkeel_model::{
    BootId, BootSettings, ClientRisk, DiskSerial, DiskState, FencingState, LifName, LifState, Load,
    MachineId, NodeName, PairState, PartnerSp, PoolState, PortState, ShelfState, Slot, SlotsState,
    SpState, Space, TimeSync, WitnessState,
};
use serde::{Deserialize, Serialize};

use super::devices::{DeviceCall, DeviceReply};
use crate::traits::{GivebackRequest, PlatformError, RebootRequest, TakeoverRequest};

/// One call of a platform trait, by one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Command {
    /// [`crate::Failover::pair`].
    Pair,
    /// [`crate::Failover::take_over`].
    TakeOver(TakeoverRequest),
    /// [`crate::Failover::give_back`].
    GiveBack(GivebackRequest),
    /// [`crate::Failover::serve_alone`].
    ServeAlone,
    /// [`crate::BootSlots::slots`].
    Slots,
    /// [`crate::BootSlots::mark_unbootable`].
    MarkUnbootable {
        /// Which.
        slot: Slot,
    },
    /// [`crate::BootSlots::set_default`].
    SetDefault {
        /// Which.
        slot: Slot,
        /// Boots before the other one is tried.
        tries: u8,
    },
    /// [`crate::BootSlots::mark_good`].
    MarkGood {
        /// Which.
        slot: Slot,
    },
    /// [`crate::Power::boot_id`].
    BootId,
    /// [`crate::Power::reboot`].
    Reboot(RebootRequest),
    /// [`crate::Power::sp`].
    Sp,
    /// [`crate::Addresses::lifs`].
    Lifs,
    /// [`crate::Addresses::send_home`].
    SendHome {
        /// Which.
        lif: LifName,
    },
    /// [`crate::Inventory::pools`].
    Pools,
    /// [`crate::Inventory::disks`].
    Disks,
    /// [`crate::Inventory::load`].
    Load,
    /// [`crate::Inventory::time_sync`].
    TimeSync,
    /// [`crate::Inventory::exclusive_jobs`].
    ExclusiveJobs,
    /// [`crate::Inventory::alerts`].
    Alerts,
    /// [`crate::Inventory::client_hazards`].
    ClientHazards,
    /// [`crate::Inventory::space`].
    Space,
    /// [`crate::Failover::witness`].
    Witness,
    /// [`crate::Failover::fencing`].
    Fencing,
    /// [`crate::BootSlots::boot_settings`].
    BootSettings,
    /// [`crate::Power::partner_sp`].
    PartnerSp,
    /// [`crate::Addresses::ports`].
    Ports,
    /// [`crate::Inventory::unowned_disks`].
    UnownedDisks,
    /// [`crate::Inventory::shelves`].
    Shelves,
    /// [`crate::Inventory::client_risks`].
    ClientRisks,
    /// [`crate::Inventory::machine`].
    Machine,
    /// [`crate::devices::Devices`].
    Device(DeviceCall),
}

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

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum Reply {
    /// It was done, or had been before.
    Done,
    /// To [`Command::Pair`].
    Pair(Option<PairState>),
    /// To [`Command::Slots`].
    Slots(SlotsState),
    /// To [`Command::BootId`].
    BootId(BootId),
    /// To [`Command::Sp`].
    Sp(SpState),
    /// To [`Command::Lifs`].
    Lifs(Vec<LifState>),
    /// To [`Command::Pools`].
    Pools(Vec<PoolState>),
    /// To [`Command::Disks`].
    Disks(Vec<DiskState>),
    /// To [`Command::Load`].
    Load(Load),
    /// To [`Command::TimeSync`].
    TimeSync(TimeSync),
    /// To [`Command::ExclusiveJobs`], [`Command::Alerts`], [`Command::ClientHazards`].
    Texts(Vec<String>),
    /// To [`Command::Space`].
    Space(Space),
    /// To [`Command::Witness`].
    Witness(Option<WitnessState>),
    /// To [`Command::Fencing`].
    Fencing(Option<FencingState>),
    /// To [`Command::BootSettings`].
    BootSettings(BootSettings),
    /// To [`Command::PartnerSp`].
    PartnerSp(Option<PartnerSp>),
    /// To [`Command::Ports`].
    Ports(Vec<PortState>),
    /// To [`Command::UnownedDisks`].
    UnownedDisks(Vec<DiskSerial>),
    /// To [`Command::Shelves`].
    Shelves(Vec<ShelfState>),
    /// To [`Command::ClientRisks`].
    ClientRisks(Vec<ClientRisk>),
    /// To [`Command::Machine`].
    Machine(MachineId),
    /// To [`Command::Device`].
    Device(DeviceReply),
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
