//! Two agents on a faked pair.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_agent::{Agent, AgentParts, Bounds, ClusterView, NodeDb};
use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, LocalNetwork};
use evenkeel_model::*;
use evenkeel_seam::TokioClock;
use evenkeel_seam::watch;

use crate::hardware::{Hardware, Machine, NEW, Trap, TrappedClient, boot, name};
use crate::scripts::Scripts;

pub(crate) struct World {
    pub(crate) hardware: Hardware,
    pub(crate) network: LocalNetwork,
    pub(crate) traps: BTreeMap<NodeName, Arc<Trap>>,
    pub(crate) dbs: BTreeMap<NodeName, NodeDb>,
    agents: BTreeMap<NodeName, Arc<Agent>>,
    cluster: watch::Sender<ClusterView>,
}

pub(crate) const FIRST: u128 = 7000;

pub(crate) fn transition(n: u128) -> TransitionId {
    TransitionId(uuid::Uuid::from_u128(n))
}

impl World {
    pub(crate) fn new() -> Self {
        let members = vec![name("a"), name("b")];
        let view = ClusterView {
            members: members.clone(),
            record_reachable: true,
        };
        let mut world = Self {
            hardware: Hardware::new(),
            network: LocalNetwork::new(),
            traps: BTreeMap::new(),
            dbs: BTreeMap::new(),
            agents: BTreeMap::new(),
            cluster: watch::Sender::new(view),
        };
        for node in members {
            world.traps.insert(node.clone(), Arc::default());
            world
                .dbs
                .insert(node.clone(), NodeDb::open_in_memory().unwrap());
            world.start_daemon(&node);
        }
        world
    }

    pub(crate) fn bounds() -> Bounds {
        Bounds {
            no_progress: Duration::from_secs(30),
            ..Bounds::default()
        }
    }

    /// A daemon on the node's present boot, over the node's database.
    pub(crate) fn start_daemon(&mut self, node: &NodeName) {
        let boot_id = self.hardware.state().member(node).boot;
        let trap = Arc::clone(&self.traps[node]);
        let machine = Arc::new(Machine {
            node: node.clone(),
            hardware: self.hardware.clone(),
            trap: Arc::clone(&trap),
        });
        let epoch = WallTime::new(jiff::Timestamp::UNIX_EPOCH);
        let client = self.network.client(node.clone());
        let agent = Agent::new(AgentParts {
            node: node.clone(),
            boot_id,
            daemon: "test".to_owned(),
            db: self.dbs[node].clone(),
            platform: Arc::clone(&machine) as _,
            peers: Arc::new(TrappedClient { client, trap }),
            packages: Arc::clone(&machine) as _,
            installer: machine,
            checks: Arc::new(Scripts),
            gate: Arc::new(Scripts),
            firmware: Arc::new(Scripts),
            clock: Arc::new(TokioClock::new(boot_id, tokio::time::Instant::now(), epoch)),
            cluster: self.cluster.subscribe(),
            bounds: Self::bounds(),
            minute: Duration::from_secs(1),
        });
        self.network.attach(node.clone(), Arc::clone(&agent) as _);
        agent.recover().unwrap();
        self.agents.insert(node.clone(), agent);
    }

    pub(crate) fn agent(&self, node: &str) -> &Agent {
        &self.agents[&name(node)]
    }

    /// SIGKILL.
    pub(crate) fn kill_daemon(&mut self, node: &NodeName) {
        self.network.detach(node);
        self.agents.remove(node);
        self.traps[node].disarm();
    }

    /// The node's disk is replaced: its database is gone.
    pub(crate) fn lose_db(&mut self, node: &str) {
        self.dbs
            .insert(name(node), NodeDb::open_in_memory().unwrap());
    }

    /// The coordinator's call, from `b`'s side of the network unless `b` is asked itself.
    pub(crate) async fn ask(&self, node: &str, request: AgentRequest) -> AgentResponse {
        let client = self.network.client(name(node));
        client.call(&name(node), request).await.unwrap()
    }

    pub(crate) async fn start(&self, node: &str, order: &TaskOrder) -> AgentResponse {
        self.ask(
            node,
            AgentRequest::Start {
                order: Box::new(order.clone()),
            },
        )
        .await
    }

    /// Waits, in virtual time, for the order's end.
    pub(crate) async fn ended(&self, node: &str, key: TaskKey) -> TaskEnd {
        for _ in 0..4000 {
            let answer = self
                .ask(node, AgentRequest::Reports { keys: vec![key] })
                .await;
            let AgentResponse::Journal { reports } = answer else {
                panic!("{answer:?}")
            };
            if let [
                TaskReport {
                    state: ReportState::Ended { end },
                    ..
                },
            ] = reports.as_slice()
            {
                return end.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{key:?} does not end");
    }

    pub(crate) async fn run(&self, node: &str, order: &TaskOrder) -> TaskEnd {
        let answer = self.start(node, order).await;
        assert!(
            matches!(answer, AgentResponse::Journal { .. }),
            "{answer:?}"
        );
        self.ended(node, order.key).await
    }
}

/// An order as a coordinator of generation 1 would send it, for node `a`, with `b` as partner.
pub(crate) fn order(task: u32, action: Action) -> TaskOrder {
    let paired = matches!(action, Action::Takeover | Action::Giveback);
    let executor = Executor::Agent(name(if paired { "b" } else { "a" }));
    let operation = OperationId(uuid::Uuid::from_u128(1));
    TaskOrder {
        key: TaskKey {
            operation,
            task: TaskId(task),
            attempt: 1,
        },
        generation: Generation(1),
        task: Task {
            id: TaskId(task),
            node: name("a"),
            executor,
            action,
            estimate_s: 1,
        },
        partner: Some(name("b")),
        transition: Some(transition(FIRST)),
        before: Before {
            node_boot: Some(boot(1)),
            partner_boot: Some(boot(2)),
        },
        package: NEW,
        target: Version::new("2.0").unwrap(),
        no_progress_ms: None,
    }
}

/// The same order the other way round: for `b`, with `a` as partner.
pub(crate) fn mirrored(mut order: TaskOrder) -> TaskOrder {
    let swap = |node: &NodeName| name(if *node == name("a") { "b" } else { "a" });
    if let Executor::Agent(executor) = &mut order.task.executor {
        *executor = swap(executor);
    }
    order.task.node = swap(&order.task.node);
    order.partner = order.partner.as_ref().map(swap);
    std::mem::swap(&mut order.before.node_boot, &mut order.before.partner_boot);
    order.transition = Some(transition(FIRST + 1));
    order
}

pub(crate) fn again(order: &TaskOrder) -> TaskOrder {
    let mut again = order.clone();
    again.key.attempt += 1;
    again
}

pub(crate) fn error(end: TaskEnd) -> TaskError {
    match end {
        TaskEnd::Failed { error } => error,
        TaskEnd::Done { how } => panic!("done: {how:?}"),
    }
}

pub(crate) fn how(end: TaskEnd) -> How {
    match end {
        TaskEnd::Done { how } => how,
        TaskEnd::Failed { error } => panic!("{error:?}"),
    }
}
