//! Evenkeel's own endpoints.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evenkeel_api::EventLine;
use futures_util::StreamExt;

use crate::app::Shared;
use crate::request::Asked;
use crate::respond::{Failure, json};

/// `GET /evenkeel/v1/explain`.
pub(crate) async fn explain(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        Ok(app.cluster.explain(app.door.awaiting().await).await?)
    };
    let explain = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json(&explain)))
}

/// `GET /evenkeel/v1/events?since=N&follow=BOOL`: JSON lines, for as long as the client listens. A
/// client goes on after a break with the last `seq` it saw.
pub(crate) async fn events(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let since = params.take("since");
        let since = since.map_or(Ok(0), |text| {
            text.parse()
                .map_err(|_| evenkeel_api::ApiError::invalid("since", &text, "integer"))
        })?;
        let follow = params.take_bool("follow")?.unwrap_or(true);
        params.finish()?;
        Ok(app.cluster.events(since, follow).await?)
    };
    let events = result.await.map_err(|error| asked.failure(error))?;
    let lines = events.map(|event| Ok::<_, std::convert::Infallible>(line(&event)));
    let mut response = Body::from_stream(lines).into_response();
    let jsonl = HeaderValue::from_static("application/jsonl");
    response.headers_mut().insert(header::CONTENT_TYPE, jsonl);
    Ok(response)
}

fn line(event: &EventLine) -> Bytes {
    let mut line = serde_json::to_vec(event).expect("text keys, no failing fields");
    line.push(b'\n');
    line.into()
}
