//! Whom a coordinator with work looks at.
//!
//! What it does is decided upon everybody, seen within a second. In between, while tasks of an update run, only
//! those are asked that could end the wait: else a wait would cost as much more as the cluster has nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel_interconnect::Look;
use evenkeel_model::{Executor, NodeName, Operation, OperationState, Request, TaskState, Topology};

/// Those to look at while nothing but these operations is open; none where that may be anybody.
pub(crate) fn nearby(open: &[&Operation], topology: &Topology) -> Option<BTreeSet<NodeName>> {
    let mut all = BTreeSet::new();
    for operation in open {
        all.extend(concerned(operation, topology)?);
    }
    Some(all)
}

/// How far the nodes look: whether members answer one another is asked before an update's plan is made, and
/// is nothing that its tasks depend on.
pub(crate) fn look(open: &[&Operation]) -> Look {
    match open.iter().any(|operation| is_before_a_plan(operation)) {
        true => Look::Around,
        false => Look::Itself,
    }
}

/// Whether checks run, and what they find decides.
fn is_before_a_plan(operation: &Operation) -> bool {
    match &operation.request {
        Request::Update(_) => match operation.state {
            // Also after a resume of the pause after validation.
            OperationState::Requested | OperationState::Validated => true,
            OperationState::Running
            | OperationState::PausePending
            | OperationState::Paused { .. }
            | OperationState::Replanning
            | OperationState::CancelPending
            | OperationState::Ended { .. } => false,
        },
        Request::Validate { .. } | Request::Estimate(_) => true,
        Request::Get { .. }
        | Request::Delete { .. }
        | Request::Sync { .. }
        | Request::Firmware { .. } => false,
    }
}

/// The nodes that what runs, or is due next, is about; `None` where that may be any of them.
fn concerned(operation: &Operation, topology: &Topology) -> Option<BTreeSet<NodeName>> {
    match operation.state {
        OperationState::Running
        | OperationState::PausePending
        | OperationState::CancelPending
        | OperationState::Replanning => {}
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Paused { .. }
        | OperationState::Ended { .. } => return None,
    }
    let plan = operation.plan.as_ref()?;
    let mut nodes = BTreeSet::new();
    let tasks = operation.tasks.values().map(Arc::as_ref);
    for running in tasks.filter(|task| matches!(task.state, TaskState::Running)) {
        // A gate's conditions are about the whole cluster.
        if running.task.action.is_gate() {
            return None;
        }
        nodes.insert(running.task.node.clone());
        if let Executor::Agent(agent) = &running.task.executor {
            nodes.insert(agent.clone());
        }
    }
    if nodes.is_empty() {
        return None;
    }
    let is_open = |lane: &&evenkeel_model::Lane| !operation.lane_over(lane);
    let open = plan
        .steps
        .iter()
        .map(|step| step.lanes.iter().filter(is_open));
    if let Some(step) = open.clone().find(|lanes| lanes.clone().next().is_some()) {
        nodes.extend(step.map(|lane| lane.node.clone()));
    }
    let partners: Vec<_> = nodes
        .iter()
        .filter_map(|node| topology.partner_of(node))
        .cloned()
        .collect();
    nodes.extend(partners);
    Some(nodes)
}
