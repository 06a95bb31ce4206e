//! Answers of calls that start a job.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use evenkeel_api::{ApiError, Job, JobLink, JobState};
use evenkeel_model::JobId;

use crate::audit::Told;
use crate::cluster::Cluster;
use crate::respond::{Failure, Form, json};

/// 202 and the job's link at once; or, when the client is willing to wait and the job ends in that
/// time, `done` and the link, or the error the job failed with.
pub(crate) async fn answer(
    cluster: &dyn Cluster,
    job: JobId,
    return_timeout: Duration,
    done: StatusCode,
    form: Form,
) -> Response {
    let status = match outcome(cluster, job, return_timeout).await {
        Ok(Some(())) => done,
        Ok(None) => StatusCode::ACCEPTED,
        Err(error) => return Told::job(job).on(Failure::of(form, error).into_response()),
    };
    Told::job(job).on(form.answer(status, json(&JobLink::new(job.to_string()))))
}

/// `None` while the job goes on. Failing to look at it is no failure of the job, which is recorded.
async fn outcome(
    cluster: &dyn Cluster,
    job: JobId,
    return_timeout: Duration,
) -> Result<Option<()>, ApiError> {
    if return_timeout.is_zero() {
        return Ok(None);
    }
    match cluster.wait_job(job, return_timeout).await {
        Ok(Some(Job {
            state: JobState::Success,
            ..
        })) => Ok(Some(())),
        Ok(Some(Job {
            state: JobState::Failure,
            code,
            message,
            error,
            ..
        })) => {
            let target = error.and_then(|error| error.target);
            Err(ApiError {
                target,
                ..ApiError::from_number(code, message)
            })
        }
        Ok(Some(Job {
            state: JobState::Queued | JobState::Running | JobState::Paused,
            ..
        }))
        | Ok(None) => Ok(None),
        Err(refusal) => {
            tracing::warn!(%job, %refusal, "cannot wait for the job; the client will poll it");
            Ok(None)
        }
    }
}
