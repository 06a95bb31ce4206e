//! Jobs of the API.

use evenkeel_model::{
    GetSource, Job, JobId, JobOutcome, Operation, OperationId, OperationKind, Request, WallTime,
};

use crate::view::View;

/// A job, as `/api/cluster/jobs` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// The operation it belongs to.
    pub operation: OperationId,
    /// Method and path of the request.
    pub description: String,
    /// Whether it is over, and how.
    pub state: JobState,
    /// For people; never empty.
    pub message: String,
    /// 0, or why it failed.
    pub code: u32,
    /// When it began.
    pub start: WallTime,
    /// When it ended.
    pub end: Option<WallTime>,
}

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Not over.
    Running,
    /// Done, or accepted.
    Success,
    /// Failed.
    Failure,
}

impl JobState {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        match self {
            Self::Success | Self::Failure => true,
            Self::Running => false,
        }
    }
}

/// All jobs, those of older operations first.
pub fn jobs(view: &View) -> Vec<JobRow> {
    let of_operation = |operation: &Operation| {
        operation
            .jobs
            .iter()
            .map(|job| row(operation, job))
            .collect::<Vec<_>>()
    };
    view.operations().flat_map(of_operation).collect()
}

/// One job.
pub fn job(view: &View, id: JobId) -> Option<JobRow> {
    let operation = view.operation_of(id)?;
    operation
        .jobs
        .iter()
        .find(|job| job.id == id)
        .map(|job| row(operation, job))
}

fn row(operation: &Operation, job: &Job) -> JobRow {
    let (state, code, message) = match &job.end {
        None => (JobState::Running, 0, ""),
        Some((_, JobOutcome::Success { message })) => (JobState::Success, 0, message.as_str()),
        Some((_, JobOutcome::Failure { code, message })) => {
            (JobState::Failure, *code, message.as_str())
        }
    };
    // A client takes the empty message of a failed job for success.
    let message = match message.trim() {
        "" => match (state, download_message(operation)) {
            (JobState::Running, Some(message)) => message.to_owned(),
            _ => default_message(operation.kind(), state),
        },
        text => text.to_owned(),
    };
    JobRow {
        id: job.id,
        operation: operation.id,
        description: job.description.clone(),
        state,
        message,
        code,
        start: job.start,
        end: job.end.as_ref().map(|(at, _)| *at),
    }
}

/// The two stages of a download.
fn download_message(operation: &Operation) -> Option<&'static str> {
    match &operation.request {
        Request::Get {
            source: GetSource::Download { .. },
            ..
        } => Some(match &operation.staged {
            None => "Package download in progress",
            Some(_) => "Package download completed. Package processing in progress.",
        }),
        Request::Get { .. }
        | Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Delete { .. }
        | Request::Sync { .. }
        | Request::Firmware { .. } => None,
    }
}

fn default_message(kind: OperationKind, state: JobState) -> String {
    let what = match kind {
        OperationKind::Update => "Software update",
        OperationKind::Validation => "Software validation",
        OperationKind::PackageGet => "Package get",
        OperationKind::PackageDelete => "Package delete",
        OperationKind::PackageSync => "Package synchronization",
        OperationKind::Estimate => "Estimate",
        OperationKind::Firmware => "Firmware update",
    };
    match state {
        JobState::Running => format!("{what} in progress"),
        JobState::Success => format!("{what} succeeded"),
        JobState::Failure => format!("{what} failed"),
    }
}
