//! The platform traits over anything that carries a [`Command`] to a machine.

use std::path::PathBuf;

use async_trait::async_trait;
use evenkeel_model::{
    BootId, BootSettings, ClientRisk, DiskSerial, DiskState, FencingState, LifName, LifState, Load,
    MachineId, PairState, PartnerSp, PoolState, PortState, ShelfState, Slot, SlotsState, SpState,
    Space, TimeSync, WitnessState,
};

use super::{Command, Reply};
use crate::traits::{
    Addresses, BootSlots, Failover, GivebackRequest, Inventory, PlatformError, Power,
    RebootRequest, TakeoverRequest,
};

/// Carries one node's calls to its machine.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Carries one call. Bounded.
    async fn call(&self, command: Command) -> Result<Reply, PlatformError>;
    /// The folder of one of the node's slots.
    fn slot_path(&self, slot: Slot) -> PathBuf;
}

/// One node's platform.
#[derive(Clone, Debug)]
pub struct Port<T> {
    pub(crate) transport: T,
}

impl<T: Transport> Port<T> {
    /// A platform whose calls go through `transport`.
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    async fn act(&self, command: Command) -> Result<(), PlatformError> {
        match self.transport.call(command.clone()).await? {
            Reply::Done => Ok(()),
            other => Err(mismatch(&command, &other)),
        }
    }

    async fn texts(&self, command: Command) -> Result<Vec<String>, PlatformError> {
        match self.transport.call(command.clone()).await? {
            Reply::Texts(texts) => Ok(texts),
            other => Err(mismatch(&command, &other)),
        }
    }
}

fn mismatch(command: &Command, reply: &Reply) -> PlatformError {
    PlatformError::Unavailable(format!("{command:?} was answered with {reply:?}"))
}

macro_rules! look {
    ($self:ident, $name:ident) => {
        match $self.transport.call(Command::$name).await? {
            Reply::$name(value) => Ok(value),
            other => Err(mismatch(&Command::$name, &other)),
        }
    };
}

#[async_trait]
impl<T: Transport> Failover for Port<T> {
    async fn pair(&self) -> Result<Option<PairState>, PlatformError> {
        look!(self, Pair)
    }

    async fn take_over(&self, request: &TakeoverRequest) -> Result<(), PlatformError> {
        self.act(Command::TakeOver(request.clone())).await
    }

    async fn give_back(&self, request: &GivebackRequest) -> Result<(), PlatformError> {
        self.act(Command::GiveBack(request.clone())).await
    }

    async fn serve_alone(&self) -> Result<(), PlatformError> {
        self.act(Command::ServeAlone).await
    }
    async fn witness(&self) -> Result<Option<WitnessState>, PlatformError> {
        look!(self, Witness)
    }
    async fn fencing(&self) -> Result<Option<FencingState>, PlatformError> {
        look!(self, Fencing)
    }
}

#[async_trait]
impl<T: Transport> BootSlots for Port<T> {
    async fn slots(&self) -> Result<SlotsState, PlatformError> {
        look!(self, Slots)
    }

    fn path(&self, slot: Slot) -> PathBuf {
        self.transport.slot_path(slot)
    }

    async fn mark_unbootable(&self, slot: Slot) -> Result<(), PlatformError> {
        self.act(Command::MarkUnbootable { slot }).await
    }

    async fn set_default(&self, slot: Slot, tries: u8) -> Result<(), PlatformError> {
        self.act(Command::SetDefault { slot, tries }).await
    }

    async fn mark_good(&self, slot: Slot) -> Result<(), PlatformError> {
        self.act(Command::MarkGood { slot }).await
    }
    async fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        look!(self, BootSettings)
    }
}

#[async_trait]
impl<T: Transport> Power for Port<T> {
    async fn boot_id(&self) -> Result<BootId, PlatformError> {
        look!(self, BootId)
    }

    async fn reboot(&self, request: &RebootRequest) -> Result<(), PlatformError> {
        self.act(Command::Reboot(request.clone())).await
    }

    async fn sp(&self) -> Result<SpState, PlatformError> {
        look!(self, Sp)
    }
    async fn partner_sp(&self) -> Result<Option<PartnerSp>, PlatformError> {
        look!(self, PartnerSp)
    }
}

#[async_trait]
impl<T: Transport> Addresses for Port<T> {
    async fn lifs(&self) -> Result<Vec<LifState>, PlatformError> {
        look!(self, Lifs)
    }

    async fn send_home(&self, lif: &LifName) -> Result<(), PlatformError> {
        self.act(Command::SendHome { lif: lif.clone() }).await
    }
    async fn ports(&self) -> Result<Vec<PortState>, PlatformError> {
        look!(self, Ports)
    }
}

#[async_trait]
impl<T: Transport> Inventory for Port<T> {
    async fn pools(&self) -> Result<Vec<PoolState>, PlatformError> {
        look!(self, Pools)
    }

    async fn disks(&self) -> Result<Vec<DiskState>, PlatformError> {
        look!(self, Disks)
    }

    async fn load(&self) -> Result<Load, PlatformError> {
        look!(self, Load)
    }

    async fn time_sync(&self) -> Result<TimeSync, PlatformError> {
        look!(self, TimeSync)
    }

    async fn exclusive_jobs(&self) -> Result<Vec<String>, PlatformError> {
        self.texts(Command::ExclusiveJobs).await
    }

    async fn alerts(&self) -> Result<Vec<String>, PlatformError> {
        self.texts(Command::Alerts).await
    }

    async fn client_hazards(&self) -> Result<Vec<String>, PlatformError> {
        self.texts(Command::ClientHazards).await
    }

    async fn space(&self) -> Result<Space, PlatformError> {
        look!(self, Space)
    }
    async fn unowned_disks(&self) -> Result<Vec<DiskSerial>, PlatformError> {
        look!(self, UnownedDisks)
    }
    async fn shelves(&self) -> Result<Vec<ShelfState>, PlatformError> {
        look!(self, Shelves)
    }
    async fn client_risks(&self) -> Result<Vec<ClientRisk>, PlatformError> {
        look!(self, ClientRisks)
    }
    async fn machine(&self) -> Result<MachineId, PlatformError> {
        look!(self, Machine)
    }
}
