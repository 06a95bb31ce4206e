//! What may be asked of a job. None of ours can be stopped by itself: an update is paused and canceled as
//! such, and what else there is ends soon.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use evenkeel_api::{Action, ApiError, Code, Job, JobState};

use crate::app::Shared;
use crate::request::{Asked, Fields};
use crate::resources::existing;
use crate::respond::Failure;

/// `PATCH /cluster/jobs/{uuid}?action=pause|resume|cancel`.
pub(crate) async fn act(State(app): Shared, asked: Asked, body: Body) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        params.take_for_change()?;
        let action = params.take_word("action", "pause|resume|cancel")?;
        params.finish()?;
        Fields::read(body).await?.finish::<Job>()?;
        let missing = || {
            let message = "Field \"action\" is required: pause, resume or cancel.";
            ApiError::with(Code::RequiredField, message).target("action")
        };
        let action = action.ok_or_else(missing)?;
        let job = existing::<Job>(&app, asked.key()).await?;
        Err::<Response, ApiError>(why_not(&job, action))
    };
    result.await.map_err(|error| asked.failure(error))
}

fn why_not(job: &Job, action: Action) -> ApiError {
    let code = match (job.state, action) {
        (JobState::Success | JobState::Failure, _) => Code::JobIsOver,
        (JobState::Queued | JobState::Running | JobState::Paused, Action::Pause) => {
            Code::JobCannotPause
        }
        (JobState::Queued | JobState::Running | JobState::Paused, Action::Resume) => {
            Code::JobIsRunning
        }
        (JobState::Queued | JobState::Running | JobState::Paused, Action::Cancel) => {
            Code::JobCannotCancel
        }
    };
    let advice = "An update is paused, resumed and canceled by PATCH /api/cluster/software.";
    ApiError::with(code, format!("{} {advice}", code.text())).target("action")
}
