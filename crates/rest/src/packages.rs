//! The delete of packages.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{
    ApiError, Code, CollectionQuery, Filter, Href, JobLink, JobLinks, JobState, Links, Package,
    Params, Resource, encode_component,
};
use evenkeel_model::{JobId, Version};
use tokio::time::Instant;

use crate::app::{App, Shared};
use crate::asynchronous::answer;
use crate::audit::Told;
use crate::list::is_asked_for;
use crate::request::{Asked, Fields};
use crate::respond::{Failure, json};

/// Time for one call to delete packages one after another, unless it is told to wait longer; the rest is left
/// to the next. Below the time that clients wait for an answer.
const DELETING: Duration = Duration::from_secs(15);

/// `DELETE /cluster/software/packages/{version}`.
pub(crate) async fn delete_one(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let return_timeout = params.take_for_change()?;
        params.finish()?;
        Fields::read(body).await?.finish::<Package>()?;
        let version = parse(&asked.key())?;
        let (door, by) = (app.door.as_ref(), asked.caller.user.clone());
        let job = door.delete_package(version, by).await?;
        let cluster = app.cluster.as_ref();
        Ok(answer(cluster, job, return_timeout, StatusCode::OK, asked.form).await)
    };
    result.await.map_err(|error| asked.failure(error))
}

/// `DELETE /cluster/software/packages?query`: every package that meets the conditions, or is named in the
/// body. Without either it is refused: an address that ends where a version was meant to stand must not
/// empty the repository.
pub(crate) async fn delete_many(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let return_timeout = params.take_for_change()?;
        let meant = meant(params, Fields::read(body).await?)?;
        let deleted = delete(&app, &asked, &meant, return_timeout).await?;
        let status = match deleted.is_over {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        };
        let response = asked.form.answer(status, json(&deleted.links));
        Ok(deleted.told().on(response))
    };
    result.await.map_err(|error| asked.failure(error))
}

/// Which packages a call is about.
enum Meant {
    Matching(Box<CollectionQuery>),
    Named(Vec<String>),
}

fn meant(params: Params, mut fields: Fields) -> Result<Meant, ApiError> {
    let named = fields.take_records("version")?;
    fields.finish::<Package>()?;
    refuse_for_reading(&params)?;
    let query = CollectionQuery::parse::<Package>(params)?;
    match (query.has_condition(), named) {
        (true, None) => Ok(Meant::Matching(Box::new(query))),
        (false, Some(named)) => Ok(Meant::Named(named)),
        (true, Some(_)) => {
            let message = "Packages are named by a query or in the body, not both.";
            Err(ApiError::with(Code::FieldConflict, message).target("records"))
        }
        (false, None) => {
            let message = "Deleting packages needs a condition, for example \"version=9.9.*\"; \
                           \"version=*\" means all.";
            Err(ApiError::with(Code::RequiredField, message).target("version"))
        }
    }
}

/// What is for reading says nothing about which packages are meant: who cuts a list to one record must not find
/// that all of them are gone.
fn refuse_for_reading(params: &Params) -> Result<(), ApiError> {
    let is_for_reading = |name: &str| {
        ["fields", "max_records", "order_by"].contains(&name) || name.starts_with("start.")
    };
    match params.names().find(|name| is_for_reading(name)) {
        Some(name) => Err(ApiError::unexpected(name)),
        None => Ok(()),
    }
}

/// What became of a call.
#[derive(Default)]
struct Deleted {
    links: JobLinks,
    /// Those whose jobs these are.
    versions: Vec<String>,
    /// Every package that was meant is gone.
    is_over: bool,
}

impl Deleted {
    fn begun(&mut self, version: &str, job: JobId) {
        self.versions.push(version.to_owned());
        self.links.num_records += 1;
        self.links.jobs.push(JobLink::new(job.to_string()).job);
    }

    /// For the log, which knows only the condition.
    fn told(&self) -> Told {
        let jobs: Vec<&str> = self
            .links
            .jobs
            .iter()
            .map(|job| job.uuid.as_str())
            .collect();
        match jobs.is_empty() {
            true => Told::default(),
            false => Told::of("deleted", &self.versions.join(",")).and("jobs", &jobs.join(",")),
        }
    }
}

/// One after another, since a delete excludes any other. What is refused after the first does not hide what was
/// begun before.
async fn delete(
    app: &App,
    asked: &Asked,
    meant: &Meant,
    return_timeout: Duration,
) -> Result<Deleted, ApiError> {
    let begun = Instant::now();
    let versions = versions(app, meant).await?;
    // All of them before the first is gone.
    let parsed = versions.iter().map(|version| parse(version));
    let parsed: Vec<Version> = parsed.collect::<Result<_, _>>()?;
    let mut done = Deleted::default();
    for (index, version) in parsed.into_iter().enumerate() {
        let job = match begin(app, asked, version).await {
            Ok(job) => job,
            Err(error) if index == 0 => return Err(error),
            Err(error) => {
                done.links.error = Some(error.body().error);
                return Ok(done);
            }
        };
        done.begun(&versions[index], job);
        let rest = &versions[index + 1..];
        let patience = match rest {
            [] => return_timeout,
            [..] => return_timeout.max(DELETING),
        };
        match state(app, job, patience.saturating_sub(begun.elapsed())).await {
            JobState::Success => {}
            // Its job says why, and the client reads it.
            JobState::Failure => return Ok(done),
            JobState::Queued | JobState::Running | JobState::Paused => {
                done.links.links = (!rest.is_empty()).then(|| next(rest));
                return Ok(done);
            }
        }
    }
    done.is_over = true;
    Ok(done)
}

async fn begin(app: &App, asked: &Asked, version: Version) -> Result<JobId, ApiError> {
    let by = asked.caller.user.clone();
    Ok(app.door.delete_package(version, by).await?)
}

/// The job's state once it has ended, or after a while. One that cannot be seen goes on.
async fn state(app: &App, job: JobId, patience: Duration) -> JobState {
    if patience.is_zero() {
        return JobState::Running;
    }
    match app.cluster.wait_job(job, patience).await {
        Ok(seen) => seen.map_or(JobState::Running, |job| job.state),
        Err(refusal) => {
            tracing::warn!(%job, %refusal, "cannot wait for the job; the client will poll it");
            JobState::Running
        }
    }
}

fn parse(version: &str) -> Result<Version, ApiError> {
    let absent = |_| ApiError::new(Code::NoPackage).target("version");
    Version::new(version).map_err(absent)
}

async fn versions(app: &App, meant: &Meant) -> Result<Vec<String>, ApiError> {
    match meant {
        Meant::Named(versions) => Ok(versions.clone()),
        Meant::Matching(query) => {
            let packages = app.cluster.packages().await?;
            let matching = packages
                .into_iter()
                .filter(|package| is_asked_for(query, &json(package)));
            Ok(matching.map(|package| package.version).collect())
        }
    }
}

/// The same call for the packages that are left.
fn next(rest: &[String]) -> Links {
    let versions = Filter::any_of(rest.iter().cloned()).to_string();
    let href = format!("{}?version={}", Package::PATH, encode_component(&versions));
    Links {
        this: None,
        next: Some(Href { href }),
    }
}
