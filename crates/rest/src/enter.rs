//! What every request passes before its handler, and what is kept of it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use evenkeel_api::{ApiError, Code};
use evenkeel_model::AuditOutcome;

use crate::app::{App, Shared};
use crate::audit::{Asking, Noted, Told, of_body, of_query};
use crate::auth::NotLetIn;
use crate::caller::{Caller, Origin, Peer};
use crate::pace::Pace;
use crate::permit;
use crate::request::read_body;
use crate::respond::{ErrorNumber, Failure};
use crate::server::Held;

/// Longest path that is kept of a request.
const MAX_PATH: usize = 300;

/// Lets in who may, and notes what would change something.
pub(crate) async fn enter(State(app): Shared, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
    let caller = match admit(&app, &parts, &peer).await {
        Ok(caller) => caller,
        Err(refused) => return turn_away(&app, &parts, &peer, refused).await,
    };
    if let Some(pace) = parts.extensions.get::<Arc<Pace>>() {
        pace.let_in();
    }
    let Some(share) = app.share(&caller) else {
        return Failure::new(&parts.headers, too_many()).into_response();
    };
    let held = Held(Arc::new(share));
    let mut response = let_in(&app, (parts, body), (&peer, caller), next).await;
    // Until its last byte has gone.
    response.extensions_mut().insert(held);
    response
}

fn too_many() -> ApiError {
    let message =
        "The API is temporarily locked: too many requests are under way. Try again in a moment.";
    ApiError::with(Code::TemporarilyUnavailable, message)
}

async fn let_in(
    app: &App,
    (mut parts, body): (Parts, Body),
    (peer, caller): (&Peer, Caller),
    next: Next,
) -> Response {
    parts.extensions.insert(caller.clone());
    if parts.method.is_safe() {
        let mut response = next.run(Request::from_parts(parts, body)).await;
        if let Some(age) = app.cluster.age() {
            let headers = response.headers_mut();
            headers.insert(header::AGE, age.as_secs().into());
        }
        return response;
    }
    let mut asking = asking(&parts, peer);
    asking.user = Some(caller.user.to_string());
    asking.role = Some(caller.role.to_string());
    let body = match examined(&mut asking, &parts, body).await {
        Ok(body) => body,
        Err(error) => return Failure::new(&parts.headers, error).into_response(),
    };
    let noted = note(app, asking).await;
    let response = next.run(Request::from_parts(parts, body)).await;
    if let Some(noted) = noted {
        noted.ended(outcome(&response)).await;
    }
    response
}

/// Who asks, if that one may.
async fn admit(app: &App, parts: &Parts, peer: &Peer) -> Result<Caller, NotLetIn> {
    if !parts.method.is_safe() && is_of_another_site(&parts.headers) {
        let message = "not authorized for that command: a page of another site asks for it";
        return Err(ApiError::with(Code::Forbidden, message).into());
    }
    let cluster = app.cluster.as_ref();
    let caller = app.auth.check(cluster, &parts.headers, peer).await?;
    let route = parts.extensions.get::<MatchedPath>();
    match permit::check(&caller, &parts.method, route.map(MatchedPath::as_str)) {
        Ok(()) => Ok(caller),
        Err(error) => Err(NotLetIn {
            user: Some(caller.user),
            error,
        }),
    }
}

/// Whether a browser was made to ask by a page that is not this server's. It would add the credentials that its
/// user once gave; nothing but a browser sends these headers.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if let Some("cross-site" | "same-site") = site {
        return true;
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, own)| own != host),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// Answers who may not. A client that asks without credentials first, to learn which are wanted, is not
/// worth a note.
async fn turn_away(app: &App, parts: &Parts, peer: &Peer, refused: NotLetIn) -> Response {
    let is_refusal = refused.error.number != Code::TemporarilyUnavailable.number();
    let tried = peer.certificate.is_some() || parts.headers.contains_key(header::AUTHORIZATION);
    if let Some(log) = &app.audit
        && is_refusal
        && (tried || !parts.method.is_safe())
    {
        let mut asking = asking(parts, peer);
        asking.user = refused.user.map(String::from);
        let outcome = AuditOutcome {
            status: Some(refused.error.status),
            code: Some(refused.error.number),
            ..AuditOutcome::default()
        };
        log.refused(asking, outcome).await;
    }
    Failure::new(&parts.headers, refused.error).into_response()
}

fn asking(parts: &Parts, peer: &Peer) -> Asking {
    let path = parts.uri.path();
    let mut asking = Asking {
        from: peer.origin.to_string(),
        method: parts.method.to_string(),
        path: path.chars().take(MAX_PATH).collect(),
        ..Asking::default()
    };
    of_query(&mut asking.what, parts.uri.query().unwrap_or_default());
    if let (Origin::Address(_), Some(name)) = (peer.origin, &peer.certificate) {
        asking
            .what
            .insert("client_certificate".to_owned(), name.to_string());
    }
    asking
}

/// Reads a body that is not a package, to see what is asked.
async fn examined(asking: &mut Asking, parts: &Parts, body: Body) -> Result<Body, ApiError> {
    let path = parts.uri.path();
    if [permit::UPLOAD, permit::PACKAGES].contains(&path) {
        return Ok(body);
    }
    let bytes = read_body(body).await?;
    of_body(&mut asking.what, &bytes);
    Ok(Body::from(bytes))
}

async fn note(app: &App, asking: Asking) -> Option<Noted> {
    match &app.audit {
        Some(log) => Some(log.asked(asking).await),
        None => None,
    }
}

/// What became of a request.
pub(crate) fn outcome(response: &Response) -> AuditOutcome {
    let extensions = response.extensions();
    let told = extensions.get::<Told>().cloned().unwrap_or_default();
    AuditOutcome {
        status: Some(response.status().as_u16()),
        code: extensions.get::<ErrorNumber>().map(|number| number.0),
        job: told.job,
        told: told.what,
    }
}
