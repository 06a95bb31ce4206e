//! Packages that clients send, streamed into the package store: `POST /cluster/software/upload`, one multipart
//! part, and `PUT /evenkeel/v1/packages`, the archive as it is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use evenkeel_api::{ApiError, Code};
use evenkeel_download::{Limits, Pace, TooSlow};
use evenkeel_model::{JobId, Refusal};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::{App, Shared};
use crate::asynchronous::answer;
use crate::cluster::{Upload, UploadError};
use crate::request::Asked;
use crate::respond::Failure;

/// After a refusal the rest is read and thrown away this long, since clients read the answer only when
/// they have sent everything.
const DRAIN: Duration = Duration::from_secs(60);

/// Longest name of a file: no file system takes more.
const MAX_NAME_BYTES: usize = 255;

/// `POST /cluster/software/upload`.
pub(crate) async fn upload(
    State(app): Shared,
    asked: Asked,
    request: Request,
) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let return_timeout = params.take_for_change()?;
        params.finish()?;
        let head = Head::of(request.headers(), None);
        let multipart = Multipart::from_request(request, &()).await;
        let multipart = multipart.map_err(|_| ApiError::new(Code::UploadNotMultipart));
        let mut body = Incoming::Multipart(multipart?);
        let job = take_in(&app, &asked, &head, &mut body).await?;
        Ok(reply(&app, &asked, job, return_timeout).await)
    };
    result.await.map_err(|error| asked.failure(error))
}

/// `PUT /evenkeel/v1/packages`.
pub(crate) async fn put(
    State(app): Shared,
    asked: Asked,
    request: Request,
) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let return_timeout = params.take_for_change()?;
        let name = params.take("file_name");
        params.finish()?;
        check_name(name.as_deref())?;
        let head = Head::of(request.headers(), name);
        let mut body = Incoming::Raw(request.into_body().into_data_stream());
        let job = take_in(&app, &asked, &head, &mut body).await?;
        Ok(reply(&app, &asked, job, return_timeout).await)
    };
    result.await.map_err(|error| asked.failure(error))
}

async fn reply(app: &App, asked: &Asked, job: JobId, return_timeout: Duration) -> Response {
    let (cluster, done) = (app.cluster.as_ref(), StatusCode::CREATED);
    answer(cluster, job, return_timeout, done, asked.form).await
}

/// What the headers say of the body.
struct Head {
    /// Its length; of a multipart body a little more than the file's.
    declared: Option<u64>,
    /// The client waits for a word before it sends.
    asks_first: bool,
    /// Name of the file, where the body does not say it.
    file: Option<String>,
}

impl Head {
    fn of(headers: &HeaderMap, file: Option<String>) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            declared: text(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok()),
            asks_first: text(header::EXPECT)
                .is_some_and(|v| v.eq_ignore_ascii_case("100-continue")),
            file,
        }
    }
}

/// The body of an upload.
enum Incoming {
    Multipart(Multipart),
    Raw(BodyDataStream),
}

/// Takes the package in. A package that is refused for what it is has a job that says so, like one that
/// is taken; every other refusal is the answer.
async fn take_in(
    app: &App,
    asked: &Asked,
    head: &Head,
    body: &mut Incoming,
) -> Result<JobId, ApiError> {
    // Before the first byte is asked for.
    if let Err(refusal) = app.door.may_upload(head.declared).await {
        if !head.asks_first {
            body.drain().await;
        }
        return Err(refusal.into());
    }
    let taken = match body {
        Incoming::Multipart(multipart) => receive_part(app, asked, head, multipart).await,
        Incoming::Raw(stream) => receive_raw(app, asked, head, stream).await,
    };
    match taken {
        Ok(job) => Ok(job),
        Err(Ended::Failed(job)) => {
            body.drain().await;
            Ok(job)
        }
        Err(Ended::Refused(error)) => {
            body.drain().await;
            Err(error)
        }
    }
}

/// How an upload ended without a package.
enum Ended {
    Refused(ApiError),
    Failed(JobId),
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<UploadError> for Ended {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Refused(refusal) => Self::Refused(refusal.into()),
            UploadError::Failed(job) => Self::Failed(job),
        }
    }
}

/// Takes the only part in. The upload is finished only when it is known that no other part follows;
/// on every way out before that it is given up, and nothing of it stays.
async fn receive_part(
    app: &App,
    asked: &Asked,
    head: &Head,
    multipart: &mut Multipart,
) -> Result<JobId, Ended> {
    let single = |what: &str| {
        let message =
            format!("The request must contain a single file, in a part named \"file\": {what}.");
        ApiError::with(Code::UploadSingleFile, message).target("file")
    };
    let mut clock = Clock::new();
    let part = clock
        .wait(multipart.next_field())
        .await?
        .map_err(unreadable)?;
    let mut part = part.ok_or_else(|| single("it has no part"))?;
    if part.name() != Some("file") {
        let name = part.name().unwrap_or_default().escape_debug();
        return Err(single(&format!("its first part is named \"{name}\"")).into());
    }
    check_name(part.file_name())?;
    let file = part.file_name().map(str::to_owned);
    let upload = begin(app, asked, head, file).await?;
    let upload = stream(&mut Pieces::Part(&mut part), upload, &mut clock).await?;
    drop(part);
    let next = async {
        Ok(clock
            .wait(multipart.next_field())
            .await?
            .map_err(unreadable)?
            .is_some())
    };
    match next.await {
        Ok(false) => finish(app, asked, upload).await,
        Ok(true) => Err(give_up(upload, single("it has more than one part")).await),
        Err(error) => Err(give_up(upload, error).await),
    }
}

async fn receive_raw(
    app: &App,
    asked: &Asked,
    head: &Head,
    body: &mut BodyDataStream,
) -> Result<JobId, Ended> {
    let upload = begin(app, asked, head, head.file.clone()).await?;
    let upload = stream(&mut Pieces::Raw(body), upload, &mut Clock::new()).await?;
    finish(app, asked, upload).await
}

async fn begin(
    app: &App,
    asked: &Asked,
    head: &Head,
    file: Option<String>,
) -> Result<Box<dyn Upload>, ApiError> {
    let (door, user, declared) = (
        Arc::clone(&app.door),
        asked.caller.user.clone(),
        head.declared,
    );
    let begun = to_its_end(async move { door.upload(declared, file, user).await }).await?;
    Ok(begun?)
}

/// Where the bytes of the file are.
enum Pieces<'a, 'm> {
    Part(&'a mut Field<'m>),
    Raw(&'a mut BodyDataStream),
}

impl Pieces<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        match self {
            Self::Part(part) => part.chunk().await.map_err(unreadable),
            Self::Raw(body) => match body.next().await {
                None => Ok(None),
                Some(Ok(bytes)) => Ok(Some(bytes)),
                Some(Err(error)) => {
                    tracing::debug!(%error, "an upload broke off");
                    let message = "The upload broke off before its end.";
                    Err(ApiError::with(Code::UploadUnknown, message))
                }
            },
        }
    }
}

async fn stream(
    pieces: &mut Pieces<'_, '_>,
    mut upload: Box<dyn Upload>,
    clock: &mut Clock,
) -> Result<Box<dyn Upload>, Ended> {
    loop {
        let asked = Instant::now();
        let piece = match clock.wait(pieces.next()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(upload),
            Ok(Err(error)) | Err(error) => return Err(give_up(upload, error).await),
        };
        if let Err(slow) = clock.pace.came(piece.len() as u64, asked.elapsed()) {
            return Err(give_up(upload, too_slow(slow)).await);
        }
        upload.write(piece).await?;
    }
}

/// Notices clients that went away without a word, or as good as that.
struct Clock {
    silence: Duration,
    pace: Pace,
}

impl Clock {
    /// The same bounds as for servers that packages are fetched from.
    fn new() -> Self {
        let limits = Limits::default();
        Self {
            silence: limits.stall,
            pace: Pace::new(&limits),
        }
    }

    async fn wait<T>(&self, next: impl Future<Output = T>) -> Result<T, ApiError> {
        let silent = |_| too_slow(TooSlow::Silent(self.silence));
        timeout(self.silence, next).await.map_err(silent)
    }
}

fn too_slow(slow: TooSlow) -> ApiError {
    let message = format!("The upload is too slow to be finished: {slow}.");
    ApiError::with(Code::UploadTooSlow, message)
}

fn unreadable(error: MultipartError) -> ApiError {
    let message = format!(
        "The upload broke off before its end, or is not multipart/form-data: {}",
        error.body_text()
    );
    ApiError::with(Code::UploadUnknown, message)
}

fn check_name(name: Option<&str>) -> Result<(), ApiError> {
    match name {
        Some(name) if name.len() > MAX_NAME_BYTES => {
            let message = format!(
                "The name of the file is too long: {} bytes, and at most {MAX_NAME_BYTES} are allowed.",
                name.len()
            );
            Err(ApiError::with(Code::UploadNameTooLong, message).target("file"))
        }
        Some(_) | None => Ok(()),
    }
}

async fn finish(app: &App, asked: &Asked, upload: Box<dyn Upload>) -> Result<JobId, Ended> {
    if !app.is_still_let_in(&asked.caller).await {
        let message =
            "not authorized for that command: the user is not what it was when the upload began";
        let error = ApiError::with(Code::Forbidden, message);
        return Err(give_up(upload, error).await);
    }
    Ok(to_its_end(async move { upload.finish().await }).await??)
}

async fn give_up(upload: Box<dyn Upload>, error: ApiError) -> Ended {
    let mut why = Refusal::new(error.number, error.message.clone());
    why.target.clone_from(&error.target);
    // If it did not run to its end, dropping the upload has ended it.
    let _ = to_its_end(async move { upload.give_up(why).await }).await;
    Ended::Refused(error)
}

/// Runs what admits or ends something in a task of its own. A client that leaves in its middle cancels
/// this handler, not the task; what the task brings is then dropped, which ends what it began.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(work).await {
        Ok(result) => Ok(result),
        Err(error) => {
            tracing::error!(%error, "an upload's step did not run to its end");
            Err(ApiError::new(Code::InternalError))
        }
    }
}

impl Incoming {
    /// Reads on for a while, so that the client reads the answer.
    async fn drain(&mut self) {
        let until = Instant::now() + DRAIN;
        match self {
            Self::Multipart(multipart) => {
                while let Ok(Ok(Some(mut part))) = timeout_at(until, multipart.next_field()).await {
                    while let Ok(Ok(Some(_))) = timeout_at(until, part.chunk()).await {}
                }
            }
            Self::Raw(body) => while let Ok(Some(Ok(_))) = timeout_at(until, body.next()).await {},
        }
    }
}
