//! What a node's agent sees. Ignorance is a value of its own: `Unknown` is never read as health.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundled::BundledRun;
use crate::firmware::FirmwareStatus;
use crate::id::{BootId, Digest, DiskSerial, Generation, LifName, NodeName, PoolName, Slot};
use crate::id::{TransitionId, Version};
use crate::time::WallTime;
use crate::transfer::{Transfer, Trouble};

/// A fact, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed<T> {
    /// Seen at a time.
    Known {
        /// What was seen.
        value: T,
        /// When.
        at: WallTime,
    },
    /// Could not be seen.
    Unknown {
        /// Why, for people.
        why: String,
        /// Since when.
        since: WallTime,
    },
}

/// Why an older release's observation lacks what a newer one looks at.
const UNSAID: &str = "its evenkeeld is of an older release and does not say it";

impl<T> Observed<T> {
    /// What is missing in the observation of a daemon that is too old to say it.
    pub fn unsaid() -> Self {
        Self::Unknown {
            why: UNSAID.to_owned(),
            since: WallTime::new(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    /// Whether it is unknown for no other reason than the age of the node's daemon.
    pub fn is_unsaid(&self) -> bool {
        match self {
            Self::Known { .. } => false,
            Self::Unknown { why, .. } => why == UNSAID,
        }
    }

    /// The value, if known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// The value, or why it is unknown.
    pub fn as_result(&self) -> Result<&T, &str> {
        match self {
            Self::Known { value, .. } => Ok(value),
            Self::Unknown { why, .. } => Err(why),
        }
    }
}

/// What is known of every node of the topology.
pub type ClusterObservation = BTreeMap<NodeName, Observed<NodeObservation>>;

/// All that one node's agent sees of itself, its pair and its hardware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// Who speaks.
    pub node: NodeName,
    /// The boot it runs in.
    pub boot_id: BootId,
    /// Build version of its `evenkeeld`.
    pub daemon: String,
    /// Version of the manifest of the slot that booted.
    pub version: Observed<Version>,
    /// Highest coordinator generation it has durably seen.
    pub generation: Generation,
    /// Its boot slots.
    pub slots: Observed<SlotsState>,
    /// Its HA pair, as its HA engine sees it. `Known(None)` on a single node.
    pub pair: Observed<Option<PairState>>,
    /// The pools that either member of the pair could serve.
    pub pools: Observed<Vec<PoolState>>,
    /// The data LIFs that either member of the pair could serve.
    pub lifs: Observed<Vec<LifState>>,
    /// Disks that this node sees.
    pub disks: Observed<Vec<DiskState>>,
    /// How busy the node is.
    pub load: Observed<Load>,
    /// Its service processor.
    pub sp: Observed<SpState>,
    /// Time synchronisation.
    pub time_sync: Observed<TimeSync>,
    /// Jobs that must not be interrupted by a takeover (volume moves, backups, …).
    pub exclusive_jobs: Observed<Vec<String>>,
    /// Open health alerts.
    pub alerts: Observed<Vec<String>>,
    /// Clients that a takeover would hurt, in words ("NFS soft mount from 10.0.0.7").
    pub client_hazards: Observed<Vec<String>>,
    /// Whether other members of the cluster answer this node, and which do not.
    pub quorum: Observed<Quorum>,
    /// Free space.
    pub space: Observed<Space>,
    /// The third party that votes with the nodes; `Known(None)` where there is none.
    #[serde(default = "Observed::unsaid")]
    pub witness: Observed<Option<WitnessState>>,
    /// How the node would make sure that its partner is dead; `Known(None)` where nothing is set up.
    #[serde(default = "Observed::unsaid")]
    pub fencing: Observed<Option<FencingState>>,
    /// The partner's service processor through the network. `Known(None)` on a single node.
    #[serde(default = "Observed::unsaid")]
    pub partner_sp: Observed<Option<PartnerSp>>,
    /// What the next boot would stop at.
    #[serde(default = "Observed::unsaid")]
    pub boot_settings: Observed<BootSettings>,
    /// The shelves that the node sees.
    #[serde(default = "Observed::unsaid")]
    pub shelves: Observed<Vec<ShelfState>>,
    /// Disks that the node sees and that belong to neither partner.
    #[serde(default = "Observed::unsaid")]
    pub unowned_disks: Observed<Vec<DiskSerial>>,
    /// The node's ports that can carry data LIFs.
    #[serde(default = "Observed::unsaid")]
    pub ports: Observed<Vec<PortState>>,
    /// Clients whose protocol or set-up does not survive a takeover well.
    #[serde(default = "Observed::unsaid")]
    pub client_risks: Observed<Vec<ClientRisk>>,
    /// Manifest digests of the whole, verified packages on its disk, those of firmware too.
    pub packages: Observed<Vec<Digest>>,
    /// Packages on their way to it.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// Bytes that a package may still take on its disk.
    #[serde(default)]
    pub package_room: Option<u64>,
    /// Why it does not have packages that it should have, or still has others.
    #[serde(default)]
    pub pull_trouble: BTreeMap<Digest, Trouble>,
    /// It takes packages without a signature; says nothing while its packages are not known.
    #[serde(default)]
    pub accepts_unsigned: bool,
    /// Whether it has an operator's script for gates.
    #[serde(default = "Observed::unsaid")]
    pub gate_script: Observed<bool>,
    /// The firmware of its devices.
    #[serde(default = "Observed::unsaid")]
    pub firmware: Observed<FirmwareStatus>,
    /// Its newest run of a package's own checks; none since its evenkeeld started.
    #[serde(default)]
    pub bundled_checks: Option<BundledRun>,
}

/// The two boot slots of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsState {
    /// The slot that runs now.
    pub booted: Slot,
    /// The slot that the next boot tries first.
    pub default: Slot,
    /// Slot `a`.
    pub a: SlotState,
    /// Slot `b`.
    pub b: SlotState,
    /// Whether slots can be written (a read-only boot medium cannot take an update).
    pub writable: bool,
}

impl SlotsState {
    /// One of the two.
    pub fn slot(&self, slot: Slot) -> &SlotState {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// One of the two, to change.
    pub fn slot_mut(&mut self, slot: Slot) -> &mut SlotState {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    /// The slot that is not running: the only one an install may touch.
    pub fn alternate(&self) -> Slot {
        self.booted.other()
    }
}

/// One boot slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotState {
    /// What the boot loader thinks of it.
    pub health: SlotHealth,
    /// Digest and version of the manifest in it; none while it is empty or being written.
    pub image: Option<SlotImage>,
}

/// Identity of what a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotImage {
    /// Manifest digest: the package's identity.
    pub digest: Digest,
    /// Its version.
    pub version: Version,
}

/// The boot loader's opinion of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotHealth {
    /// Never booted from: empty, being written, or out of tries.
    Unbootable,
    /// Will be tried this many more times, then given up.
    Untried {
        /// Boots left.
        tries: u8,
    },
    /// Proven good.
    Good,
}

impl SlotHealth {
    /// Whether the boot loader would boot it.
    pub fn is_bootable(self) -> bool {
        match self {
            Self::Good => true,
            Self::Untried { tries } => tries > 0,
            Self::Unbootable => false,
        }
    }
}

/// An HA pair as one node's HA engine sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairState {
    /// Takeover is configured and armed.
    pub enabled: bool,
    /// This node.
    pub local: MemberState,
    /// Its partner.
    pub partner: MemberState,
    /// Why a takeover of the partner by this node would be refused right now.
    pub takeover_veto: Option<String>,
    /// That reason passes by itself: waiting helps. Nothing overrides it either.
    #[serde(default)]
    pub takeover_veto_passes: bool,
    /// Why a giveback to the partner would be refused right now.
    pub giveback_veto: Option<String>,
    /// That reason passes by itself.
    #[serde(default)]
    pub giveback_veto_passes: bool,
    /// The newest takeover in the pair, until the next one.
    pub transition: Option<Transition>,
}

/// One member of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Which node.
    pub node: NodeName,
    /// What it is doing.
    pub ha: MemberHa,
    /// Its present boot; none while it is down.
    pub boot_id: Option<BootId>,
}

/// What a member of a pair is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberHa {
    /// Serves its own pools, and the partner's where those are here.
    Serving,
    /// Up and healthy; its pools are with the partner.
    WaitingForGiveback,
    /// Some of its pools are back, some still with the partner.
    PartialGiveback,
    /// On its way up.
    Booting,
    /// Does not answer; whether it is dead is not proven.
    Down,
    /// Proven dead: fenced or without power.
    Fenced,
}

impl MemberHa {
    /// In the words of operators, as a sentence about the node: "it is …".
    pub fn text(self) -> &'static str {
        match self {
            Self::Serving => "it is connected",
            Self::WaitingForGiveback => "it is in \"waiting for giveback\" state",
            Self::PartialGiveback => "its giveback is partial",
            Self::Booting => "it is booting",
            Self::Down => "it is down",
            Self::Fenced => "it is without power",
        }
    }

    /// Whether the node serves data now.
    pub fn serves(self) -> bool {
        match self {
            Self::Serving | Self::PartialGiveback => true,
            Self::WaitingForGiveback | Self::Booting | Self::Down | Self::Fenced => false,
        }
    }
}

/// One takeover and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Ours, if it carries an id; by hand or by a panic, if not.
    pub id: Option<TransitionId>,
    /// The node that was taken over.
    pub taken: NodeName,
    /// The node that serves for it.
    pub by: NodeName,
    /// The boot of the taken node that ended.
    pub boot_before: Option<BootId>,
    /// The taken node shut down cleanly.
    pub clean: bool,
    /// How far it is.
    pub stage: TransitionStage,
    /// Why it does not go on, as far as the engine can tell; of one that is or was given back, why the engine has undone it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// How far a takeover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitionStage {
    /// The partner is taking the pools and LIFs.
    TakingOver,
    /// The partner serves both.
    TakenOver,
    /// Pools are on their way back.
    GivingBack,
    /// All pools are home again.
    GivenBack,
}

/// A storage pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Name.
    pub name: PoolName,
    /// Node that owns it when all is well.
    pub home: NodeName,
    /// Node that serves it now, if any.
    pub owner: Option<NodeName>,
    /// The node's root pool: given back first.
    pub root: bool,
    /// Redundancy.
    pub health: PoolHealth,
    /// A scrub is running.
    pub scrubbing: bool,
    /// The node that speaks does not see its storage, because another node serves it or because it does not tell how it is: `health`
    /// and `scrubbing` say nothing then, and the pool's owner is asked. If that is the node itself, nobody knows, and its alerts say why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// Redundancy of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolHealth {
    /// Full redundancy.
    Online,
    /// Rebuilding.
    Resyncing,
    /// Redundancy lost.
    Degraded,
    /// Not serving.
    Offline,
}

/// A data LIF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifState {
    /// Name.
    pub name: LifName,
    /// Node it belongs on.
    pub home: NodeName,
    /// Node it is on, if it is up anywhere.
    pub current: Option<NodeName>,
    /// The partner could host it.
    pub has_failover_target: bool,
}

/// A disk, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskState {
    /// Serial number.
    pub serial: DiskSerial,
    /// Working paths from this node.
    pub paths: u8,
    /// The disk has failed.
    pub failed: bool,
}

/// How busy a node is, in percent of what it could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// CPU.
    pub cpu_percent: u8,
    /// Busiest pool.
    pub disk_percent: u8,
}

/// A service processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpState {
    /// Answers its node.
    pub reachable: bool,
    /// Its image is not corrupt.
    pub image_ok: bool,
    /// The node's configuration says that it has none. An older daemon takes it for one that does not answer.
    #[serde(default)]
    pub absent: bool,
}

/// Time synchronisation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSync {
    /// A time source is followed.
    pub synchronized: bool,
    /// Offset from it, in milliseconds.
    pub offset_ms: i64,
}

/// Who answers whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// The node can reach the record.
    pub record_reachable: bool,
    /// Members that did not answer this node.
    pub silent: Vec<NodeName>,
}

/// Free space in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Where packages are kept.
    pub store_free: u64,
    /// Where the alternate slot lives.
    pub slot_free: u64,
    /// Where databases and logs live.
    pub root_free: u64,
}

/// A third party that votes when nodes cannot agree: a tie-breaker, a quorum device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessState {
    /// Its name or address.
    pub name: String,
    /// Its vote counts on this node's side now.
    pub votes: bool,
}

/// How a node makes sure that its partner is dead before it serves for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencingState {
    /// It is armed.
    pub enabled: bool,
    /// What does it.
    pub device: FenceDevice,
    /// Seconds since it was last tested with success, by the machine's own count; none if it never was.
    pub tested_s_ago: Option<u64>,
}

/// What cuts a node off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceDevice {
    /// The partner's service processor cuts the partner's power.
    ServiceProcessor,
    /// Something else: a switched outlet, a storage fabric, a shared disk's reservation.
    Other {
        /// Its name.
        name: String,
        /// It answered this node.
        answers: bool,
    },
}

/// The service processor of a node's partner, through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerSp {
    /// It answers this node.
    pub reachable: bool,
    /// The node's configuration says that its partner has none. An older daemon takes it for one that does not answer.
    #[serde(default)]
    pub absent: bool,
}

/// What decides whether a node's next boot comes up by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSettings {
    /// The boot loader starts the default slot by itself.
    pub autoboot: bool,
    /// The next boot stops in the boot menu.
    pub stops_in_menu: bool,
}

/// A disk shelf, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShelfState {
    /// Its name or serial number.
    pub name: String,
    /// Its I/O modules.
    pub modules: Vec<ShelfModule>,
    /// Sensors that are out of their limits, in words ("fan 2 stands still").
    pub sensors: Vec<String>,
}

/// An I/O module of a shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShelfModule {
    /// Its place ("A", "B").
    pub name: String,
    /// It is there, answers and has no fault.
    pub ok: bool,
}

/// A network port that can carry data LIFs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// Name.
    pub name: String,
    /// Ports of one domain can stand in for each other.
    pub broadcast_domain: String,
    /// It has a link.
    pub up: bool,
}

/// A client that a takeover could disturb.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRisk {
    /// What kind of risk.
    pub kind: ClientRiskKind,
    /// Which client, in words.
    pub what: String,
}

/// Why a takeover could disturb a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientRiskKind {
    /// Its SMB dialect has no handles that survive.
    OldSmb,
    /// A SAN host with paths through one node only.
    SinglePath,
}
