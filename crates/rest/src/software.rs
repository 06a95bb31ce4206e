//! What changes: `PATCH /cluster/software`, and the download.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{Action, ApiError, Code, Download, Params, Software};
use evenkeel_download::{Source, UrlError};
use evenkeel_model::{
    DEFAULT_STABILIZE_MINUTES, JobId, NodeName, PauseAfter, Role, UpdateRequest, Version,
};

use crate::app::{App, Shared};
use crate::asynchronous::answer;
use crate::request::{Asked, Fields};
use crate::respond::Failure;

/// What a `PATCH` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Act(Action),
    Validate(UpdateRequest),
    Estimate(UpdateRequest),
    Update(UpdateRequest),
}

/// `PATCH /cluster/software`.
pub(crate) async fn patch(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let return_timeout = params.take_for_change()?;
        let change = change(params, Fields::read(body).await?)?;
        let job = admit(&app, &asked, change).await?;
        let cluster = app.cluster.as_ref();
        Ok(answer(cluster, job, return_timeout, StatusCode::OK, asked.form).await)
    };
    result.await.map_err(|error| asked.failure(error))
}

async fn admit(app: &App, asked: &Asked, change: Change) -> Result<JobId, ApiError> {
    asked.caller.require(match &change {
        Change::Validate(_) | Change::Estimate(_) => Role::Stager,
        Change::Act(_) | Change::Update(_) => Role::Admin,
    })?;
    let by = asked.caller.user.clone();
    let admitted = match change {
        Change::Act(action) => app.door.act(action, by).await,
        Change::Validate(request) => app.door.validate(request, by).await,
        Change::Estimate(request) => app.door.estimate(request, by).await,
        Change::Update(request) => app.door.update(request, by).await,
    };
    Ok(admitted?)
}

fn change(mut params: Params, mut fields: Fields) -> Result<Change, ApiError> {
    let action = action(&mut params, &mut fields)?;
    let options = Options::take(&mut params)?;
    let version = fields.take_text("version")?;
    params.finish()?;
    fields.finish::<Software>()?;
    if let Some(action) = action {
        // A version beside an action says nothing: the document's own example sends one.
        options.refuse_beside_action()?;
        return Ok(Change::Act(action));
    }
    let version = version.ok_or_else(|| ApiError::new(Code::NoVersion).target("version"))?;
    let version = parse_version(&version)?;
    if options.validate_only && options.estimate_only {
        let message = "Field \"estimate_only\" cannot be used with field \"validate_only\".";
        return Err(ApiError::with(Code::FieldConflict, message).target("estimate_only"));
    }
    let request = options.request(version);
    Ok(match (options.validate_only, options.estimate_only) {
        (true, _) => Change::Validate(request),
        (false, true) => Change::Estimate(request),
        (false, false) => Change::Update(request),
    })
}

/// The action may stand in the query or in the body; Python does either.
fn action(params: &mut Params, fields: &mut Fields) -> Result<Option<Action>, ApiError> {
    const WORDS: &str = "pause|resume|cancel";
    let in_query = params.take_word("action", WORDS)?;
    let in_body = fields.take_word::<Action>("action", WORDS)?;
    match (in_query, in_body) {
        (Some(query), Some(body)) if query != body => {
            let message = "The actions in the query and in the body differ.";
            Err(ApiError::with(Code::FieldConflict, message).target("action"))
        }
        (query, body) => Ok(query.or(body)),
    }
}

/// The options of an update.
pub(crate) struct Options {
    validate_only: bool,
    skip_warnings: Option<bool>,
    stabilize_minutes: Option<u32>,
    pause_after: Option<PauseAfter>,
    estimate_only: bool,
    force_rolling: Option<bool>,
    nodes_to_update: Option<Vec<NodeName>>,
    /// Evenkeel's own: a node of the pair that goes first.
    first_pair: Option<NodeName>,
}

impl Options {
    pub(crate) fn take(params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            validate_only: params.take_bool("validate_only")?.unwrap_or(false),
            skip_warnings: params.take_bool("skip_warnings")?,
            stabilize_minutes: params.take_int("stabilize_minutes", 1..=60)?,
            pause_after: params.take_word("pause_after", "none|takeover_giveback|all")?,
            estimate_only: params.take_bool("estimate_only")?.unwrap_or(false),
            force_rolling: params.take_bool("force_rolling")?,
            nodes_to_update: nodes(params)?,
            first_pair: match params.take("first_pair") {
                Some(text) => Some(node("first_pair", &text)?),
                None => None,
            },
        })
    }

    /// The update that is asked for with these options.
    pub(crate) fn request(&self, version: Version) -> UpdateRequest {
        UpdateRequest {
            skip_warnings: self.skip_warnings.unwrap_or(false),
            stabilize_minutes: self.stabilize_minutes.unwrap_or(DEFAULT_STABILIZE_MINUTES),
            pause_after: self.pause_after.unwrap_or_default(),
            force_rolling: self.force_rolling.unwrap_or(false),
            nodes: self.nodes_to_update.clone().unwrap_or_default(),
            first: self.first_pair.clone(),
            ..UpdateRequest::new(version)
        }
    }

    fn refuse_beside_action(&self) -> Result<(), ApiError> {
        let given = [
            (self.validate_only, "validate_only"),
            (self.estimate_only, "estimate_only"),
            (self.skip_warnings == Some(true), "skip_warnings"),
            (self.stabilize_minutes.is_some(), "stabilize_minutes"),
            (self.pause_after.is_some(), "pause_after"),
            (self.force_rolling == Some(true), "force_rolling"),
            (self.nodes_to_update.is_some(), "nodes_to_update"),
            (self.first_pair.is_some(), "first_pair"),
        ];
        let Some((_, name)) = given.iter().find(|(given, _)| *given) else {
            return Ok(());
        };
        let message = format!("Field \"{name}\" cannot be used with field \"action\".");
        Err(ApiError::with(Code::FieldConflict, message).target(*name))
    }
}

/// Names, separated by commas; one that is named twice counts once.
fn nodes(params: &mut Params) -> Result<Option<Vec<NodeName>>, ApiError> {
    let Some(text) = params.take("nodes_to_update") else {
        return Ok(None);
    };
    let names = text
        .split(',')
        .map(|name| node("nodes_to_update", name.trim()));
    let names: BTreeSet<NodeName> = names.collect::<Result<_, _>>()?;
    Ok(Some(names.into_iter().collect()))
}

fn node(field: &str, text: &str) -> Result<NodeName, ApiError> {
    NodeName::new(text).map_err(|error| ApiError::invalid(field, text, &error.to_string()))
}

pub(crate) fn parse_version(version: &str) -> Result<Version, ApiError> {
    Version::new(version).map_err(|error| ApiError::invalid("version", version, &error.to_string()))
}

/// `POST /cluster/software/download`.
pub(crate) async fn download(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let return_timeout = params.take_for_change()?;
        params.finish()?;
        let source = source(Fields::read(body).await?)?;
        let (door, by) = (Arc::clone(&app.door), asked.caller.user.clone());
        // In a task of its own: a client that leaves must not cut the admission from what follows it.
        let admitted = tokio::spawn(async move { door.download(source, by).await }).await;
        let job = admitted.map_err(|error| {
            tracing::error!(%error, "a download's admission did not run to its end");
            ApiError::new(Code::InternalError)
        })??;
        let (cluster, done) = (app.cluster.as_ref(), StatusCode::CREATED);
        Ok(answer(cluster, job, return_timeout, done, asked.form).await)
    };
    result.await.map_err(|error| asked.failure(error))
}

/// Where the package is. What is wrong with the address is said at once, without repeating it: it may
/// hold a password.
fn source(mut fields: Fields) -> Result<Source, ApiError> {
    let url = fields.take_text("url")?;
    let username = fields.take_text("username")?;
    let password = fields.take_secret("password")?;
    fields.finish::<Download>()?;
    let missing =
        || ApiError::with(Code::RequiredField, "Field \"url\" is required.").target("url");
    let url = url.ok_or_else(missing)?;
    Source::parse(url.trim(), username, password).map_err(|error| {
        let (code, target) = match error {
            UrlError::Syntax | UrlError::TooLong => (Code::UrlSyntax, "url"),
            UrlError::Scheme => (Code::UrlScheme, "url"),
            UrlError::NoFile => (Code::BadUrl, "url"),
            UrlError::NoUser => (Code::BadUrl, "password"),
        };
        ApiError::with(code, format!("The URL cannot be used: {error}.")).target(target)
    })
}
