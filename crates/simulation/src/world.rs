//! Everything that outlives a daemon, and what may happen to it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_agent::NodeDb;
use evenkeel_agent::{GateAnswer, GateContext};
use evenkeel_interconnect::LocalNetwork;
use evenkeel_model::{BootId, CheckOrder, Generation, JobId, NodeName, Position, Topology};
use evenkeel_platform::sim::{Effect, Fault, Hardware, Machine};
use evenkeel_record::{MemoryHub, MemoryRecord, Record, View};
use evenkeel_seam::SeededIds;
use tokio::time::{Instant, sleep};

use crate::clock::Skew;
use crate::conditions::Conditions;
use crate::daemon::{self, Daemon};
use crate::hooks::ScriptedChecks;
use crate::rules::Rules;
use crate::settings::{BEFORE, OLD, Settings, digest};
use crate::shelf::Shelf;

/// How long a node that is up takes to start its daemon.
const DAEMON_START: Duration = Duration::from_millis(200);

/// Something that ends daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// `evenkeeld` is killed; its service manager starts it again.
    Kill,
    /// The node loses its power, and gets it back after a while.
    PowerCut,
}

type Act = Box<dyn FnOnce(&Arc<World>) + Send>;

/// What waits for an event of the record.
pub(crate) struct Trip {
    pub(crate) at: Position,
    pub(crate) act: Act,
}

/// A node's parts that a crash leaves as they are.
pub(crate) struct SimNode {
    /// As it is; the daemon reaches it through what is wrong with the disk.
    pub(crate) db: NodeDb,
    pub(crate) conditions: Arc<Conditions>,
    pub(crate) record: Arc<MemoryRecord>,
    pub(crate) ids: Arc<SeededIds>,
    pub(crate) shelf: Shelf,
    pub(crate) skew: Skew,
    pub(crate) daemon: Option<Daemon>,
    /// Counts starts and ends of daemons: tells a daemon from its successors.
    pub(crate) turn: u64,
    /// The highest generation that the node said it obeys.
    pub(crate) generation: Generation,
}

/// The cluster's world.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) topology: Topology,
    pub(crate) hub: MemoryHub,
    pub(crate) network: LocalNetwork,
    pub(crate) origin: Instant,
    machine: Arc<Machine>,
    nodes: Mutex<BTreeMap<NodeName, SimNode>>,
    pub(crate) violations: Mutex<Vec<String>>,
    /// Jobs that a client was told of.
    pub(crate) accepted: Mutex<Vec<JobId>>,
    /// What the checks that packages bring find, by node.
    pub(crate) checks: Mutex<BTreeMap<NodeName, ScriptedChecks>>,
    /// Every run of such checks.
    pub(crate) check_runs: Mutex<Vec<(NodeName, CheckOrder)>>,
    /// What the operator's gate script answers.
    pub(crate) gate: Mutex<GateAnswer>,
    /// What it was asked.
    pub(crate) gate_asked: Mutex<Vec<GateContext>>,
    /// How often nodes were asked what they see.
    pub(crate) looks: AtomicU64,
    trip: Mutex<Option<Trip>>,
    seen: Mutex<View>,
    pub(crate) rules: Mutex<Rules>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let topology = settings.topology();
        let mut hardware = Hardware::new(&topology, settings.hardware());
        let image = evenkeel_model::SlotImage {
            digest: digest(OLD),
            version: crate::settings::version(OLD),
        };
        let hub = MemoryHub::new();
        let voters = settings.record_on.iter().map(|it| settings.name(*it));
        hub.set_voters(voters.collect());
        let mut nodes = BTreeMap::new();
        for number in 0..settings.nodes {
            let name = settings.name(number);
            let set = hardware.set_image(&name, evenkeel_model::Slot::A, Some(image.clone()));
            set.expect("the node is one of the topology");
            if settings.seed % 4 == 2 {
                let before = evenkeel_model::SlotImage {
                    digest: digest(BEFORE),
                    version: crate::settings::version(BEFORE),
                };
                let set = hardware.set_good_image(&name, evenkeel_model::Slot::B, before);
                set.expect("the node is one of the topology");
            }
            nodes.insert(name, node(&settings, &hub, number));
        }
        Arc::new(Self {
            settings,
            topology,
            hub,
            network: LocalNetwork::new(),
            origin: Instant::now(),
            machine: Machine::new(hardware),
            nodes: Mutex::new(nodes),
            violations: Mutex::default(),
            accepted: Mutex::default(),
            checks: Mutex::default(),
            check_runs: Mutex::default(),
            gate: Mutex::new(GateAnswer::Open),
            gate_asked: Mutex::default(),
            looks: AtomicU64::default(),
            trip: Mutex::default(),
            seen: Mutex::default(),
            rules: Mutex::default(),
        })
    }

    pub(crate) fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    pub(crate) fn hardware<R>(&self, act: impl FnOnce(&mut Hardware, u64) -> R) -> R {
        self.machine.with(act).expect("nothing is stored")
    }

    pub(crate) fn nodes(&self) -> MutexGuard<'_, BTreeMap<NodeName, SimNode>> {
        lock(&self.nodes)
    }

    pub(crate) fn record_of(&self, node: &NodeName) -> Arc<MemoryRecord> {
        Arc::clone(&self.nodes()[node].record)
    }

    pub(crate) fn violated(&self, what: String) {
        let mut violations = lock(&self.violations);
        if !violations.contains(&what) {
            violations.push(what);
        }
    }

    /// The fold of all that is recorded.
    pub(crate) fn view(&self) -> View {
        self.catch_up().clone()
    }

    /// The same, looked at in place.
    pub(crate) fn catch_up(&self) -> MutexGuard<'_, View> {
        let mut view = lock(&self.seen);
        if view.position().0 == self.hub.len() as u64 {
            return view;
        }
        for entry in self.hub.entries_after(view.position()) {
            self.judge(&view, &entry);
            if let Err(gap) = view.apply(&entry) {
                self.violated(format!("the record has a gap: {gap}"));
            }
        }
        if let Some((stream, quarantine)) = view.quarantined().iter().next() {
            self.violated(format!("{stream} cannot be folded: {quarantine:?}"));
        }
        view
    }

    /// Follows the hardware: boots start daemons, lost power ends them.
    pub(crate) async fn follow_hardware(self: Arc<Self>) {
        loop {
            for effect in self.machine.next_effects().await {
                self.follow(effect);
            }
            self.look();
        }
    }

    fn follow(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Daemon { node, boot_id, .. } => self.start_after(&node, boot_id, DAEMON_START),
            Effect::PowerLost { node } | Effect::Shutdown { node } => self.end_daemon(&node),
            Effect::Boot { .. } | Effect::Lifs { .. } => {}
        }
    }

    /// Starts the node's daemon after a while, if by then it still runs in that boot without one and nothing
    /// keeps it from starting.
    fn start_after(self: &Arc<Self>, node: &NodeName, boot_id: BootId, pause: Duration) {
        let (world, node) = (Arc::clone(self), node.clone());
        let turn = self.nodes()[&node].turn;
        tokio::spawn(async move {
            sleep(pause).await;
            let boot = world.hardware(|hardware, _| hardware.boot_for_daemon(&node));
            if boot == Some(boot_id)
                && world.nodes()[&node].turn == turn
                && !daemon::start(&world, &node, boot_id).await
            {
                world.start_after(&node, boot_id, world.settings.restart_after);
            }
        });
    }

    /// The node's daemon is gone this instant, with all that it was doing.
    fn end_daemon(&self, node: &NodeName) {
        self.network.detach(node);
        let gone = {
            let mut nodes = self.nodes();
            let node = nodes.get_mut(node).expect("effects name nodes");
            node.turn += 1;
            node.daemon.take()
        };
        drop(gone);
    }

    pub(crate) fn is_alive(&self, node: &NodeName, turn: u64) -> bool {
        self.nodes()[node].turn == turn
    }

    /// Returns once that daemon is gone: its clients' connections break.
    pub(crate) async fn death(&self, node: &NodeName, turn: u64) {
        while self.is_alive(node, turn) {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Strikes a node, and sees to it that it comes back.
    pub(crate) fn strike(self: &Arc<Self>, node: &NodeName, blow: Blow) {
        match blow {
            Blow::Kill => {
                self.end_daemon(node);
                if let Some(boot_id) = self.hardware(|hardware, _| hardware.boot_of(node)) {
                    self.start_after(node, boot_id, self.settings.restart_after);
                }
            }
            Blow::PowerCut => self.darken(node, self.settings.dark_for),
        }
    }

    /// A node is without power for a while.
    pub(crate) fn darken(self: &Arc<Self>, node: &NodeName, dark_for: Duration) {
        self.set_fault(node, Fault::PowerOff, true);
        self.end_daemon(node);
        let (world, node) = (Arc::clone(self), node.clone());
        tokio::spawn(async move {
            sleep(dark_for).await;
            world.set_fault(&node, Fault::PowerOff, false);
        });
    }

    pub(crate) fn set_fault(&self, node: &NodeName, fault: Fault, on: bool) {
        let set = self.hardware(|hardware, now| hardware.set_fault(node, fault, on, now));
        set.expect("faults are set on nodes");
        self.note_fault(node, fault, on);
        self.look();
    }

    pub(crate) fn set_trip(&self, trip: Trip) {
        *lock(&self.trip) = Some(trip);
    }

    /// Something was perhaps appended: what waits for it happens now.
    pub(crate) fn appended(self: &Arc<Self>) {
        drop(self.catch_up());
        let reached = {
            let head = Position(self.hub.len() as u64);
            let mut trip = lock(&self.trip);
            trip.take_if(|trip| trip.at <= head)
        };
        if let Some(trip) = reached {
            (trip.act)(self);
        }
    }
}

fn node(settings: &Settings, hub: &MemoryHub, number: usize) -> SimNode {
    let seed = settings.seed.wrapping_mul(1000) + number as u64;
    let record = hub.client(seed);
    record.set_faults(settings.record_faults);
    SimNode {
        db: NodeDb::open_in_memory().expect("memory can be had"),
        conditions: Conditions::new(seed),
        record: Arc::new(record),
        ids: Arc::new(SeededIds::new(seed)),
        shelf: Shelf::default(),
        skew: Skew::default(),
        daemon: None,
        turn: 0,
        generation: Generation::default(),
    }
}

/// A way to the record without faults, for the setup.
pub(crate) fn bare(world: &World) -> Arc<dyn Record> {
    Arc::new(world.hub.client(0))
}
