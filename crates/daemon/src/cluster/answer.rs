//! Answers over the local socket: JSON, in the API's form.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{ApiError, Code};
use evenkeel_model::{Refusal, code};
use evenkeel_rest::ErrorNumber;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The object, or what was wrong.
pub(super) fn answer<T: Serialize>(outcome: Result<T, ApiError>) -> Response {
    match outcome {
        Ok(object) => json(StatusCode::OK, &object),
        Err(error) => failure(&error),
    }
}

/// What was wrong.
pub(super) fn failure(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error.body());
    // For the audit log, which sees nothing else of it.
    response.extensions_mut().insert(ErrorNumber(error.number));
    response
}

fn json(status: StatusCode, object: &impl Serialize) -> Response {
    let body = serde_json::to_vec(object).expect("answers are plain data: JSON can say it");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", kind);
    response
}

/// What was asked.
pub(super) fn asked<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("The request cannot be understood: {error}.");
        ApiError::with(Code::InvalidField, text)
    })
}

/// A refusal, as the API says it.
pub(super) fn refused(refusal: Refusal) -> ApiError {
    let error = ApiError::from_number(refusal.code, refusal.message);
    match refusal.target {
        Some(target) => error.target(target),
        None => error,
    }
}

/// Something of this machine is in the way. Nothing was changed that a repetition does not put right.
pub(super) fn trouble(doing: &str, error: &(dyn std::error::Error + 'static)) -> ApiError {
    let text = format!("Cannot {doing}: {}.", crate::error::chain(error));
    ApiError::with(Code::InternalError, text)
}

/// It does not fit what is so.
pub(super) fn conflict(text: impl Into<String>) -> ApiError {
    ApiError::from_number(code::IN_USE, text)
}
