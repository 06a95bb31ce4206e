//! What the planner is given and what it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{
    Awaiting, Catalogue, CatalogueEvent, CheckOrder, ClusterObservation, Control, Monotonic,
    NodeName, NodeObservation, Operation, OperationEvent, ReportState, TaskId, TaskOrder, Topology,
    WallTime,
};

use crate::bounds::Tunables;
use crate::learn::Learned;

/// All that a decision may depend on.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The coordinator: who asks.
    pub me: &'a NodeName,
    /// The cluster.
    pub topology: &'a Topology,
    /// The control stream's state.
    pub control: &'a Control,
    /// The packages.
    pub catalogue: &'a Catalogue,
    /// The operation to decide on.
    pub operation: &'a Operation,
    /// What every node sees, as fresh as the caller could get it.
    pub observations: &'a ClusterObservation,
    /// What is known of the operation's running tasks.
    pub running: &'a BTreeMap<TaskId, Running>,
    /// How long each node that does not answer has been silent, by the caller's own clock.
    pub silent: &'a BTreeMap<NodeName, Duration>,
    /// How long the operation has made no step, and nothing that it carries has [`moved`](crate::moved()), by
    /// the caller's own clock.
    pub idle: Duration,
    /// Whether the record would go on without these nodes, or why not.
    pub survives_without: &'a dyn Fn(&[NodeName]) -> Result<(), String>,
    /// To show and to store.
    pub wall: WallTime,
    /// To measure.
    pub monotonic: Monotonic,
    /// Bounds.
    pub tunables: Tunables,
    /// What this cluster's own updates took.
    pub learned: &'a Learned,
}

impl Input<'_> {
    /// What `node` sees, if it answered.
    pub(crate) fn seen(&self, node: &NodeName) -> Option<&NodeObservation> {
        self.observations.get(node)?.known()
    }

    /// Why `node` did not answer.
    pub(crate) fn why_silent(&self, node: &NodeName) -> String {
        match self.observations.get(node).map(|o| o.as_result()) {
            Some(Err(why)) => why.to_owned(),
            Some(Ok(_)) => "it answers".to_owned(),
            None => "it was not asked yet".to_owned(),
        }
    }

    /// How long `node` has been silent.
    pub(crate) fn silence(&self, node: &NodeName) -> Duration {
        self.silent.get(node).copied().unwrap_or_default()
    }
}

/// What is known of a running task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The newest report of its agent.
    pub report: Option<ReportState>,
    /// How long nothing about it has changed.
    pub quiet: Duration,
    /// Of a gate: what was seen of it so far.
    pub gate: GateMemory,
}

/// What was seen of a gate by whoever coordinates now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateMemory {
    /// How long all its conditions have held, at every look; none while one does not.
    pub held: Option<Duration>,
    /// The condition that was last seen failing.
    pub failed: Option<String>,
}

/// What one look at a gate shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateLook {
    /// All its conditions hold.
    Holds,
    /// This one does not.
    Fails(String),
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// Events to append to the operation, first. While there are any, nothing else is done: the caller
    /// appends them and asks again.
    pub events: Vec<OperationEvent>,
    /// Events to append to the catalogue in the same append.
    pub catalogue: Vec<CatalogueEvent>,
    /// Orders whose intent is recorded: send those that their agent does not have yet.
    pub orders: Vec<TaskOrder>,
    /// Nodes that should run the checks which a package brings: ask them, as often as it is said.
    pub run_checks: Vec<(NodeName, CheckOrder)>,
    /// What is seen of the gates that are watched, for their stopwatches.
    pub gates: BTreeMap<TaskId, GateLook>,
    /// Step down in favour of this node, before the next task.
    pub hand_over: Option<NodeName>,
    /// What is awaited.
    pub awaiting: Vec<Awaiting>,
}

impl Decision {
    pub(crate) fn wait(awaiting: Awaiting) -> Self {
        Self::waits(vec![awaiting])
    }

    pub(crate) fn waits(awaiting: Vec<Awaiting>) -> Self {
        Self {
            awaiting,
            ..Self::default()
        }
    }

    pub(crate) fn events(events: Vec<OperationEvent>) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }
}
