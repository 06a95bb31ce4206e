//! The handle of a simulated cluster.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_agent::{GateAnswer, GateContext};
use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, CallError, Echo, Loss};
use evenkeel_model::{
    CatalogueEvent, CheckOrder, ControlEvent, Event, Link, NodeName, OperationId, Position, Seq,
    StreamId, WallTime,
};
use evenkeel_orchestrator::{FrontDoor, Role};
use evenkeel_platform::sim::{Fault, Hardware};
use evenkeel_record::{Entry, Fence, MemoryFaults, MemoryRecord, View, Write, Writer};
use evenkeel_seam::SeededIds;
use evenkeel_seam::watch;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::conditions::DiskState;
use crate::hooks::ScriptedChecks;
use crate::settings::{NEW, OLD, Settings, digest, epoch, package};
use crate::shown::wrong_jobs;
use crate::world::{Blow, Trip, World, bare, lock};

/// Runs a story under virtual time: whenever everyone waits, the clock jumps to the next timer.
pub fn run<T>(story: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("a runtime without I/O needs nothing")
        .block_on(story)
}

/// A cluster with power on all nodes, at [`OLD`], with the package of [`NEW`] in its catalogue.
pub struct Cluster {
    pub(crate) world: Arc<World>,
    driver: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.driver.abort();
        // What the network reaches holds the world, which holds the network.
        for node in self.world.nodes().keys() {
            self.world.network.detach(node);
        }
        let daemons: Vec<_> = self
            .world
            .nodes()
            .values_mut()
            .map(|node| node.daemon.take())
            .collect();
        drop(daemons);
    }
}

impl Cluster {
    /// Switches the nodes on and waits until one of them coordinates and all have said what they run.
    pub async fn start(settings: Settings) -> Self {
        let world = World::new(settings);
        set_up(&world).await;
        let driver = tokio::spawn(Arc::clone(&world).follow_hardware());
        world.hardware(|hardware, now| hardware.cold_start(now));
        let cluster = Self { world, driver };
        let ready = |view: &View| {
            let control = view.control();
            control.coordinator.is_some() && control.booted.len() == cluster.names().len()
        };
        // All of them write down their boot, one after the other.
        let bound = Duration::from_secs(60 + cluster.names().len() as u64);
        let up = cluster.until(bound, |_| ready(&cluster.view()).then_some(()));
        up.await.expect("a cluster without faults comes up");
        cluster
    }

    /// The names of all nodes; the first two are partners, and so on.
    pub fn names(&self) -> Vec<NodeName> {
        let settings = &self.world.settings;
        (0..settings.nodes).map(|n| settings.name(n)).collect()
    }

    /// The fold of all that is recorded.
    pub fn view(&self) -> View {
        self.world.view()
    }

    /// All that is recorded.
    pub fn entries(&self) -> Vec<Entry> {
        self.world.hub.entries()
    }

    /// The last event's position.
    pub fn head(&self) -> Position {
        Position(self.world.hub.len() as u64)
    }

    /// Who coordinates, says the record.
    pub fn coordinator(&self) -> Option<NodeName> {
        self.world.coordinator()
    }

    /// Who believes to coordinate.
    pub fn believes_to_coordinate(&self) -> Vec<NodeName> {
        let nodes = self.world.nodes();
        let leading = nodes.iter().filter(|(_, node)| {
            let daemon = node.daemon.as_ref();
            daemon.is_some_and(|d| matches!(&*d.role.borrow(), Role::Coordinator { .. }))
        });
        leading.map(|(name, _)| name.clone()).collect()
    }

    /// Looks at the hardware, or lays hands on it.
    pub fn hardware<R>(&self, act: impl FnOnce(&mut Hardware, u64) -> R) -> R {
        let result = self.world.hardware(act);
        self.world.look();
        result
    }

    /// Puts a fault on a node or takes it off.
    pub fn set_fault(&self, node: &NodeName, fault: Fault, on: bool) {
        self.world.set_fault(node, fault, on);
    }

    /// Strikes a node; it comes back by itself.
    pub fn strike(&self, node: &NodeName, blow: Blow) {
        self.world.strike(node, blow);
    }

    /// A node's wall clock jumps by that many seconds.
    pub fn jump_clock(&self, node: &NodeName, seconds: i64) {
        self.world.nodes()[node].skew.jump(seconds);
    }

    /// The right wall time.
    pub fn now(&self) -> WallTime {
        epoch().plus(self.world.origin.elapsed())
    }

    /// Cuts a node from its peers and from the record, or heals that.
    pub fn cut(&self, node: &NodeName, cut: bool) {
        self.world.cut(node, cut);
    }

    /// Cuts a node from the record alone, or heals that.
    pub fn cut_record(&self, node: &NodeName, cut: bool) {
        self.world.cut_record(node, cut);
    }

    /// Calls a node's agent in the name of another node.
    pub async fn call(
        &self,
        from: &NodeName,
        to: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError> {
        self.world
            .network
            .client(from.clone())
            .call(to, request)
            .await
    }

    /// Loses that many requests and answers to come of one node's calls to another.
    pub fn lose(&self, caller: &NodeName, called: &NodeName, requests: u32, answers: u32) {
        let loss = Loss { requests, answers };
        self.world.network.lose(caller, called, loss);
    }

    /// Says what the checks that packages bring do on a node from now on.
    pub fn script_checks(&self, node: &NodeName, checks: ScriptedChecks) {
        lock(&self.world.checks).insert(node.clone(), checks);
    }

    /// Every run of checks that packages bring: on which node, and for what.
    pub fn check_runs(&self) -> Vec<(NodeName, CheckOrder)> {
        lock(&self.world.check_runs).clone()
    }

    /// How often nodes have said what they see.
    pub fn looks(&self) -> u64 {
        self.world.looks.load(Ordering::Relaxed)
    }

    /// Says what the operator's gate script answers from now on, on every node.
    pub fn script_gate(&self, answer: GateAnswer) {
        *lock(&self.world.gate) = answer;
    }

    /// What the operator's gate script was asked.
    pub fn gate_asked(&self) -> Vec<GateContext> {
        lock(&self.world.gate_asked).clone()
    }

    /// Sets the faults between a node and the record.
    pub fn set_record_faults(&self, node: &NodeName, faults: MemoryFaults) {
        self.record(node).set_faults(faults);
    }

    /// A node's way to the record, to script its faults.
    pub fn record(&self, node: &NodeName) -> Arc<MemoryRecord> {
        self.world.record_of(node)
    }

    /// Right after the event at that position, and before whoever appended it learns of it: strikes the
    /// nodes that `whom` names then. Or that much later, amid what follows from the event.
    pub fn trip(
        &self,
        at: Position,
        late: Duration,
        blow: Blow,
        whom: impl FnOnce(&View, &Scene) -> Vec<NodeName> + Send + 'static,
    ) {
        let strike = move |world: &Arc<World>| {
            for node in whom(&world.view(), &Scene(Arc::clone(world))) {
                world.strike(&node, blow);
            }
        };
        let act = Box::new(move |world: &Arc<World>| match late.is_zero() {
            true => strike(world),
            false => {
                let world = Arc::clone(world);
                tokio::spawn(async move {
                    sleep(late).await;
                    strike(&world);
                });
            }
        });
        self.world.set_trip(Trip { at, act });
    }

    /// How a node's disk behaves from now on.
    pub fn set_disk(&self, node: &NodeName, disk: DiskState) {
        self.world.nodes()[node].conditions.set_disk(disk);
    }

    /// A node's machine takes so much longer to be reached by what acts on it.
    pub fn set_act_lag(&self, node: &NodeName, lag: Duration) {
        self.world.nodes()[node].conditions.set_act_lag(lag);
    }

    /// What a node appends is so much longer on its way, whatever becomes of the node.
    pub fn set_append_lag(&self, node: &NodeName, lag: Duration) {
        self.world.nodes()[node].conditions.set_append_lag(lag);
    }

    /// Delivers requests of one node's calls to another once more, later.
    pub fn echo(&self, caller: &NodeName, called: &NodeName, echo: Echo) {
        self.world.network.echo(caller, called, echo);
    }

    /// Delays every message of a node.
    pub fn delay(&self, node: &NodeName, delay_ms: u64) {
        let link = Link {
            cut: false,
            delay_ms,
        };
        self.world.network.set_link(node, link);
    }

    /// A node is without power for a while.
    pub fn darken(&self, node: &NodeName, dark_for: Duration) {
        self.world.darken(node, dark_for);
    }

    /// Takes every fault off that this handle has put on; what follows from them is left.
    pub fn heal(&self) {
        self.world.network.heal();
        for node in self.names() {
            self.world.nodes()[&node].conditions.heal();
            self.world.cut_record(&node, false);
            self.set_full(&node, false);
            let faults = self.hardware(|hardware, _| hardware.faults(&node));
            for fault in faults {
                self.set_fault(&node, fault, false);
            }
        }
    }

    /// The front door of a node whose daemon runs.
    pub fn door(&self, node: &NodeName) -> Option<FrontDoor> {
        let nodes = self.world.nodes();
        nodes[node]
            .daemon
            .as_ref()
            .map(|daemon| daemon.door.clone())
    }

    /// Whether every node's daemon runs.
    pub fn all_run(&self) -> bool {
        let nodes = self.world.nodes();
        nodes.values().all(|node| node.daemon.is_some())
    }

    /// The nodes that hold the package of a version.
    pub fn holders(&self, version: &str) -> Vec<NodeName> {
        let nodes = self.world.nodes();
        let holding = nodes
            .iter()
            .filter(|(_, node)| node.shelf.holds(digest(version)));
        holding.map(|(name, _)| name.clone()).collect()
    }

    /// What was violated so far, and what the end must be held against: the folds of all nodes are
    /// those of the record, and every job of an operation that ended has ended.
    pub fn violations(&self) -> Vec<String> {
        self.world.look();
        let view = self.view();
        let mut found = self.violated();
        for job in lock(&self.world.accepted).iter() {
            if view.operation_of(*job).is_none() {
                found.push(format!("job {job} was accepted and is lost"));
            }
        }
        found.extend(wrong_jobs(&view));
        found.extend(self.world.broken_promises(&view));
        let ended = view.operations().filter(|operation| operation.is_ended());
        for operation in ended.filter(|operation| operation.open_jobs().next().is_some()) {
            found.push(format!("operation {} ended with an open job", operation.id));
        }
        if let Err(gap) = View::replay(&self.entries()).map(|replayed| {
            if replayed != view {
                found.push("the record does not replay to what was seen".to_owned());
            }
        }) {
            found.push(gap.to_string());
        }
        let nodes = self.world.nodes();
        for (name, node) in nodes.iter() {
            let Some(daemon) = &node.daemon else { continue };
            let own = daemon.follower.view();
            if own.position() == view.position() && *own != view {
                found.push(format!("{name} sees another record"));
            }
        }
        found
    }

    /// Rings with every append.
    pub fn bell(&self) -> watch::Receiver<u64> {
        bare(&self.world).doorbell()
    }

    /// What was violated so far.
    pub fn violated(&self) -> Vec<String> {
        lock(&self.world.violations).clone()
    }

    /// A node has no room for packages, or has it again.
    pub fn set_full(&self, node: &NodeName, full: bool) {
        self.world.nodes()[node].shelf.set_full(full);
    }

    /// A node loses a package: its disk was replaced, say.
    pub fn lose_package(&self, node: &NodeName, version: &str) {
        self.world.nodes()[node].shelf.take(digest(version));
    }

    /// The newest update.
    pub fn newest_update(&self) -> Option<OperationId> {
        let kinds = [evenkeel_model::OperationKind::Update];
        self.view().control().newest_of(&kinds)
    }
}

/// A world's hardware, for choosing whom to strike.
pub struct Scene(Arc<World>);

impl Scene {
    /// Who coordinates, says the record.
    pub fn coordinator(&self) -> Option<NodeName> {
        self.0.coordinator()
    }

    /// A node's partner.
    pub fn partner(&self, node: &NodeName) -> NodeName {
        let partner = self.0.topology.partner_of(node);
        partner.expect("simulated nodes are paired").clone()
    }

    /// All nodes.
    pub fn names(&self) -> Vec<NodeName> {
        self.0.topology.names().cloned().collect()
    }
}

impl World {
    pub(crate) fn coordinator(&self) -> Option<NodeName> {
        let view = self.view();
        let control = view.control();
        let now = control.coordinator.as_ref().map(|c| c.node.clone());
        now.or_else(|| control.handed_to.clone())
    }
}

fn setup_writer(world: &World, seed: u64) -> Writer {
    Writer::new(bare(world), Arc::new(SeededIds::new(seed)))
}

fn added(world: &World, version: &str) -> Event {
    let mut package = package(version);
    if version == NEW {
        package.summary.checks.clone_from(&world.settings.checks);
    }
    for node in world.nodes().values() {
        node.shelf.put(package.digest);
    }
    Event::Catalogue(CatalogueEvent::PackageAdded {
        at: epoch(),
        package: Box::new(package),
        node: world.settings.name(0),
    })
}

/// What the first start of a cluster records.
async fn set_up(world: &World) {
    let topology = Event::Control(ControlEvent::TopologySet {
        at: epoch(),
        topology: world.topology.clone(),
    });
    let packages = [OLD, NEW].map(|version| added(world, version));
    let write = |stream, events| Write {
        stream,
        expected: Seq(0),
        events,
    };
    let writes = vec![
        write(StreamId::Control, vec![topology]),
        write(StreamId::Catalogue, packages.into()),
    ];
    let appended = setup_writer(world, 0x5d).append(Fence::None, writes).await;
    appended.expect("the record is empty and without faults");
}
