//! The certificate of this node: `/evenkeel/v1/certificate`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{ApiError, Certificate, Code, NewCertificate};

use crate::app::{App, Shared};
use crate::audit::Told;
use crate::cluster::Certificates;
use crate::request::{Asked, object};
use crate::respond::{Failure, json};

/// `GET /evenkeel/v1/certificate`.
pub(crate) async fn certificate(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        Ok(json(&shown(certificates(&app)?.as_ref())?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `PUT /evenkeel/v1/certificate`: of the node that is asked, and of no other.
pub(crate) async fn replace(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        not_on_a_mirrors_word(&app, &asked)?;
        let new: NewCertificate = object(body).await?;
        let certificates = certificates(&app)?;
        Arc::clone(certificates).replace(new).await?;
        let shown = shown(certificates.as_ref())?;
        let told = Told::of("fingerprint_sha256", &shown.fingerprint_sha256);
        Ok((json(&shown), told))
    };
    let (body, told) = result.await.map_err(|error| asked.failure(error))?;
    Ok(told.on(asked.form.answer(StatusCode::OK, body)))
}

/// The only change that a node makes without the record, so the only one that somebody could make whom the record
/// does not let in any more. Root on the controller needs no record to be let in.
fn not_on_a_mirrors_word(app: &App, asked: &Asked) -> Result<(), ApiError> {
    let Some(age) = app.cluster.age() else {
        return Ok(());
    };
    if asked.caller.is_local {
        return Ok(());
    }
    let text = format!(
        "This node has not reached the cluster's record for {} s, so it cannot know whether user \"{}\" may still do \
         that: it is temporarily locked. Nothing was changed; try again, or ask as root on the controller (--local).",
        age.as_secs(),
        asked.caller.user
    );
    Err(ApiError::with(Code::TemporarilyUnavailable, text))
}

fn certificates(app: &App) -> Result<&Arc<dyn Certificates>, ApiError> {
    let absent = || ApiError::new(Code::UnknownUrl);
    app.certificates.as_ref().ok_or_else(absent)
}

fn shown(certificates: &dyn Certificates) -> Result<Certificate, ApiError> {
    let none = || ApiError::with(Code::NoEntry, "There is no certificate yet.");
    certificates.shown().ok_or_else(none)
}
