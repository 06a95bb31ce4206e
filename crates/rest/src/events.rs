//! Evenkeel's own endpoints.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evenkeel_api::{ApiError, Audit, Code, EventLine};
use evenkeel_model::Role;
use futures_util::StreamExt;
use serde_json::Value;

use crate::app::Shared;
use crate::project;
use crate::request::Asked;
use crate::respond::{Failure, json};

/// Requests that an answer shows of the audit log, and those it shows unless more are asked for.
const MOST_AUDITED: u32 = 1000;
const USUALLY_AUDITED: u32 = 100;

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
/// client goes on after a break with the last `seq` it saw. Without `follow`, an answer that ends properly has all.
pub(crate) async fn events(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let since = params.take("since");
        let since = since.map_or(Ok(0), |text| {
            text.parse()
                .map_err(|_| ApiError::invalid("since", &text, "integer"))
        })?;
        let follow = params.take_bool("follow")?.unwrap_or(true);
        params.finish()?;
        Ok(app.cluster.events(since, follow).await?)
    };
    let events = result.await.map_err(|error| asked.failure(error))?;
    let (caller, sees_users) = (asked.caller.clone(), asked.caller.role.covers(Role::Admin));
    let events = events.take_while(move |_| {
        let (app, caller) = (Arc::clone(&app), caller.clone());
        async move { app.is_still_let_in(&caller).await }
    });
    let events = events.filter(move |event| {
        let shown = sees_users || !event.as_ref().is_ok_and(is_of_users);
        std::future::ready(shown)
    });
    // An error cuts the answer, so that no client takes the last line for the end.
    let lines = events.map(|event| event.map(|event| line(&event)));
    let mut response = Body::from_stream(lines).into_response();
    let jsonl = HeaderValue::from_static("application/jsonl");
    response.headers_mut().insert(header::CONTENT_TYPE, jsonl);
    Ok(response)
}

/// Whether it says who the users are: for admins alone, as the list of them is.
fn is_of_users(event: &EventLine) -> bool {
    let kind = event.event.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.starts_with("user_"))
}

/// `GET /evenkeel/v1/audit?max_records=N&user=NAME`: the newest requests that would have changed something, of
/// all nodes.
pub(crate) async fn audit(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let most = params.take_int("max_records", 1..=MOST_AUDITED)?;
        let most = most.unwrap_or(USUALLY_AUDITED) as usize;
        let user = params.take("user");
        params.finish()?;
        let absent = || ApiError::new(Code::UnknownUrl);
        let audits = app.audits.as_ref().ok_or_else(absent)?;
        // Of one user's requests as many as there are among the newest of each node.
        let wanted = if user.is_some() {
            MOST_AUDITED as usize
        } else {
            most
        };
        let (mut silent_nodes, mut records) = (Vec::new(), Vec::new());
        for (node, known) in audits.newest(wanted).await {
            match known {
                Some(known) => records.extend(known.into_iter().map(|it| (node.clone(), it))),
                None => silent_nodes.push(node.to_string()),
            }
        }
        records.retain(|(_, it)| user.is_none() || it.user == user);
        records.sort_by_key(|(_, it)| it.at.timestamp());
        let records = records.split_off(records.len().saturating_sub(most));
        let audit = Audit {
            num_records: records.len(),
            records: records.into_iter().map(project::audited).collect(),
            silent_nodes,
        };
        Ok(audit)
    };
    let audit = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json(&audit)))
}

fn line(event: &EventLine) -> Bytes {
    let mut line = serde_json::to_vec(event).expect("text keys, no failing fields");
    line.push(b'\n');
    line.into()
}
