//! The loop of the node that coordinates.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_interconnect::{AgentRequest, AgentResponse, Look};
use evenkeel_model::{
    Action, Awaiting, CheckOrder, ClusterObservation, ControlEvent, Event, Executor, Generation,
    NodeName, Operation, OperationEvent, OperationId, OperationState, StreamId, TaskOrder,
    Topology,
};
use evenkeel_planner::{Decision, Input, Learner, Leisure, chores, moved, next};
use evenkeel_record::{AppendError, Fence, Survival, View, Writer};
use evenkeel_seam::watch;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::chores::{Memory, begin};
use crate::commit::{Batch, CommitError, commit};
use crate::elect::{LEASE_TTL, Parts, Role, is_mine};
use crate::observe::Observer;
use crate::scope::{look, nearby};
use crate::track::{Tracker, keys_by_agent};

/// How long an agent may take to accept an order or say how far it is.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// How often an idle coordinator looks, without being rung for.
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// How often one looks that waits for a person alone, however short a minute is: what it tells of the nodes is no older.
const PAUSED_LOOK: Duration = Duration::from_secs(1);
/// Looks of a coordinator with work after which it looks at all nodes again, for whatever it waits: one that falls
/// silent elsewhere is told of within half a minute.
const LOOKS_AROUND: u32 = 30;
/// What was seen so lately is not looked at again before something is done.
const JUST_NOW: Duration = Duration::from_secs(1);
/// Pause after the record did not take an append.
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// Why a coordinator stopped being one.
#[derive(Debug)]
pub(crate) enum Left {
    Stopped,
    HandedOver { to: NodeName },
    LeaseLost { to: NodeName },
    RecordLost,
    Fenced,
}

impl Left {
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Stopped => "the daemon stops".to_owned(),
            Self::HandedOver { to } => format!("handed over to node \"{to}\""),
            Self::LeaseLost { to } => format!("node \"{to}\" has the lease"),
            Self::RecordLost => "the record was not reached for as long as the lease".to_owned(),
            Self::Fenced => "there is a newer generation".to_owned(),
        }
    }
}

/// One term of a coordinator.
pub(crate) struct Coordination<'a> {
    parts: &'a Parts,
    writer: &'a Writer,
    generation: Generation,
    role: &'a watch::Sender<Role>,
    observer: Observer,
    /// When all nodes were last looked at, if they were in this term.
    looked_around: Option<Instant>,
    tracker: Tracker,
    /// Nodes that durably refuse older generations.
    installed: BTreeSet<NodeName>,
    memory: Memory,
    learner: Learner,
    /// The operations that were open when it was last told: only an end teaches.
    taught: Option<Vec<OperationId>>,
}

/// Whom a decision is made upon.
#[derive(Clone, Copy, PartialEq)]
enum Sight {
    /// All nodes.
    Everyone,
    /// Those that could end the wait; what was seen of the others a moment ago has to do for waiting.
    Nearby,
}

/// What a step came to.
enum Stepped {
    /// Something was appended: decide anew at once.
    Again,
    /// Nothing to do until something changes.
    Waits(Vec<Awaiting>),
    Left(Left),
}

impl<'a> Coordination<'a> {
    pub(crate) fn new(
        parts: &'a Parts,
        writer: &'a Writer,
        generation: Generation,
        role: &'a watch::Sender<Role>,
    ) -> Self {
        let observer = Observer::new(Arc::clone(&parts.agents), Arc::clone(&parts.clock));
        let (tracker, installed) = (Tracker::default(), BTreeSet::new());
        let memory = Memory::new();
        Self {
            parts,
            writer,
            generation,
            role,
            observer,
            looked_around: None,
            tracker,
            installed,
            memory,
            learner: Learner::new(parts.tunables.minute),
            taught: None,
        }
    }

    /// Works until the term ends.
    pub(crate) async fn run(mut self) -> Left {
        let mut views = self.parts.follower.views();
        let mut read = Instant::now();
        loop {
            let view = match self.parts.follower.refresh().await {
                Ok(view) => view,
                // The lease, which takes another way, may be kept meanwhile: another node may read what this one
                // cannot.
                Err(_) if read.elapsed() > LEASE_TTL => return Left::RecordLost,
                Err(_) => {
                    sleep(RECORD_PAUSE).await;
                    continue;
                }
            };
            read = Instant::now();
            views.mark_unchanged();
            if !is_mine(view.control(), &self.parts.me, self.generation) {
                return Left::Fenced;
            }
            match self.round(&view).await {
                Stepped::Left(left) => return left,
                Stepped::Again => continue,
                Stepped::Waits(mut awaiting) => {
                    self.observer.outdate();
                    if let Role::Coordinator {
                        awaiting: before, ..
                    } = &*self.role.borrow()
                    {
                        keep_since(before, &mut awaiting);
                    }
                    let generation = self.generation;
                    self.role.send_replace(Role::Coordinator {
                        generation,
                        awaiting,
                        decided_at: view.position(),
                    });
                    let look = self.look_again_in(&view);
                    tokio::select! {
                        biased;
                        _ = views.changed() => {}
                        () = sleep(look) => {}
                    }
                }
            }
        }
    }

    /// When it looks again without being rung for.
    fn look_again_in(&self, view: &View) -> Duration {
        let open: Vec<&Operation> = view.open_operations().collect();
        let is_paused = |it: &&Operation| matches!(it.state, OperationState::Paused { .. });
        if open.is_empty() {
            IDLE_LOOK
        } else if open.iter().all(is_paused) {
            PAUSED_LOOK
        } else {
            self.busy_look()
        }
    }

    /// How often a coordinator with work looks: sixty times in a minute, within reason.
    fn busy_look(&self) -> Duration {
        let second = self.parts.tunables.minute / 60;
        second.clamp(Duration::from_millis(150), Duration::from_secs(1))
    }

    /// Looks at the cluster, unless it was seen just now, and takes every open operation one step further.
    async fn round(&mut self, view: &View) -> Stepped {
        let open: Vec<&Operation> = view.open_operations().collect();
        let ids: Vec<OperationId> = open.iter().map(|operation| operation.id).collect();
        self.tracker.keep_only(&ids);
        self.learn(view, ids);
        let Some(topology) = view.control().topology.clone() else {
            return Stepped::Waits(Vec::new());
        };
        if open.is_empty() {
            return self.idle(view, &topology).await;
        }
        self.memory.busy();
        let look = look(&open);
        // What was appended since is no news to the nodes: one look serves for all that is recorded upon it, and for the orders
        // that follow.
        if let Some(seen) = self.observer.all_seen_within(JUST_NOW, look) {
            return self.steps_upon(seen, view, &topology, &open).await;
        }
        self.install_generation(&topology).await;
        self.collect_reports(&open).await;
        let begun = Instant::now();
        let mut just_seen = BTreeSet::new();
        if let Some(nodes) = self.nearby(&open, &topology) {
            let seen = self.observer.some(&nodes, look).await;
            let seen = (&*seen, Sight::Nearby);
            if let Some(stepped) = self.steps(view, &topology, seen, &open).await {
                return stepped;
            }
            if begun.elapsed() < JUST_NOW {
                just_seen = nodes;
            }
        }
        let just_seen = (&just_seen, begun);
        let seen = self.observer.others(&topology, just_seen, look).await;
        self.looked_around = Some(Instant::now());
        self.steps_upon(seen, view, &topology, &open).await
    }

    /// Takes the operations one step further upon a look at all nodes.
    async fn steps_upon(
        &mut self,
        seen: Arc<ClusterObservation>,
        view: &View,
        topology: &Topology,
        open: &[&Operation],
    ) -> Stepped {
        let seen = (&*seen, Sight::Everyone);
        let stepped = self.steps(view, topology, seen, open).await;
        stepped.expect("upon a look at everyone anything may be done")
    }

    /// The nodes to look at first, if all were looked at lately.
    fn nearby(&self, open: &[&Operation], topology: &Topology) -> Option<BTreeSet<NodeName>> {
        let lately = LOOKS_AROUND * self.busy_look();
        let looked_around = self.looked_around?.elapsed() < lately;
        nearby(open, topology).filter(|_| looked_around)
    }

    /// Takes the operations one step further, until something is appended for one. None at the first one of which more than a look
    /// at some nodes is asked.
    async fn steps(
        &mut self,
        view: &View,
        topology: &Topology,
        seen: (&ClusterObservation, Sight),
        open: &[&Operation],
    ) -> Option<Stepped> {
        let mut awaiting = Vec::new();
        for operation in open {
            match self.step(view, topology, seen, operation).await? {
                Stepped::Waits(more) => awaiting.extend(more),
                other => return Some(other),
            }
        }
        Some(Stepped::Waits(awaiting))
    }

    fn learn(&mut self, view: &View, open: Vec<OperationId>) {
        if self.taught.as_ref() != Some(&open) {
            self.learner.update(view.operations());
            self.taught = Some(open);
        }
    }

    /// Nothing is open: whether something should be, unasked.
    async fn idle(&mut self, view: &View, topology: &Topology) -> Stepped {
        let catalogue = view.catalogue();
        let observations = self.observer.everyone(topology, Look::Itself).await;
        let held_off = self.memory.held_off(&observations, &self.parts.tunables);
        let chores = chores(&Leisure {
            topology,
            control: view.control(),
            catalogue,
            observations: &observations,
            held_off: &held_off,
            rested: self.memory.rested(),
            tunables: self.parts.tunables,
        });
        let Some(request) = chores.start else {
            return Stepped::Waits(chores.awaiting);
        };
        tracing::info!(?request, "the coordinator starts an operation by itself");
        let at = self.parts.clock.wall();
        let (operation, batch) = begin(request, catalogue, at, self.parts.ids.as_ref());
        let fence = Fence::Holds(self.generation);
        match commit(self.writer, view, fence, Some(operation), batch).await {
            Ok(_) => Stepped::Again,
            Err(error) => self.not_appended(operation, error).await,
        }
    }

    /// Makes every node refuse older coordinators, and learns what its journal holds. A node that does not
    /// answer is asked again each round, and gets no order before it has answered.
    async fn install_generation(&mut self, topology: &Topology) {
        let missing: Vec<NodeName> = topology
            .names()
            .filter(|name| !self.installed.contains(*name))
            .cloned()
            .collect();
        let (generation, coordinator) = (self.generation, self.parts.me.clone());
        let request = AgentRequest::Install {
            generation,
            coordinator,
        };
        let answers = join_all(missing.iter().map(|node| self.call(node, request.clone()))).await;
        for (node, answer) in missing.into_iter().zip(answers) {
            match answer {
                Some(AgentResponse::Journal { reports }) => {
                    reports
                        .into_iter()
                        .for_each(|report| self.tracker.report(report));
                    self.installed.insert(node);
                }
                Some(AgentResponse::Refused { reason, stale }) => {
                    tracing::warn!(%node, reason, ?stale, "{node} refuses this coordinator: {reason}");
                }
                Some(_) | None => {}
            }
        }
    }

    async fn collect_reports(&mut self, open: &[&Operation]) {
        let by_agent = keys_by_agent(open);
        let asked = by_agent
            .iter()
            .map(|(agent, keys)| self.call(agent, AgentRequest::Reports { keys: keys.clone() }));
        let answers = join_all(asked).await;
        for (keys, answer) in by_agent.values().zip(answers) {
            let Some(AgentResponse::Journal { reports }) = answer else {
                continue;
            };
            // An agent that lost an order (its disk was replaced) gets it again.
            for key in keys
                .iter()
                .filter(|key| !reports.iter().any(|r| r.key == **key))
            {
                self.tracker.forget(key);
            }
            reports
                .into_iter()
                .for_each(|report| self.tracker.report(report));
        }
    }

    async fn call(&self, node: &NodeName, request: AgentRequest) -> Option<AgentResponse> {
        timeout(CALL_WITHIN, self.parts.agents.call(node, request))
            .await
            .ok()?
            .ok()
    }

    /// Asks the planner about one operation and does what it says, unless that is more than a look at some nodes allows.
    async fn step(
        &mut self,
        view: &View,
        topology: &Topology,
        (observations, sight): (&ClusterObservation, Sight),
        operation: &Operation,
    ) -> Option<Stepped> {
        if let Some(quarantine) = view.quarantine_of(operation.id) {
            let awaiting = self.quarantined(operation, &quarantine.why);
            return Some(Stepped::Waits(vec![awaiting]));
        }
        let decision = self.decide(view, topology, observations, operation);
        if sight == Sight::Nearby && self.acts(&decision) {
            return None;
        }
        if !decision.events.is_empty() || !decision.catalogue.is_empty() {
            return Some(self.append(view, operation, observations, decision).await);
        }
        if let Some(to) = decision.hand_over {
            return Some(self.hand_over(view, to).await);
        }
        if self.acts(&decision) {
            self.observer.outdate();
        }
        self.tracker.awaits(operation.id, &decision.awaiting);
        self.tracker.gates(operation.id, decision.gates);
        self.send(decision.orders).await;
        self.run_checks(decision.run_checks).await;
        Some(Stepped::Waits(decision.awaiting))
    }

    /// Whether anything comes of it but waiting.
    fn acts(&self, decision: &Decision) -> bool {
        let mut orders = decision.orders.iter();
        !decision.events.is_empty()
            || !decision.catalogue.is_empty()
            || decision.hand_over.is_some()
            || !decision.run_checks.is_empty()
            || orders.any(|order| !self.tracker.has(&order.key))
    }

    fn decide(
        &mut self,
        view: &View,
        topology: &Topology,
        observations: &ClusterObservation,
        operation: &Operation,
    ) -> Decision {
        let record = &self.parts.record;
        let survives = |down: &[NodeName]| match record.survives_without(down) {
            Survival::Survives => Ok(()),
            Survival::Lost { why } => Err(why),
        };
        let head = view.head(StreamId::Operation(operation.id));
        let moved = moved(operation, observations);
        let idle = self.tracker.idle(operation.id, head, moved);
        next(&Input {
            me: &self.parts.me,
            topology,
            control: view.control(),
            catalogue: view.catalogue(),
            operation,
            observations,
            running: &self.tracker.running(operation),
            silent: &self.observer.silent(),
            idle,
            survives_without: &survives,
            wall: self.parts.clock.wall(),
            monotonic: self.parts.clock.monotonic(),
            tunables: self.parts.tunables,
            learned: self.learner.learned(),
        })
    }

    async fn append(
        &mut self,
        view: &View,
        operation: &Operation,
        observations: &ClusterObservation,
        decision: Decision,
    ) -> Stepped {
        let at = self.parts.clock.wall();
        let ended = decision
            .events
            .iter()
            .any(|e| matches!(e, OperationEvent::Ended { .. }));
        let control = match ended {
            true => vec![ControlEvent::OperationEnded {
                at,
                operation: operation.id,
            }],
            false => Vec::new(),
        };
        let batch = Batch {
            control,
            catalogue: decision.catalogue,
            operation: decision.events,
        };
        let last = batch.operation.last().cloned();
        let fence = Fence::Holds(self.generation);
        match commit(self.writer, view, fence, Some(operation.id), batch).await {
            Ok(_) => {
                self.memory.note(operation, last.as_ref(), observations);
                Stepped::Again
            }
            Err(error) => {
                self.observer.outdate();
                self.not_appended(operation.id, error).await
            }
        }
    }

    /// What follows. A decision that can never be recorded holds up no other operation, and is told of.
    async fn not_appended(&self, operation: OperationId, error: CommitError) -> Stepped {
        match error {
            CommitError::Append(AppendError::Conflict { .. }) => Stepped::Again,
            CommitError::Append(AppendError::Fenced { .. }) => Stepped::Left(Left::Fenced),
            CommitError::Append(
                error @ (AppendError::Unavailable(_) | AppendError::Unknown(_)),
            ) => {
                tracing::warn!(%operation, %error, "the record did not take an append: {error}");
                sleep(RECORD_PAUSE).await;
                Stepped::Again
            }
            error @ (CommitError::Illegal(_)
            | CommitError::Append(
                AppendError::TooLarge { .. } | AppendError::Invalid(_),
            )) => {
                tracing::error!(%operation, %error, "a decision cannot be recorded: {error}");
                sleep(IDLE_LOOK).await;
                Stepped::Waits(vec![self.unrecordable(operation, &error)])
            }
        }
    }

    async fn hand_over(&self, view: &View, to: NodeName) -> Stepped {
        let at = self.parts.clock.wall();
        let event = ControlEvent::HandedOver {
            at,
            generation: self.generation,
            to: to.clone(),
        };
        let write = view.write(StreamId::Control, vec![Event::Control(event)]);
        match self
            .writer
            .append(Fence::Holds(self.generation), vec![write])
            .await
        {
            Ok(_) => Stepped::Left(Left::HandedOver { to }),
            Err(AppendError::Fenced { .. }) => Stepped::Left(Left::Fenced),
            Err(error) => {
                tracing::info!(%error, "the hand-over was not recorded: {error}");
                sleep(RECORD_PAUSE).await;
                Stepped::Again
            }
        }
    }

    /// What comes of it is seen in the next observations; a node that does not take it is asked again.
    async fn run_checks(&self, orders: Vec<(NodeName, CheckOrder)>) {
        let asked = orders.into_iter().map(|(node, order)| async move {
            let answer = self.call(&node, AgentRequest::RunChecks { order }).await;
            if let Some(AgentResponse::Refused { reason, .. }) = answer {
                tracing::warn!(%node, reason, "{node} does not run the package's checks: {reason}");
            }
        });
        join_all(asked).await;
    }

    /// Sends orders that their agents do not have. Only nodes that refuse older coordinators get any, and
    /// for what a pair does, both partners must.
    async fn send(&mut self, orders: Vec<TaskOrder>) {
        let this = &*self;
        let sent = orders.into_iter().filter_map(|order| {
            let Executor::Agent(agent) = order.task.executor.clone() else {
                return None;
            };
            if this.tracker.has(&order.key) || !this.is_installed(&agent, &order) {
                return None;
            }
            let (key, order) = (order.key, Box::new(order));
            Some(async move {
                let answer = this.call(&agent, AgentRequest::Start { order }).await;
                (agent, key, answer)
            })
        });
        // Side by side: one that does not answer does not keep the others from beginning.
        let answers = join_all(sent).await;
        for (agent, key, answer) in answers {
            match answer {
                Some(AgentResponse::Journal { reports }) => {
                    reports
                        .into_iter()
                        .for_each(|report| self.tracker.report(report));
                }
                Some(AgentResponse::Refused { reason, stale }) => {
                    tracing::warn!(%agent, ?key, reason, ?stale, "{agent} refuses an order: {reason}");
                }
                Some(_) | None => {}
            }
        }
    }

    fn is_installed(&self, agent: &NodeName, order: &TaskOrder) -> bool {
        let pair_acts = matches!(order.task.action, Action::Takeover);
        self.installed.contains(agent) && (!pair_acts || self.installed.contains(&order.task.node))
    }

    fn unrecordable(&self, operation: OperationId, error: &CommitError) -> Awaiting {
        Awaiting {
            operation: Some(operation),
            node: None,
            what: "a decision that the record does not take to be dealt with".to_owned(),
            since: self.parts.clock.wall(),
            seen: Some(error.to_string()),
            remaining: None,
            unblock: "This is a defect: ask for support. What nodes have begun comes to its end; the decision is \
                      taken anew every few seconds, and by the next coordinator."
                .to_owned(),
        }
    }

    fn quarantined(&self, operation: &Operation, why: &str) -> Awaiting {
        Awaiting {
            operation: Some(operation.id),
            node: None,
            what: "an event of this operation that cannot be read to be dealt with".to_owned(),
            since: operation.state_since,
            seen: Some(why.to_owned()),
            remaining: None,
            unblock: "Upgrade evenkeeld to a release that reads it, or ask for support.".to_owned(),
        }
    }
}

/// What no operation awaits is told from what is seen now, with the time of the look: it is awaited since the first one.
fn keep_since(before: &[Awaiting], awaiting: &mut [Awaiting]) {
    for wait in awaiting.iter_mut().filter(|it| it.operation.is_none()) {
        let same = |other: &&Awaiting| {
            other.operation.is_none() && (&other.node, &other.what) == (&wait.node, &wait.what)
        };
        if let Some(known) = before.iter().find(same) {
            wait.since = known.since;
        }
    }
}
