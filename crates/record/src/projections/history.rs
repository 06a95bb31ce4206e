//! What was installed where, and when.

use evenkeel_model::{
    NodeId, NodeName, Operation, OperationEnd, OperationId, OperationState, Version, WallTime,
};

use crate::view::View;

/// One node's part in one update, as `/api/cluster/software/history` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// The update.
    pub operation: OperationId,
    /// The node.
    pub node: NodeName,
    /// Its id, unless it has left the cluster.
    pub node_id: Option<NodeId>,
    /// Before.
    pub from: Version,
    /// After, or what was aimed at.
    pub to: Version,
    /// When its first task began.
    pub start: WallTime,
    /// When it was done, or the update was given up.
    pub end: WallTime,
    /// How it ended.
    pub state: HistoryState,
}

/// How a node's part ended. The API knows no other words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryState {
    /// It runs the new version.
    Successful,
    /// The update was cancelled before it did.
    Canceled,
}

/// All rows: those of older updates first, then by end.
pub fn history(view: &View) -> Vec<HistoryRow> {
    let topology = view.control().topology.as_ref();
    let mut rows: Vec<_> = view.operations().flat_map(rows_of).collect();
    for row in &mut rows {
        row.node_id = topology
            .and_then(|topology| topology.node(&row.node))
            .map(|node| node.id);
    }
    rows
}

fn rows_of(operation: &Operation) -> Vec<HistoryRow> {
    let updated = operation.updated.iter().map(|(node, updated)| HistoryRow {
        operation: operation.id,
        node: node.clone(),
        node_id: None,
        from: updated.from.clone(),
        to: updated.to.clone(),
        start: updated.start,
        end: updated.end,
        state: HistoryState::Successful,
    });
    let mut rows: Vec<_> = updated.chain(canceled(operation)).collect();
    rows.sort_by_key(|row| row.end.unix_seconds());
    rows
}

/// Nodes that a cancelled update had begun to change.
fn canceled(operation: &Operation) -> Vec<HistoryRow> {
    let OperationState::Ended {
        end: OperationEnd::Canceled,
    } = &operation.state
    else {
        return Vec::new();
    };
    let (Some(plan), Some(end)) = (&operation.plan, operation.ended_at) else {
        return Vec::new();
    };
    let left = plan
        .from
        .iter()
        .filter(|(node, _)| !operation.updated.contains_key(*node));
    let row = |(node, from): (&NodeName, &Version)| {
        let began = operation
            .tasks
            .values()
            .filter(|task| task.task.node == *node);
        let start = began.map(|task| task.first_start).next()?;
        Some(HistoryRow {
            operation: operation.id,
            node: node.clone(),
            node_id: None,
            from: from.clone(),
            to: plan.target.clone(),
            start,
            end,
            state: HistoryState::Canceled,
        })
    };
    left.filter_map(row).collect()
}
