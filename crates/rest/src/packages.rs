//! The delete of packages.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{
    ApiError, Code, CollectionQuery, Filter, Href, Job, JobLink, JobLinks, JobState, Links,
    Package, Params, Resource, encode_component,
};
use evenkeel_model::Version;
use tokio::time::Instant;

use crate::app::{App, Shared};
use crate::asynchronous::answer;
use crate::list::is_asked_for;
use crate::request::{Asked, Fields};
use crate::respond::{Failure, json};

/// Time for one call to delete packages one after another; the rest is left to the next. Below the time
/// that clients wait for an answer.
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
        answer(cluster, job, return_timeout, StatusCode::OK, asked.form).await
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
        params.take_for_change()?;
        let meant = meant(params, Fields::read(body).await?)?;
        let deleted = delete(&app, &asked, &meant).await?;
        let status = match deleted.jobs.is_empty() {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        };
        Ok(asked.form.answer(status, json(&deleted)))
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

/// One after another, since a delete excludes any other.
async fn delete(app: &App, asked: &Asked, meant: &Meant) -> Result<JobLinks, ApiError> {
    let deadline = Instant::now() + DELETING;
    let versions = versions(app, meant).await?;
    // All of them before the first is gone.
    let parsed: Vec<Version> = versions
        .iter()
        .map(|it| parse(it))
        .collect::<Result<_, _>>()?;
    let mut done = JobLinks::default();
    for (index, version) in parsed.into_iter().enumerate() {
        let job = app.door.delete_package(version, asked.caller.user.clone());
        let job = job.await?;
        done.num_records += 1;
        done.jobs.push(JobLink::new(job.to_string()).job);
        let rest = &versions[index + 1..];
        if rest.is_empty() {
            break;
        }
        let time = deadline.saturating_duration_since(Instant::now());
        match app
            .cluster
            .wait_job(job, time)
            .await?
            .map(|job: Job| job.state)
        {
            Some(JobState::Success) => {}
            // Its job says why, and the client reads it.
            Some(JobState::Failure) => break,
            Some(JobState::Queued | JobState::Running | JobState::Paused) | None => {
                done.links = Some(next(rest));
                break;
            }
        }
    }
    Ok(done)
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
