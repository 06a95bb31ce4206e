//! The download under way, or the last one.

use evenkeel_model::{GetSource, JobOutcome, Operation, OperationId, Request};

use crate::view::View;

/// A download, as `/api/cluster/software/download` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadRow {
    /// Its operation.
    pub operation: OperationId,
    /// How far it is.
    pub state: DownloadState,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadState {
    /// The package is on its way from the server.
    Downloading,
    /// It is here, and on its way to the other nodes.
    Processing,
    /// It is in the repository.
    Success {
        /// What its job says.
        message: String,
    },
    /// It is not.
    Failure {
        /// The API's code.
        code: u32,
        /// Why.
        message: String,
    },
}

/// The newest download.
pub fn download(view: &View) -> Option<DownloadRow> {
    let is_download = |operation: &&Operation| match &operation.request {
        Request::Get { source, .. } => matches!(source, GetSource::Download { .. }),
        Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Delete { .. }
        | Request::Sync { .. }
        | Request::Firmware { .. } => false,
    };
    let newest = view.operations().rfind(is_download)?;
    let state = match newest.jobs.first().and_then(|job| job.end.as_ref()) {
        Some((_, JobOutcome::Success { message })) => DownloadState::Success {
            message: message.clone(),
        },
        Some((_, JobOutcome::Failure { code, message })) => DownloadState::Failure {
            code: *code,
            message: message.clone(),
        },
        None if newest.staged.is_some() => DownloadState::Processing,
        None => DownloadState::Downloading,
    };
    Some(DownloadRow {
        operation: newest.id,
        state,
    })
}
