//! One node's daemon: the real parts, wired as `evenkeeld` wires them.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_agent::{Agent, AgentParts, Bounds, ClusterView, Disk};
use evenkeel_firmware::select::SelectionLimits;
use evenkeel_firmware::{Limits, NodeFirmware, NodeFirmwareParts};
use evenkeel_interconnect::AgentService;
use evenkeel_model::{BootId, ControlEvent, Event, NodeName, Refusal, StreamId, Version, code};
use evenkeel_orchestrator::{FrontDoor, Orchestrator, Parts, Role};
use evenkeel_planner::Tunables;
use evenkeel_platform::SharedPlatform;
use evenkeel_platform::wire::Port;
use evenkeel_record::{AppendError, Fence, FollowOptions, Follower, NoMirror, Record, Writer};
use evenkeel_seam::watch;
use evenkeel_seam::{Clock, Ids, TokioClock};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::clock::SkewedClock;
use crate::hooks::Hooks;
use crate::settings::epoch;
use crate::shelf;
use crate::tripwire::Tripwire;
use crate::watchdog::Watched;
use crate::witness::Witness;
use crate::world::World;

/// Between two tries to record what the node runs.
const RETRY: Duration = Duration::from_millis(250);
/// How often a node looks for disks that were left out of their groups.
const MEND_EVERY: Duration = Duration::from_secs(60);

/// A running daemon. Dropping it is a kill.
pub(crate) struct Daemon {
    pub(crate) door: FrontDoor,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) follower: Arc<Follower>,
    /// Names this daemon among those of its node: gets that it receives are its.
    pub(crate) incarnation: Uuid,
    /// All that it is doing: ends with it.
    pub(crate) tasks: JoinSet<()>,
    agent: Arc<Agent>,
    _stop: watch::Sender<bool>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.agent.stop();
    }
}

/// Starts the daemon of a node that runs in that boot. False: its database failed, and it ended again.
pub(crate) async fn start(world: &Arc<World>, node: &NodeName, boot_id: BootId) -> bool {
    let turn = world.nodes()[node].turn;
    let daemon = build(world, node, boot_id, turn).await;
    let mut nodes = world.nodes();
    let slot = nodes.get_mut(node).expect("only nodes are started");
    if slot.turn != turn || slot.daemon.is_some() {
        return true;
    }
    slot.daemon = daemon;
    slot.daemon.is_some()
}

async fn build(world: &Arc<World>, node: &NodeName, boot_id: BootId, turn: u64) -> Option<Daemon> {
    let (record, db, ids, shelf, conditions) = {
        let nodes = world.nodes();
        let own = &nodes[node];
        let record = Tripwire {
            inner: Arc::clone(&own.record),
            node: node.clone(),
            daemon: turn,
            world: Arc::downgrade(world),
            conditions: Arc::clone(&own.conditions),
        };
        let record: Arc<dyn Record> = Arc::new(record);
        (
            record,
            own.db.on(Arc::clone(&own.conditions) as Arc<dyn Disk>),
            Arc::clone(&own.ids),
            own.shelf.clone(),
            Arc::clone(&own.conditions),
        )
    };
    let clock: Arc<dyn Clock> = Arc::new(SkewedClock {
        right: TokioClock::new(boot_id, world.origin, epoch()),
        skew: world.nodes()[node].skew.clone(),
    });
    let ids: Arc<dyn Ids> = ids;
    let follower = Follower::start(
        Arc::clone(&record),
        Arc::new(NoMirror),
        Arc::clone(&clock),
        FollowOptions::default(),
    );
    let follower = Arc::new(follower.await);
    let machine = Arc::new(Port::new(Watched {
        world: Arc::clone(world),
        node: node.clone(),
        boot_id,
        conditions,
    }));
    let platform: SharedPlatform = Arc::clone(&machine) as SharedPlatform;
    let mut tasks = JoinSet::new();
    let views = follower.views();
    let firmware = NodeFirmware::new(NodeFirmwareParts {
        node: node.clone(),
        devices: machine,
        platform: Arc::clone(&platform),
        images: Arc::new(shelf.clone()),
        qualification: Arc::new(shelf.clone()),
        clock: Arc::clone(&clock),
        limits: Limits::default(),
        selection: SelectionLimits::default(),
        is_over: Arc::new(move |operation| views.borrow().is_over(operation)),
    });
    // Devices are asked once: rounds without news would show the same, and cost every story time.
    let (looked, journal) = (Arc::clone(&firmware), db.clone());
    tasks.spawn(async move {
        looked.look_around().await;
        loop {
            looked.mend(&journal).await;
            sleep(MEND_EVERY).await;
        }
    });
    let agent = Agent::new(AgentParts {
        node: node.clone(),
        boot_id,
        daemon: "simulated".to_owned(),
        db,
        platform: Arc::clone(&platform),
        peers: world.network.client(node.clone()),
        packages: Arc::new(shelf.clone()),
        installer: Arc::new(shelf::Writer {
            world: Arc::clone(world),
            node: node.clone(),
        }),
        checks: hooks(world, node),
        gate: hooks(world, node),
        firmware,
        clock: Arc::clone(&clock),
        cluster: follow_cluster(&follower, &mut tasks),
        bounds: Bounds::default(),
        minute: world.settings.minute,
    });
    if agent.recover().is_err() {
        agent.stop();
        return None;
    }
    let service = Witness {
        agent: Arc::clone(&agent) as Arc<dyn AgentService>,
        node: node.clone(),
        world: Arc::downgrade(world),
    };
    world.network.attach(node.clone(), Arc::new(service));
    agent.guard();
    let parts = Parts {
        me: node.clone(),
        record: Arc::clone(&record),
        follower: Arc::clone(&follower),
        agents: world.network.client(node.clone()),
        clock: Arc::clone(&clock),
        ids: Arc::clone(&ids),
        tunables: Tunables {
            minute: world.settings.minute,
            ..Tunables::default()
        },
    };
    let orchestrator = Orchestrator::new(parts.clone());
    let role = orchestrator.role();
    let door = FrontDoor::new(&parts, role.clone());
    let (stop, stopped) = watch::channel(false);
    let reporter = Reporter {
        node: node.clone(),
        boot_id,
        platform,
        follower: Arc::clone(&follower),
        writer: Writer::new(record, Arc::clone(&ids)),
        clock,
    };
    let incarnation = ids.uuid();
    tasks.spawn(end_stale_gets(door.clone(), node.clone(), incarnation));
    tasks.spawn(reporter.run());
    tasks.spawn(shelf.keep(Arc::clone(&follower)));
    tasks.spawn(orchestrator.run(stopped));
    Some(Daemon {
        door,
        role,
        follower,
        incarnation,
        tasks,
        agent,
        _stop: stop,
    })
}

fn hooks(world: &Arc<World>, node: &NodeName) -> Arc<Hooks> {
    let (world, node) = (Arc::clone(world), node.clone());
    Arc::new(Hooks { world, node })
}

/// What an earlier daemon of this node was receiving is over.
pub(crate) async fn end_stale_gets(door: FrontDoor, node: NodeName, incarnation: Uuid) {
    while end_gets(&door, &node, incarnation).await.is_err() {
        sleep(RETRY).await;
    }
}

async fn end_gets(door: &FrontDoor, node: &NodeName, incarnation: Uuid) -> Result<(), Refusal> {
    for get in door.stale_gets(node, incarnation).await? {
        let refusal = Refusal::new(code::GET_FAILED, "The receiving daemon restarted.");
        door.fail_get(get.ticket, &refusal).await?;
    }
    Ok(())
}

/// What the agent is told of the cluster.
fn follow_cluster(follower: &Follower, tasks: &mut JoinSet<()>) -> watch::Receiver<ClusterView> {
    let (mut views, mut contacts) = (follower.views(), follower.contacts());
    let (sender, receiver) = watch::channel(ClusterView::default());
    tasks.spawn(async move {
        loop {
            let members = views
                .borrow_and_update()
                .control()
                .topology
                .iter()
                .flat_map(|topology| topology.names().cloned())
                .collect();
            let record_reachable = contacts.borrow_and_update().is_reachable();
            sender.send_replace(ClusterView {
                members,
                record_reachable,
            });
            let gone = tokio::select! {
                biased;
                changed = views.changed() => changed.is_err(),
                changed = contacts.changed() => changed.is_err(),
            };
            if gone {
                return;
            }
        }
    });
    receiver
}

/// Records what the node runs, as `evenkeeld` does.
struct Reporter {
    node: NodeName,
    boot_id: BootId,
    platform: SharedPlatform,
    follower: Arc<Follower>,
    writer: Writer,
    clock: Arc<dyn Clock>,
}

impl Reporter {
    async fn run(self) {
        while !matches!(self.report().await, Ok(true)) {
            sleep(RETRY).await;
        }
    }

    async fn report(&self) -> Result<bool, AppendError> {
        let view = self.follower.refresh().await?;
        if view.control().topology.is_none() {
            return Ok(false);
        }
        let Ok(slots) = self.platform.slots().await else {
            return Ok(false);
        };
        let image = slots.slot(slots.booted).image.as_ref();
        let version: Option<Version> = image.map(|image| image.version.clone());
        let known = view.control().booted.get(&self.node);
        if known.is_some_and(|b| b.boot_id == self.boot_id && b.version == version) {
            return Ok(true);
        }
        let machine = self.platform.machine().await.unwrap_or_default();
        let event = ControlEvent::NodeBooted {
            at: self.clock.wall(),
            node: self.node.clone(),
            boot_id: self.boot_id,
            version,
            daemon: "simulated".to_owned(),
            machine,
        };
        let write = view.write(StreamId::Control, vec![Event::Control(event)]);
        self.writer
            .append(Fence::None, vec![write])
            .await
            .map(|_| true)
    }
}
