//! The cluster, its nodes, and what is open.

use evenkeel_model::{
    Action, BootId, ClusterId, Generation, MachineId, NodeConfig, NodeId, NodeName, OperationId,
    OperationKind, PlatformName, TaskState, Version, WallTime,
};

use super::software::{UpdateState, cluster_version, update_state};
use crate::view::View;

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRow {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// The version it counts as, where its nodes agree on one.
    pub version: Option<Version>,
    /// Who coordinates, if someone does.
    pub coordinator: Option<NodeName>,
    /// The newest coordinator's generation.
    pub generation: Generation,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its HA partner, by name and id.
    pub partner: Option<(NodeName, NodeId)>,
    /// Its hardware platform.
    pub platform: PlatformName,
    /// `host:port` of its REST port.
    pub rest: String,
    /// What its booted slot's manifest says, once it said so.
    pub version: Option<Version>,
    /// Where the open update has it, while it is out of service for that.
    pub away: Option<Away>,
    /// What names its hardware, as far as it said so.
    pub machine: MachineId,
    /// Its boot, once it said so.
    pub boot_id: Option<BootId>,
    /// Build version of its daemon, once it said so.
    pub daemon: Option<String>,
    /// Whether it coordinates.
    pub is_coordinator: bool,
}

/// Where an update has a node that does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// Its partner has taken it over; it is down, or boots.
    TakenOver,
    /// It is up again, and its partner still serves for it.
    WaitingForGiveback,
}

/// An operation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    /// Its id.
    pub id: OperationId,
    /// Its kind.
    pub kind: OperationKind,
    /// The version it is about, where that is known.
    pub version: Option<Version>,
    /// Its state.
    pub state: UpdateState,
    /// When that began.
    pub since: WallTime,
    /// Why its events cannot be read to the end, if they cannot.
    pub quarantine: Option<String>,
}

/// How a cancelled update left the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftRow {
    /// The version it was to.
    pub version: Version,
    /// When it ended.
    pub at: WallTime,
    /// Who runs what, and who is in takeover, as it was then.
    pub left: String,
}

/// How the newest update left the cluster, while none is open and where it said so.
pub fn left_behind(view: &View) -> Option<LeftRow> {
    let newest = view.control().newest_of(&[OperationKind::Update])?;
    let update = view.operation(newest)?;
    Some(LeftRow {
        version: update.version()?.clone(),
        at: update.ended_at?,
        left: update.left.clone()?,
    })
}

/// The cluster, once it exists.
pub fn cluster(view: &View) -> Option<ClusterRow> {
    let topology = view.control().topology.as_ref()?;
    Some(ClusterRow {
        id: topology.id,
        name: topology.name.clone(),
        version: cluster_version(view),
        coordinator: view
            .control()
            .coordinator
            .as_ref()
            .map(|by| by.node.clone()),
        generation: view.control().generation,
    })
}

/// All nodes, ordered by name.
pub fn nodes(view: &View) -> Vec<NodeRow> {
    let configured = view
        .control()
        .topology
        .iter()
        .flat_map(|topology| &topology.nodes);
    configured.map(|config| node(view, config)).collect()
}

fn node(view: &View, config: &NodeConfig) -> NodeRow {
    let control = view.control();
    let booted = control.booted.get(&config.name);
    let topology = control.topology.as_ref();
    let partner = config
        .partner
        .as_ref()
        .and_then(|name| topology?.node(name));
    NodeRow {
        id: config.id,
        name: config.name.clone(),
        partner: partner.map(|partner| (partner.name.clone(), partner.id)),
        platform: config.platform.clone(),
        rest: config.rest.clone(),
        version: booted.and_then(|booted| booted.version.clone()),
        away: away(view, &config.name),
        machine: booted
            .map(|booted| booted.machine.clone())
            .unwrap_or_default(),
        boot_id: booted.map(|booted| booted.boot_id),
        daemon: booted.map(|booted| booted.daemon.clone()),
        is_coordinator: control
            .coordinator
            .as_ref()
            .is_some_and(|by| by.node == config.name),
    }
}

/// What the newest task says that moved the node. A record knows nothing of outages that nobody planned.
fn away(view: &View, name: &NodeName) -> Option<Away> {
    let open = view.control().open_of(OperationKind::Update)?;
    let mut newest_first = view.operation(open)?.tasks.values().rev();
    newest_first.find_map(|progress| {
        let is_done = matches!(progress.state, TaskState::Done { .. });
        let away = match (&progress.task.action, is_done) {
            _ if progress.task.node != *name => return None,
            (Action::Takeover, true) | (Action::AwaitBoot { .. }, false) => Some(Away::TakenOver),
            (Action::AwaitBoot { .. }, true) | (Action::Giveback, false) => {
                Some(Away::WaitingForGiveback)
            }
            (Action::Takeover, false) | (Action::Giveback, true) => None,
            (
                Action::Install { .. }
                | Action::Activate { .. }
                | Action::Deactivate
                | Action::Stabilize { .. }
                | Action::VerifyHome { .. }
                | Action::MarkGood
                | Action::Gate { .. }
                | Action::GateScript { .. }
                | Action::Firmware { .. }
                | Action::Reboot,
                _,
            ) => return None,
        };
        Some(away)
    })?
}

/// What is open, in the order of admission. An admitted operation whose own stream cannot be read is named
/// by [`View::quarantined`] alone.
pub fn open_operations(view: &View) -> Vec<OperationRow> {
    let row = |operation: &evenkeel_model::Operation| OperationRow {
        id: operation.id,
        kind: operation.kind(),
        version: operation.version().cloned(),
        state: update_state(view, operation),
        since: operation.state_since,
        quarantine: view
            .quarantine_of(operation.id)
            .map(|quarantine| quarantine.why.clone()),
    };
    view.open_operations().map(row).collect()
}
