//! What is asked of a machine, and what it answers.

use evenkeel_model::{
    BootId, BootSettings, ClientRisk, DiskSerial, DiskState, FencingState, LifName, LifState, Load,
    MachineId, PairState, PartnerSp, PoolState, PortState, ShelfState, Slot, SlotsState, SpState,
    Space, TimeSync, WitnessState,
};
use serde::{Deserialize, Serialize};

use super::{DeviceCall, DeviceReply};
use crate::traits::{GivebackRequest, RebootRequest, TakeoverRequest};

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
