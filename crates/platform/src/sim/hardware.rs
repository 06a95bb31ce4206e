//! The state of a whole cluster's hardware, and its two doors: `handle` and `advance`.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    BootId, DiskSerial, LifName, Link, MemberHa, NodeName, PoolName, Slot, SlotHealth, SlotImage,
    SlotState, SlotsState, Space, Topology, Transition, Version,
};
use serde::{Deserialize, Serialize};

use super::check::{Cause, History};
use super::command::Effect;
use super::devices::Bay;
use super::fault::Fault;
use crate::traits::PlatformError;
use crate::wire::{Command, DeviceCall, Reply};

/// Delay that [`Fault::Slow`] puts on every message.
pub const SLOW_LINK_MS: u64 = 300;

/// How fast the simulated hardware is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareSettings {
    /// Length of a minute of boot time.
    pub minute_ms: u64,
    /// Minutes that a boot takes.
    pub boot_minutes: u64,
    /// From the acceptance of a negotiated takeover until pools and LIFs move. Not scaled.
    pub takeover_ms: u64,
    /// From the loss of a node until its partner has proof of it. Not scaled.
    pub detect_ms: u64,
    /// Makes the boot ids.
    pub seed: u64,
    /// Drives in each node's shelf.
    #[serde(default = "few_disks")]
    pub disks: u8,
}

/// What hardware had before it could be chosen.
fn few_disks() -> u8 {
    4
}

impl Default for HardwareSettings {
    fn default() -> Self {
        Self {
            minute_ms: 60_000,
            boot_minutes: 2,
            takeover_ms: 300,
            detect_ms: 1_000,
            seed: 0,
            disks: few_disks(),
        }
    }
}

/// A name that is not a node of this hardware.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no node {0}")]
pub struct UnknownNode(pub NodeName);

/// The hardware of a whole cluster. Times are milliseconds of a clock that the caller reads; they never
/// go backwards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hardware {
    pub(super) settings: HardwareSettings,
    pub(super) now: u64,
    /// Boots so far: with the seed, the source of boot ids.
    pub(super) boots: u64,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    pub(super) pairs: Vec<Pair>,
    pub(super) pools: Vec<Pool>,
    pub(super) lifs: Vec<Lif>,
    pub(super) disks: Vec<Disk>,
    /// Firmware of the devices.
    #[serde(default)]
    pub(super) bay: Bay,
    pub(super) history: History,
    #[serde(skip)]
    pub(super) effects: Vec<Effect>,
    /// Grows with every change: whoever keeps the hardware stores it when this moved.
    pub(super) revision: u64,
    /// On whose account the present change happens.
    #[serde(skip)]
    pub(super) cause: Cause,
    /// The moment up to which all that was due has happened, and the revision then.
    #[serde(skip)]
    pub(super) passed: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) partner: Option<NodeName>,
    pub(super) power: PowerState,
    /// The newest boot, running or ended.
    pub(super) last_boot: Option<BootId>,
    /// When the partner will have proof that this node is lost.
    pub(super) detect_at: Option<u64>,
    /// The partner has that proof.
    pub(super) proven_lost: bool,
    pub(super) default: Slot,
    pub(super) a: SlotState,
    pub(super) b: SlotState,
    pub(super) faults: BTreeSet<Fault>,
    pub(super) space: Space,
    /// When a node that flaps resets itself.
    #[serde(default)]
    pub(super) resets_at: Option<u64>,
    /// It is up without its daemon.
    #[serde(default)]
    pub(super) without_daemon: bool,
}

/// What a node's power and boot loader are doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// Without power.
    Off,
    /// On its way up.
    Booting {
        /// From this slot.
        slot: Slot,
        /// Until then; none when the boot hangs.
        until: Option<u64>,
    },
    /// Running.
    Up {
        /// From this slot.
        slot: Slot,
        /// In this boot.
        boot_id: BootId,
    },
    /// Neither slot boots.
    Halted,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) members: [NodeName; 2],
    pub(super) transition: Option<Transition>,
    /// When the accepted takeover moves pools and LIFs.
    pub(super) takes_over_at: Option<u64>,
    /// Neither member serves.
    pub(super) out_of_service: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pool {
    pub(super) name: PoolName,
    pub(super) home: NodeName,
    pub(super) owner: Option<NodeName>,
    pub(super) root: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Lif {
    pub(super) name: LifName,
    pub(super) home: NodeName,
    pub(super) current: Option<NodeName>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Disk {
    pub(super) serial: DiskSerial,
    pub(super) home: NodeName,
}

impl Node {
    fn new(partner: Option<NodeName>) -> Self {
        let empty = |health| SlotState {
            health,
            image: None,
        };
        let free = 64 << 30;
        Self {
            partner,
            power: PowerState::Off,
            last_boot: None,
            detect_at: None,
            proven_lost: false,
            default: Slot::A,
            a: empty(SlotHealth::Good),
            b: empty(SlotHealth::Unbootable),
            faults: BTreeSet::new(),
            space: Space {
                store_free: free,
                slot_free: free,
                root_free: free,
            },
            resets_at: None,
            without_daemon: false,
        }
    }

    pub(super) fn slot(&self, slot: Slot) -> &SlotState {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    pub(super) fn slot_mut(&mut self, slot: Slot) -> &mut SlotState {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// A boot does not come up by itself.
    pub(super) fn hangs(&self) -> bool {
        [Fault::HangBoot, Fault::NoAutoboot, Fault::BootMenu]
            .into_iter()
            .any(|fault| self.has(fault))
    }

    pub(super) fn up(&self) -> Option<(Slot, BootId)> {
        match self.power {
            PowerState::Up { slot, boot_id } => Some((slot, boot_id)),
            PowerState::Off | PowerState::Booting { .. } | PowerState::Halted => None,
        }
    }
}

impl Hardware {
    /// The hardware of a topology: all nodes without power, slot `a` the default of each, and empty.
    pub fn new(topology: &Topology, settings: HardwareSettings) -> Self {
        let mut hardware = Self {
            settings,
            now: 0,
            boots: 0,
            nodes: BTreeMap::new(),
            pairs: Vec::new(),
            pools: Vec::new(),
            lifs: Vec::new(),
            disks: Vec::new(),
            bay: Bay::default(),
            history: History::default(),
            effects: Vec::new(),
            revision: 0,
            cause: Cause::default(),
            passed: None,
        };
        for (first, second) in topology.pairs() {
            hardware.pairs.push(Pair {
                members: [first.clone(), second.clone()],
                transition: None,
                takes_over_at: None,
                out_of_service: true,
            });
        }
        for config in &topology.nodes {
            let node = Node::new(config.partner.clone());
            hardware.nodes.insert(config.name.clone(), node);
            hardware.add_storage(&config.name);
            hardware.lifs.extend(config.lifs.iter().map(|lif| Lif {
                name: lif.name.clone(),
                home: config.name.clone(),
                current: None,
            }));
        }
        hardware
    }

    fn add_storage(&mut self, node: &NodeName) {
        for (suffix, root) in [("root", true), ("data1", false), ("data2", false)] {
            let name = PoolName::new(format!("{}_{suffix}", short(node)));
            self.pools.push(Pool {
                name: name.expect("a shortened node name and a suffix fit"),
                home: node.clone(),
                owner: None,
                root,
            });
        }
        for number in 1..=self.settings.disks {
            let serial = DiskSerial::new(format!("{}-D{number}", short(node)));
            self.disks.push(Disk {
                serial: serial.expect("a shortened node name and a number fit"),
                home: node.clone(),
            });
        }
    }

    /// Carries out or answers a call of a node. Effects are fetched by [`Hardware::advance`].
    pub fn handle(
        &mut self,
        node: &NodeName,
        command: &Command,
        now_ms: u64,
    ) -> Result<Reply, PlatformError> {
        self.pass_time(now_ms);
        let up = self.nodes.get(node).and_then(Node::up);
        if up.is_none() {
            let why = format!("node {node} is not up");
            return Err(PlatformError::Unavailable(why));
        }
        if command.acts() {
            self.cause = Cause::Ours {
                node: node.clone(),
                command: command.without_data(),
            };
        }
        let reply = match command {
            Command::TakeOver(request) => self.take_over(node, request),
            Command::GiveBack(request) => self.give_back(node, request),
            Command::ServeAlone => self.serve_alone(node),
            Command::MarkUnbootable { slot } => self.mark_unbootable(node, *slot),
            Command::SetDefault { slot, tries } => self.set_default(node, *slot, *tries),
            Command::MarkGood { slot } => self.mark_good(node, *slot),
            Command::Reboot(request) => self.reboot(node, request),
            Command::SendHome { lif } => self.send_home(node, lif),
            Command::Device(call) if call.acts() => return self.act_and_watch(node, call),
            Command::Pair
            | Command::Slots
            | Command::BootId
            | Command::Sp
            | Command::Lifs
            | Command::Pools
            | Command::Disks
            | Command::Load
            | Command::TimeSync
            | Command::ExclusiveJobs
            | Command::Alerts
            | Command::ClientHazards
            | Command::Space
            | Command::Witness
            | Command::Fencing
            | Command::BootSettings
            | Command::PartnerSp
            | Command::Ports
            | Command::UnownedDisks
            | Command::Shelves
            | Command::ClientRisks
            | Command::Machine
            | Command::Device(_) => return self.observe(node, command),
        };
        self.watch_service();
        if let Err(PlatformError::Refused(why)) = &reply {
            self.note_refusal(node, command, why);
        }
        reply.map(|()| Reply::Done)
    }

    fn act_and_watch(
        &mut self,
        node: &NodeName,
        call: &DeviceCall,
    ) -> Result<Reply, PlatformError> {
        let reply = self.act_on_device(node, call);
        self.watch_service();
        if let Err(PlatformError::Refused(why)) = &reply {
            let command = Command::Device(call.clone()).without_data();
            self.note_refusal(node, &command, why);
        }
        reply
    }

    /// Lets time pass until `now_ms`, and hands out what follows from all that happened so far.
    pub fn advance(&mut self, now_ms: u64) -> Vec<Effect> {
        self.pass_time(now_ms);
        std::mem::take(&mut self.effects)
    }

    /// When something happens by itself next.
    pub fn next_wake(&self) -> Option<u64> {
        let boots = self.nodes.values().filter_map(|node| match node.power {
            PowerState::Booting { until, .. } => until,
            PowerState::Off | PowerState::Up { .. } | PowerState::Halted => None,
        });
        let detections = self.nodes.values().filter_map(|node| node.detect_at);
        let takeovers = self.pairs.iter().filter_map(|pair| pair.takes_over_at);
        let resets = self.nodes.values().filter_map(|node| node.resets_at);
        let due = boots.chain(detections).chain(takeovers).chain(resets);
        due.min()
    }

    /// Whether effects wait to be fetched.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The newest time it was told.
    pub fn now_ms(&self) -> u64 {
        self.now
    }

    /// The settings.
    pub fn settings(&self) -> &HardwareSettings {
        &self.settings
    }

    /// Changes the length of a minute: for boots that begin from now on.
    pub fn set_minute(&mut self, minute_ms: u64) {
        self.settings.minute_ms = minute_ms;
        self.changed();
    }

    /// All nodes.
    pub fn node_names(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// What a node's power is doing.
    pub fn power(&self, node: &NodeName) -> Option<&PowerState> {
        self.nodes.get(node).map(|node| &node.power)
    }

    /// A node's running boot.
    pub fn boot_of(&self, node: &NodeName) -> Option<BootId> {
        Some(self.nodes.get(node)?.up()?.1)
    }

    /// The same, of a node on which `evenkeeld` can be started.
    pub fn boot_for_daemon(&self, node: &NodeName) -> Option<BootId> {
        let silent = self.nodes.get(node)?.without_daemon;
        self.boot_of(node).filter(|_| !silent)
    }

    /// A node's slots; none while it is not up.
    pub fn slots_state(&self, node: &NodeName) -> Option<SlotsState> {
        let node = self.nodes.get(node)?;
        let (booted, _) = node.up()?;
        Some(SlotsState {
            booted,
            default: node.default,
            a: node.a.clone(),
            b: node.b.clone(),
            writable: !node.has(Fault::ReadonlySlot),
        })
    }

    /// What a node says of its slots: the same, but for a fault that makes it lie.
    pub(super) fn told_slots(&self, node: &NodeName) -> Option<SlotsState> {
        let mut slots = self.slots_state(node)?;
        if self.at(node).has(Fault::ForeignVersion)
            && let Some(image) = &mut slots.slot_mut(slots.booted).image
        {
            image.version = Version::new("0.0").expect("two digits and a dot are a version");
        }
        Some(slots)
    }

    /// What a node does in its pair; none if there is no such node.
    pub fn ha(&self, node: &NodeName) -> Option<MemberHa> {
        self.nodes.contains_key(node).then(|| self.member_ha(node))
    }

    /// The LIFs that a node hosts now.
    pub fn hosting(&self, node: &NodeName) -> BTreeSet<LifName> {
        let here = |lif: &&Lif| lif.current.as_ref() == Some(node);
        let hosted = self.lifs.iter().filter(here);
        hosted.map(|lif| lif.name.clone()).collect()
    }

    /// The faults of a node.
    pub fn faults(&self, node: &NodeName) -> BTreeSet<Fault> {
        let node = self.nodes.get(node);
        node.map(|node| node.faults.clone()).unwrap_or_default()
    }

    /// How a node's links to the record and to its peers are.
    pub fn link(&self, node: &NodeName) -> Link {
        let has = |fault| self.nodes.get(node).is_some_and(|node| node.has(fault));
        Link {
            cut: has(Fault::Cut),
            delay_ms: if has(Fault::Slow) { SLOW_LINK_MS } else { 0 },
        }
    }

    /// Tells what a slot's files say it holds.
    pub fn set_image(
        &mut self,
        node: &NodeName,
        slot: Slot,
        image: Option<SlotImage>,
    ) -> Result<(), UnknownNode> {
        let slot = self.node_mut(node)?.slot_mut(slot);
        if slot.image != image {
            slot.image = image;
            self.changed();
        }
        Ok(())
    }

    /// The same, of a slot that an earlier update was proven good in.
    pub fn set_good_image(
        &mut self,
        node: &NodeName,
        slot: Slot,
        image: SlotImage,
    ) -> Result<(), UnknownNode> {
        self.set_image(node, slot, Some(image))?;
        self.node_mut(node)?.slot_mut(slot).health = SlotHealth::Good;
        Ok(())
    }

    /// Tells how much space a node's disk has left.
    pub fn set_space(&mut self, node: &NodeName, space: Space) -> Result<(), UnknownNode> {
        self.node_mut(node)?.space = space;
        Ok(())
    }

    pub(super) fn node_mut(&mut self, node: &NodeName) -> Result<&mut Node, UnknownNode> {
        let unknown = || UnknownNode(node.clone());
        self.nodes.get_mut(node).ok_or_else(unknown)
    }

    /// The node of a name that was checked before.
    pub(super) fn at(&self, node: &NodeName) -> &Node {
        self.nodes
            .get(node)
            .expect("names inside the hardware are nodes")
    }

    /// The node of a name that was checked before, to change.
    pub(super) fn at_mut(&mut self, node: &NodeName) -> &mut Node {
        self.nodes
            .get_mut(node)
            .expect("names inside the hardware are nodes")
    }

    pub(super) fn changed(&mut self) {
        self.revision += 1;
    }

    /// Lets everything that is due by `now_ms` happen, in the order of its time.
    fn pass_time(&mut self, now_ms: u64) {
        // Whoever looks at a machine asks for two dozen things at the same moment.
        if self.passed == Some((now_ms, self.revision)) {
            return;
        }
        while let Some(due) = self.next_wake().filter(|due| *due <= now_ms) {
            self.now = self.now.max(due);
            self.happen(due);
            self.watch_service();
            self.changed();
        }
        self.now = self.now.max(now_ms);
        self.settle_devices();
        self.passed = Some((now_ms, self.revision));
    }

    /// One thing that is due.
    fn happen(&mut self, due: u64) {
        let takeover = |pair: &Pair| pair.takes_over_at == Some(due);
        if let Some(pair) = self.pairs.iter().position(takeover) {
            return self.complete_takeover(pair);
        }
        let lost = |(_, node): &(&NodeName, &Node)| node.detect_at == Some(due);
        if let Some(name) = self.nodes.iter().find(lost).map(|(name, _)| name.clone()) {
            return self.detect_loss(&name);
        }
        let booted = |(_, node): &(&NodeName, &Node)| matches!(node.power, PowerState::Booting { until, .. } if until == Some(due));
        if let Some(name) = self.nodes.iter().find(booted).map(|(name, _)| name.clone()) {
            return self.end_boot(&name);
        }
        let resets = |(_, node): &(&NodeName, &Node)| node.resets_at == Some(due);
        if let Some(name) = self.nodes.iter().find(resets).map(|(name, _)| name.clone()) {
            self.flap(&name);
        }
    }
}

/// Names of pools and disks are made from a node's: they must fit in the same 64 characters.
pub(super) fn short(node: &NodeName) -> &str {
    let name = node.as_str();
    &name[..name.len().min(48)]
}
