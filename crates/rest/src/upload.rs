//! `POST /cluster/software/upload`: one multipart part, streamed into the package store.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{ApiError, Code};
use evenkeel_model::{JobId, Refusal, UserName};
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::{App, Shared};
use crate::asynchronous::answer;
use crate::cluster::Upload;
use crate::request::Asked;
use crate::respond::Failure;

/// Time between two pieces of an upload; a client that is silent longer has gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Time for a whole upload: the real product's limit.
const WHOLE: Duration = Duration::from_secs(3600);

/// After a refusal the rest is read and thrown away this long, since clients read the answer only when
/// they have sent everything.
const DRAIN: Duration = Duration::from_secs(60);

pub(crate) async fn upload(
    State(app): Shared,
    asked: Asked,
    request: Request,
) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let return_timeout = params.take_return_timeout(Duration::ZERO)?;
        params.take_bool("return_records")?;
        params.finish()?;
        let multipart = Multipart::from_request(request, &()).await;
        let mut multipart = multipart.map_err(|_| ApiError::new(Code::UploadNotMultipart))?;
        let job = match timeout(WHOLE, receive(&app, &asked, &mut multipart)).await {
            Ok(Ok(job)) => job,
            Ok(Err(error)) => {
                drain(&mut multipart).await;
                return Err(error);
            }
            Err(_) => return Err(ApiError::new(Code::UploadTooSlow)),
        };
        answer(
            app.cluster.as_ref(),
            job,
            return_timeout,
            StatusCode::CREATED,
            asked.form,
        )
        .await
    };
    result.await.map_err(|error| asked.failure(error))
}

/// Takes the only part in. The upload is finished only when it is known that no other part follows;
/// on every way out before that it is dropped, and nothing of it stays.
async fn receive(app: &App, asked: &Asked, multipart: &mut Multipart) -> Result<JobId, ApiError> {
    let single = || ApiError::new(Code::UploadSingleFile).target("file");
    let mut part = next_part(multipart).await?.ok_or_else(single)?;
    if part.name() != Some("file") {
        return Err(single());
    }
    let mut upload = begin(app, asked.user.clone()).await?;
    while let Some(chunk) = in_time(part.chunk()).await? {
        upload.write(chunk).await?;
    }
    drop(part);
    if next_part(multipart).await?.is_some() {
        return Err(single());
    }
    to_its_end(async move { upload.finish().await }).await
}

async fn begin(app: &App, user: UserName) -> Result<Box<dyn Upload>, ApiError> {
    let door = Arc::clone(&app.door);
    to_its_end(async move { door.upload(user).await }).await
}

/// Runs what admits or ends something in a task of its own. A client that leaves in its middle cancels
/// this handler, not the task; what the task brings is then dropped, which ends what it began.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(work).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(%error, "an upload's step did not run to its end");
            Err(ApiError::new(Code::InternalError))
        }
    }
}

async fn next_part(multipart: &mut Multipart) -> Result<Option<Field<'_>>, ApiError> {
    in_time(multipart.next_field()).await
}

async fn in_time<T>(
    part: impl Future<Output = Result<T, axum::extract::multipart::MultipartError>>,
) -> Result<T, ApiError> {
    match timeout(SILENCE, part).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let message = format!("The upload cannot be read: {}", error.body_text());
            Err(ApiError::with(Code::UploadUnknown, message))
        }
        Err(_) => Err(ApiError::new(Code::UploadTooSlow)),
    }
}

async fn drain(multipart: &mut Multipart) {
    let until = Instant::now() + DRAIN;
    while let Ok(Ok(Some(mut part))) = timeout_at(until, multipart.next_field()).await {
        while let Ok(Ok(Some(_))) = timeout_at(until, part.chunk()).await {}
    }
}
