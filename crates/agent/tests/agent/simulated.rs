//! Agents on the simulated hardware of a pair, which checks by itself that no act of ours takes both
//! nodes out of service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{
    Agent, AgentParts, Bounds, ClusterView, InstallError, InstallRequest, Installer, NodeDb,
    Packages, PackagesError,
};
use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, LocalNetwork, Look};
use evenkeel_model::*;
use evenkeel_platform::sim::{Effect, Fault, Hardware, HardwareSettings, Machine};
use evenkeel_seam::TokioClock;
use evenkeel_seam::watch;

use crate::hardware::{NEW, OLD, image, name};
use crate::scripts::Scripts;

const NODES: [&str; 2] = ["a", "b"];

struct Pair {
    machine: Arc<Machine>,
    network: LocalNetwork,
    dbs: BTreeMap<NodeName, NodeDb>,
    agents: Mutex<BTreeMap<NodeName, Arc<Agent>>>,
    cluster: watch::Sender<ClusterView>,
}

/// Holds the package, and writes slots in no time that nobody can interrupt.
struct Disk {
    machine: Arc<Machine>,
    node: NodeName,
}

#[async_trait]
impl Packages for Disk {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        Ok(PackagesStatus {
            held: vec![NEW],
            ..PackagesStatus::default()
        })
    }
    async fn pull(&self, _package: Digest) -> Result<(), PackagesError> {
        Ok(())
    }
}

#[async_trait]
impl Installer for Disk {
    async fn install(
        &self,
        request: &InstallRequest,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError> {
        let set = |held| {
            let set = |h: &mut Hardware, _| h.set_image(&self.node, request.slot, held).unwrap();
            self.machine.with(set).unwrap();
        };
        set(None);
        for done in 0..20 {
            progress.send_modify(|p| p.done = done);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        set(Some(image(request.package)));
        Ok(())
    }
}

pub(crate) fn topology() -> Topology {
    let node = |n: &str, partner: &str| NodeConfig {
        id: NodeId(uuid::Uuid::nil()),
        name: name(n),
        partner: Some(name(partner)),
        interconnect: String::new(),
        rest: String::new(),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: PlatformName::new("lab").unwrap(),
        lifs: vec![LifConfig {
            name: LifName::new(format!("lif_{n}")).unwrap(),
            address: String::new(),
        }],
    };
    let id = ClusterId(uuid::Uuid::nil());
    Topology::new(id, "c".to_owned(), vec![node("a", "b"), node("b", "a")]).unwrap()
}

impl Pair {
    async fn up() -> Arc<Self> {
        let settings = HardwareSettings {
            minute_ms: 1000,
            ..HardwareSettings::default()
        };
        let mut hardware = Hardware::new(&topology(), settings);
        for node in NODES {
            hardware
                .set_image(&name(node), Slot::A, Some(image(OLD)))
                .unwrap();
        }
        hardware.cold_start(0);
        let members = NODES.map(name).to_vec();
        let cluster = watch::Sender::new(ClusterView {
            members,
            record_reachable: true,
        });
        let db = |node| (name(node), NodeDb::open_in_memory().unwrap());
        let pair = Arc::new(Self {
            machine: Machine::new(hardware),
            network: LocalNetwork::new(),
            dbs: NODES.map(db).into(),
            agents: Mutex::default(),
            cluster,
        });
        let follower = Arc::clone(&pair);
        tokio::spawn(async move {
            loop {
                for effect in follower.machine.next_effects().await {
                    match effect {
                        Effect::Daemon { node, .. } => follower.start_daemon(&node),
                        Effect::PowerLost { node } | Effect::Shutdown { node } => {
                            follower.kill_daemon(&node);
                        }
                        Effect::Boot { .. } | Effect::Lifs { .. } => {}
                    }
                }
            }
        });
        for node in NODES {
            pair.until_up(&name(node)).await;
            let mark = AgentRequest::Ping;
            pair.network
                .client(name(node))
                .call(&name(node), mark)
                .await
                .unwrap();
            let platform = pair.machine.platform(&name(node), PathBuf::new()).unwrap();
            evenkeel_platform::BootSlots::mark_good(&platform, Slot::A)
                .await
                .unwrap();
        }
        pair
    }

    fn start_daemon(&self, node: &NodeName) {
        let Some(platform) = self.machine.platform(node, PathBuf::new()) else {
            return;
        };
        let boot_id = self.machine.with(|h, _| h.boot_of(node)).unwrap().unwrap();
        let disk = Arc::new(Disk {
            machine: Arc::clone(&self.machine),
            node: node.clone(),
        });
        let epoch = WallTime::new(jiff::Timestamp::UNIX_EPOCH);
        let agent = Agent::new(AgentParts {
            node: node.clone(),
            boot_id,
            daemon: "test".to_owned(),
            db: self.dbs[node].clone(),
            platform: Arc::new(platform),
            peers: self.network.client(node.clone()),
            packages: Arc::clone(&disk) as _,
            installer: disk,
            checks: Arc::new(Scripts),
            gate: Arc::new(Scripts),
            firmware: Arc::new(Scripts),
            clock: Arc::new(TokioClock::new(boot_id, tokio::time::Instant::now(), epoch)),
            cluster: self.cluster.subscribe(),
            bounds: Bounds {
                no_progress: Duration::from_secs(30),
                ..Bounds::default()
            },
            minute: Duration::from_secs(1),
        });
        self.network.attach(node.clone(), Arc::clone(&agent) as _);
        agent.recover().unwrap();
        agent.guard();
        self.agents.lock().unwrap().insert(node.clone(), agent);
    }

    fn kill_daemon(&self, node: &NodeName) {
        self.network.detach(node);
        if let Some(agent) = self.agents.lock().unwrap().remove(node) {
            agent.stop();
        }
    }

    async fn until_up(&self, node: &NodeName) {
        while !self.agents.lock().unwrap().contains_key(node) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn fault(&self, node: &str, fault: Fault, on: bool) {
        let set = |h: &mut Hardware, now| h.set_fault(&name(node), fault, on, now).unwrap();
        self.machine.with(set).unwrap();
    }

    fn pair_state(&self, node: &str) -> PairState {
        self.machine
            .with(|h, _| h.pair_state(&name(node)))
            .unwrap()
            .unwrap()
    }

    fn check(&self, context: &str) {
        let broken = self.machine.with(|h, _| h.check()).unwrap();
        assert!(broken.is_empty(), "{context}: {broken:?}");
    }

    /// An order for `node` as a coordinator would make it from what it sees now.
    fn order(&self, node: &str, task: u32, attempt: u32, action: Action) -> TaskOrder {
        let partner = if node == "a" { "b" } else { "a" };
        let boot = |n: &str| self.machine.with(|h, _| h.boot_of(&name(n))).unwrap();
        let paired = matches!(action, Action::Takeover | Action::Giveback);
        let executor = Executor::Agent(name(if paired { partner } else { node }));
        let operation = OperationId(uuid::Uuid::from_u128(1));
        let transition = TransitionId(uuid::Uuid::from_u128(if node == "a" { 5 } else { 6 }));
        TaskOrder {
            key: TaskKey {
                operation,
                task: TaskId(task),
                attempt,
            },
            generation: Generation(1),
            task: Task {
                id: TaskId(task),
                node: name(node),
                executor,
                action,
                estimate_s: 1,
            },
            partner: Some(name(partner)),
            transition: paired.then_some(transition),
            before: Before {
                node_boot: boot(node),
                partner_boot: boot(partner),
            },
            package: NEW,
            target: Version::new("2.0").unwrap(),
            no_progress_ms: None,
        }
    }

    /// One attempt: brings the order until the agent has it, then waits for its end.
    async fn attempt(&self, order: &TaskOrder) -> TaskEnd {
        let Executor::Agent(agent) = &order.task.executor else {
            panic!()
        };
        for _ in 0..3000 {
            let start = AgentRequest::Start {
                order: Box::new(order.clone()),
            };
            let answer = self.network.client(name("c")).call(agent, start).await;
            if let Ok(AgentResponse::Journal { reports }) = answer
                && let [
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
        panic!("{order:?} does not end");
    }

    /// Attempts until done.
    async fn accomplish(&self, node: &str, task: u32, action: Action) {
        let mut last = None;
        for attempt in 1..=30 {
            match self
                .attempt(&self.order(node, task, attempt, action.clone()))
                .await
            {
                TaskEnd::Done { .. } => return,
                TaskEnd::Failed { error } => last = Some(error),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{action:?} of {node}: {last:?}");
    }

    async fn until_waiting(&self, node: &str) {
        while self.pair_state(node).local.ha != MemberHa::WaitingForGiveback {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.until_up(&name(node)).await;
    }

    /// All that an update does to one node.
    async fn update(&self, node: &str, first: u32) {
        self.accomplish(node, first, Action::Install { package: NEW })
            .await;
        self.accomplish(node, first + 1, Action::Activate { package: NEW })
            .await;
        self.accomplish(node, first + 2, Action::Takeover).await;
        self.until_waiting(node).await;
        self.accomplish(node, first + 3, Action::Giveback).await;
        self.until_up(&name(node)).await;
        self.accomplish(node, first + 4, Action::MarkGood).await;
    }

    async fn observed(&self, node: &str) -> NodeObservation {
        let client = self.network.client(name("c"));
        match client
            .call(&name(node), AgentRequest::Observe { look: Look::Around })
            .await
        {
            Ok(AgentResponse::Observation { observation }) => *observation,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_waits_for_giveback_serves_alone_once_its_partner_is_proven_dead() {
    let pair = Pair::up().await;
    for (task, action) in [
        (1, Action::Install { package: NEW }),
        (2, Action::Activate { package: NEW }),
        (3, Action::Takeover),
    ] {
        pair.accomplish("a", task, action).await;
    }
    // Without record or coordinator: `b` dies while `a` boots its new version.
    pair.cluster.send_replace(ClusterView::default());
    pair.until_waiting("a").await;
    pair.fault("b", Fault::PowerOff, true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seen = pair.observed("a").await;
    assert_eq!(seen.version.known().unwrap().as_str(), "2.0");
    let pools = seen.pools.known().unwrap();
    assert!(
        pools.iter().all(|pool| pool.owner == Some(name("a"))),
        "{pools:?}"
    );
    assert!(
        seen.alerts.known().unwrap()[0].contains("serves alone"),
        "{:?}",
        seen.alerts
    );
    pair.check("alone");
}

/// Small numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

#[tokio::test(start_paused = true)]
async fn both_nodes_are_updated_while_the_pair_serves() {
    let pair = Pair::up().await;
    for (node, first) in [("a", 1), ("b", 10)] {
        pair.update(node, first).await;
    }
    for node in NODES {
        let seen = pair.observed(node).await;
        assert_eq!(seen.version.known().unwrap().as_str(), "2.0");
        let slots = seen.slots.known().unwrap();
        assert_eq!(slots.slot(slots.booted).health, SlotHealth::Good);
        assert_eq!(
            seen.pair.known().unwrap().as_ref().unwrap().local.ha,
            MemberHa::Serving
        );
    }
    let incidents = pair.machine.with(|h, _| h.incidents().count()).unwrap();
    assert_eq!(incidents, 0);
    pair.check("plain");
}

#[tokio::test(start_paused = true)]
async fn daemons_are_killed_at_any_time_and_the_update_goes_on() {
    for seed in 0..40 {
        let pair = Pair::up().await;
        let killer = Arc::clone(&pair);
        let killing = tokio::spawn(async move {
            let mut dice = Dice(seed);
            // Fewer than would make an agent give an order up.
            loop {
                tokio::time::sleep(Duration::from_millis(300 + dice.roll(4000))).await;
                let node = name(NODES[dice.roll(2) as usize]);
                if !killer.agents.lock().unwrap().contains_key(&node) {
                    continue;
                }
                killer.kill_daemon(&node);
                tokio::time::sleep(Duration::from_millis(dice.roll(1500))).await;
                killer.start_daemon(&node);
            }
        });
        for (node, first) in [("a", 1), ("b", 10)] {
            pair.update(node, first).await;
        }
        killing.abort();
        pair.check(&format!("seed {seed}"));
        let incidents = pair.machine.with(|h, _| h.incidents().count()).unwrap();
        assert_eq!(incidents, 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn power_fails_while_two_mad_coordinators_order_takeovers_and_no_act_of_ours_ends_service() {
    let mut takeovers = 0;
    for seed in 0..60 {
        let pair = Pair::up().await;
        let mut orders = Vec::new();
        for (n, node) in NODES.into_iter().enumerate() {
            let pair = Arc::clone(&pair);
            orders.push(tokio::spawn(async move {
                let mut dice = Dice(seed * 2 + n as u64);
                for task in 0..12 {
                    tokio::time::sleep(Duration::from_millis(dice.roll(3000))).await;
                    let action = match dice.roll(3) {
                        0 => Action::Giveback,
                        _ => Action::Takeover,
                    };
                    let mut order = pair.order(node, task + 100 * n as u32, 1, action);
                    if dice.roll(4) > 0 {
                        order.transition = Some(TransitionId(uuid::Uuid::from_u128(
                            u128::from(dice.roll(3)) + 10 * n as u128,
                        )));
                    }
                    let bound = Duration::from_secs(40);
                    let _ = tokio::time::timeout(bound, pair.attempt(&order)).await;
                }
            }));
        }
        let mut dice = Dice(seed + 1000);
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(dice.roll(8000))).await;
            let node = NODES[dice.roll(2) as usize];
            pair.fault(node, Fault::PowerOff, true);
            tokio::time::sleep(Duration::from_millis(dice.roll(3000))).await;
            pair.fault(node, Fault::PowerOff, false);
            pair.check(&format!("seed {seed}"));
        }
        for order in orders {
            order.abort();
        }
        pair.check(&format!("seed {seed}"));
        takeovers += pair.machine.with(|h, _| h.windows().count()).unwrap();
    }
    assert!(takeovers > 60, "{takeovers} takeovers prove little");
}
