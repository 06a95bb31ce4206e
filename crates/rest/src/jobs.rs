//! What may be asked of a job. Only a firmware update is canceled by its job: an update is paused and canceled as
//! such, and what else there is ends soon.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{Action, ApiError, Code, Job, JobState};

use serde_json::json;

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
        let is_firmware = app.cluster.firmware_history().await?;
        let is_firmware = is_firmware.iter().any(|row| row.job.uuid == job.uuid);
        match (action, job.state.is_terminal(), job.uuid.parse()) {
            (Action::Cancel, false, Ok(id)) if is_firmware => {
                let by = asked.caller.user.clone();
                app.door.cancel_firmware(id, by).await?;
                Ok(())
            }
            (_, _, _) => Err::<(), ApiError>(why_not(&job, action)),
        }
    };
    result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json!({})))
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
    let advice = "An update is paused, resumed and canceled by PATCH /api/cluster/software; of jobs, only that of a \
                  firmware update is canceled here.";
    ApiError::with(code, format!("{} {advice}", code.text())).target("action")
}
