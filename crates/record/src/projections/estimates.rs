//! Estimates that were asked for.

use evenkeel_model::{
    JobId, Operation, OperationId, PlanEstimate, Request, UserName, Version, WallTime,
};

use crate::view::View;

/// An estimate that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstimateRow {
    /// Its operation.
    pub operation: OperationId,
    /// Its job.
    pub job: Option<JobId>,
    /// The version it is about.
    pub version: Version,
    /// When it was asked for.
    pub at: WallTime,
    /// By whom.
    pub by: UserName,
    /// What came out; none while it is made, or when there is no plan: its job says why.
    pub estimate: Option<PlanEstimate>,
}

/// All estimates, oldest first.
pub fn estimates(view: &View) -> Vec<EstimateRow> {
    view.operations().filter_map(row).collect()
}

fn row(operation: &Operation) -> Option<EstimateRow> {
    let Request::Estimate(request) = &operation.request else {
        return None;
    };
    Some(EstimateRow {
        operation: operation.id,
        job: operation.jobs.first().map(|job| job.id),
        version: request.version.clone(),
        at: operation.requested_at,
        by: operation.by.clone(),
        estimate: operation.estimate.clone(),
    })
}
