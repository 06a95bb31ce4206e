//! The traits.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_model::{
    BootId, BootSettings, ClientRisk, DiskSerial, DiskState, FencingState, LifName, LifState, Load,
    MachineId, PairState, PartnerSp, PoolName, PoolState, PortState, ShelfState, Slot, SlotsState,
    SpState, Space, TimeSync, TransitionId, WitnessState,
};
use serde::{Deserialize, Serialize};

/// Why the machine did not do or say something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum PlatformError {
    /// It compared and refused: nothing was changed. Asking again will not help by itself.
    #[error("refused: {0}")]
    Refused(String),
    /// It did not answer or could not say. Whether an act took effect must be observed.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl PlatformError {
    /// Whether the same call may succeed later without anyone's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Unavailable(_) => true,
        }
    }
}

/// Asks this node's HA engine to take its partner over: negotiated, the partner shuts down cleanly and
/// boots its default slot, then waits for giveback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeoverRequest {
    /// Kept by the engine beside its state: proof that the takeover is ours. The same id again is the
    /// same takeover and succeeds without effect.
    pub id: TransitionId,
    /// Boot of the partner that is to end. Another one is refused.
    pub partner_boot: BootId,
    /// Boot of this node.
    pub local_boot: BootId,
}

/// Asks this node's HA engine to give one pool back to its partner, or to end the takeover of one that has none away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivebackRequest {
    /// The takeover that is undone: any other one standing is refused.
    pub id: TransitionId,
    /// The pool. Root pools go first: the engine refuses another order. None where no pool of the partner is away, as on
    /// one that has none of its own: the takeover ends all the same. Refused while a pool is to go home.
    pub pool: Option<PoolName>,
}

/// The node's HA engine.
#[async_trait]
pub trait Failover: Send + Sync {
    /// The pair as the engine sees it; `None` on a node without a partner.
    async fn pair(&self) -> Result<Option<PairState>, PlatformError>;
    /// Starts the takeover of the partner. Returns when the engine accepted it (or has done so before,
    /// by id); progress is seen in [`Failover::pair`]. Vetoes are never overridden.
    async fn take_over(&self, request: &TakeoverRequest) -> Result<(), PlatformError>;
    /// Gives one pool back, or ends a takeover that holds none. Returns when the pool is home, or was already; or when the
    /// takeover is over.
    async fn give_back(&self, request: &GivebackRequest) -> Result<(), PlatformError>;
    /// A node waiting for giveback whose partner is fenced takes its own pools and the partner's and
    /// serves. Refused unless the engine has proof of the partner's death.
    async fn serve_alone(&self) -> Result<(), PlatformError>;
    /// The vote of a third party (corosync's quorum device, say); `None` where none is configured.
    async fn witness(&self) -> Result<Option<WitnessState>, PlatformError>;
    /// How this node would fence its partner; `None` where nothing is configured.
    async fn fencing(&self) -> Result<Option<FencingState>, PlatformError>;
}

/// The boot loader's two slots.
#[async_trait]
pub trait BootSlots: Send + Sync {
    /// Both slots, what booted, what is next.
    async fn slots(&self) -> Result<SlotsState, PlatformError>;
    /// Folder of the slot's tree on this machine.
    fn path(&self, slot: Slot) -> PathBuf;
    /// Makes the boot loader skip the slot: before its first byte changes. The booted slot is refused.
    async fn mark_unbootable(&self, slot: Slot) -> Result<(), PlatformError>;
    /// Makes the slot the default, to be tried `tries` times before the other one boots again. A slot
    /// without a whole image is refused. Repeating it while the slot is default changes nothing.
    async fn set_default(&self, slot: Slot, tries: u8) -> Result<(), PlatformError>;
    /// Tells the boot loader that the *booted* slot is good. Another one is refused.
    async fn mark_good(&self, slot: Slot) -> Result<(), PlatformError>;
    /// Whether the next boot comes up by itself.
    async fn boot_settings(&self) -> Result<BootSettings, PlatformError>;
}

/// Power and the service processor.
#[async_trait]
pub trait Power: Send + Sync {
    /// The boot this node runs in.
    async fn boot_id(&self) -> Result<BootId, PlatformError>;
    /// Shuts the node down cleanly and boots its default slot. Returns when that has begun; the caller ends
    /// with it. Refused on a node with an HA partner, which takes it over instead.
    async fn reboot(&self, request: &RebootRequest) -> Result<(), PlatformError>;
    /// The node's own service processor.
    async fn sp(&self) -> Result<SpState, PlatformError>;
    /// The partner's service processor, asked through the network (IPMI or Redfish over LAN); `None` on a
    /// node without a partner.
    async fn partner_sp(&self) -> Result<Option<PartnerSp>, PlatformError>;
}

/// Asks for a clean reboot into the default slot, of a node that nobody can take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootRequest {
    /// The boot that is to end. Another one is refused: a reboot is never done twice.
    pub boot: BootId,
}

/// Data LIFs.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// All LIFs of the pair.
    async fn lifs(&self) -> Result<Vec<LifState>, PlatformError>;
    /// Sends a LIF to its home node, which must be serving. Returns when it is there, or was already.
    async fn send_home(&self, lif: &LifName) -> Result<(), PlatformError>;
    /// This node's ports that can carry data LIFs.
    async fn ports(&self) -> Result<Vec<PortState>, PlatformError>;
}

/// Everything else that checks look at.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// Pools of the pair.
    async fn pools(&self) -> Result<Vec<PoolState>, PlatformError>;
    /// Disks that this node sees.
    async fn disks(&self) -> Result<Vec<DiskState>, PlatformError>;
    /// Disks that this node sees and that belong to neither partner.
    async fn unowned_disks(&self) -> Result<Vec<DiskSerial>, PlatformError>;
    /// The shelves that this node sees (SES enclosures).
    async fn shelves(&self) -> Result<Vec<ShelfState>, PlatformError>;
    /// How busy the node is.
    async fn load(&self) -> Result<Load, PlatformError>;
    /// Time synchronisation.
    async fn time_sync(&self) -> Result<TimeSync, PlatformError>;
    /// Jobs that a takeover would break.
    async fn exclusive_jobs(&self) -> Result<Vec<String>, PlatformError>;
    /// Open health alerts.
    async fn alerts(&self) -> Result<Vec<String>, PlatformError>;
    /// Clients that a takeover would hurt.
    async fn client_hazards(&self) -> Result<Vec<String>, PlatformError>;
    /// Clients whose protocol or set-up does not survive a takeover well.
    async fn client_risks(&self) -> Result<Vec<ClientRisk>, PlatformError>;
    /// What names the controller's hardware. A machine need not say.
    async fn machine(&self) -> Result<MachineId, PlatformError> {
        Ok(MachineId::default())
    }
    /// Free space.
    async fn space(&self) -> Result<Space, PlatformError>;
}

/// All of a node's machine.
pub trait Platform:
    Failover + BootSlots + Power + Addresses + Inventory + Send + Sync + 'static
{
}

impl<T: Failover + BootSlots + Power + Addresses + Inventory + Send + Sync + 'static> Platform
    for T
{
}

/// A shared platform.
pub type SharedPlatform = Arc<dyn Platform>;
