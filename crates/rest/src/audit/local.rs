//! What root on the controller asks of its own daemon beside the API: kept as what the API is asked for.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use evenkeel_model::Role;

use super::log::{Asking, AuditLog};
use super::summary::of_body;
use crate::caller::{LOCAL_ROOT, Peer};
use crate::enter::outcome;
use crate::request::read_body;
use crate::respond::Failure;

/// Notes in `log`, where there is one, what these routes of the local socket are asked to change, before it is carried out, and what
/// became of it. What they do not route is not noted here.
pub fn noted_locally(routes: Router, log: Option<Arc<AuditLog>>) -> Router {
    let Some(log) = log else {
        return routes;
    };
    routes.route_layer(from_fn(move |request: Request, next: Next| {
        let log = Arc::clone(&log);
        async move { note(&log, request, next).await }
    }))
}

async fn note(log: &Arc<AuditLog>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(error) => return Failure::new(&parts.headers, error).into_response(),
    };
    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
    let mut asking = Asking {
        user: Some(LOCAL_ROOT.to_owned()),
        role: Some(Role::Admin.to_string()),
        from: peer.origin.to_string(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        ..Asking::default()
    };
    of_body(&mut asking.what, &body);
    let noted = log.asked(asking).await;
    let request = Request::from_parts(parts, Body::from(body));
    let response = next.run(request).await;
    noted.ended(outcome(&response)).await;
    response
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::post;
    use evenkeel_model::BootId;
    use evenkeel_seam::{RandomIds, SystemClock};
    use tower::ServiceExt;

    use super::*;
    use crate::respond::ErrorNumber;

    async fn refuse() -> Response {
        let mut response = StatusCode::CONFLICT.into_response();
        response.extensions_mut().insert(ErrorNumber(7));
        response
    }

    #[tokio::test]
    async fn a_change_is_noted_with_its_outcome_and_without_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new(BootId(uuid::Uuid::from_u128(1))));
        let log = AuditLog::open(dir.path(), clock, Arc::new(RandomIds)).unwrap();
        let routes = Router::new().route("/join", post(refuse).get(|| async { "look" }));
        let routes = noted_locally(routes, Some(Arc::clone(&log)));
        let ask = |method: &str, path: &str| {
            let body = r#"{"token": "s3cret", "password": "s3cret", "partner": "n2", "node": {"x": "s3cret"}}"#;
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::from(body)).unwrap();
            routes.clone().oneshot(request)
        };
        for (method, path) in [("GET", "/join"), ("POST", "/elsewhere"), ("POST", "/join")] {
            ask(method, path).await.unwrap();
        }
        let records = log.newest(9);
        let [record] = records.as_slice() else {
            panic!("{records:?}");
        };
        assert_eq!(record.user.as_deref(), Some("local-root"));
        let outcome = record.outcome.as_ref().unwrap();
        assert_eq!((outcome.status, outcome.code), (Some(409), Some(7)));
        assert_eq!(record.what["partner"], "n2");
        assert_eq!(record.what["token"], "(given)");
        assert!(!format!("{record:?}").contains("s3cret"), "{record:?}");
    }
}
