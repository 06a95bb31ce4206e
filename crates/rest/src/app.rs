//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use evenkeel_api::{ApiError, Code, Download, History, Job, Node, Package, Resource, Software};
use evenkeel_seam::Ids;

use crate::auth::Auth;
use crate::caller::{Caller, Peer};
use crate::cluster::{Cluster, FrontDoor};
use crate::resources::{collection, member, singleton};
use crate::respond::Failure;
use crate::{events, permit, plan, settings, software, transfers, upload, users};

/// What every handler shares.
pub(crate) struct App {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) door: Arc<dyn FrontDoor>,
    pub(crate) auth: Auth,
}

pub(crate) type Shared = State<Arc<App>>;

/// The whole API.
pub fn router(cluster: Arc<dyn Cluster>, door: Arc<dyn FrontDoor>, ids: &dyn Ids) -> Router {
    let app = Arc::new(App {
        auth: Auth::new(ids),
        cluster,
        door,
    });
    let routes = Router::new()
        .route(
            evenkeel_api::Cluster::PATH,
            get(singleton::<evenkeel_api::Cluster>),
        )
        .route(Node::PATH, get(collection::<Node>))
        .route("/api/cluster/nodes/{key}", get(member::<Node>))
        .route(
            Software::PATH,
            get(singleton::<Software>).merge(patch(software::patch)),
        )
        .route(
            Download::PATH,
            get(singleton::<Download>).merge(post(software::download)),
        )
        .route(
            permit::UPLOAD,
            post(upload::upload).layer(DefaultBodyLimit::disable()),
        )
        .route(
            permit::PACKAGES,
            put(upload::put).layer(DefaultBodyLimit::disable()),
        )
        .route(History::PATH, get(collection::<History>))
        .route(Package::PATH, get(collection::<Package>))
        .route(
            "/api/cluster/software/packages/{key}",
            get(member::<Package>).delete(software::delete_package),
        )
        .route(Job::PATH, get(collection::<Job>))
        .route("/api/cluster/jobs/{key}", get(member::<Job>))
        .route("/evenkeel/v1/explain", get(events::explain))
        .route("/evenkeel/v1/events", get(events::events))
        .route("/evenkeel/v1/plan", get(plan::plan))
        .route("/evenkeel/v1/estimates", get(plan::estimates))
        .route("/evenkeel/v1/estimates/{key}", get(plan::estimate))
        .route(
            "/evenkeel/v1/keys",
            get(settings::keys).post(settings::trust),
        )
        .route("/evenkeel/v1/keys/{key}", delete(settings::revoke))
        .route(
            "/evenkeel/v1/acknowledgements",
            get(settings::acknowledgements).post(settings::acknowledge),
        )
        .route(
            "/evenkeel/v1/acknowledgements/{key}",
            delete(settings::withdraw),
        )
        .route(
            "/evenkeel/v1/retention",
            get(settings::retention).put(settings::set_retention),
        )
        .route(
            "/evenkeel/v1/gates",
            get(settings::gates).patch(settings::set_gates),
        )
        .route(permit::USERS, get(users::users).post(users::create))
        .route(
            permit::USER,
            get(users::user).patch(users::change).delete(users::delete),
        )
        .route("/evenkeel/v1/transfers", get(transfers::transfers))
        .fallback(unknown_url)
        .method_not_allowed_fallback(other_method)
        .with_state(Arc::clone(&app))
        .layer(from_fn_with_state(app, authenticate));
    // Paths are put in order before they are matched, so the routes sit behind another router.
    Router::new()
        .fallback_service(routes)
        .layer(map_request(tidy_path))
}

async fn authenticate(State(app): Shared, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&app, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            let request = Request::from_parts(parts, body);
            let is_read = request.method().is_safe();
            let mut response = next.run(request).await;
            if let Some(age) = app.cluster.age().filter(|_| is_read) {
                response
                    .headers_mut()
                    .insert(header::AGE, age.as_secs().into());
            }
            response
        }
        Err(error) => Failure::new(&parts.headers, error).into_response(),
    }
}

/// Who asks, if that one may.
async fn admit(app: &App, parts: &Parts) -> Result<Caller, ApiError> {
    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
    let cluster = app.cluster.as_ref();
    let caller = app.auth.check(cluster, &parts.headers, &peer).await?;
    let route = parts.extensions.get::<MatchedPath>();
    permit::check(&caller, &parts.method, route.map(MatchedPath::as_str))?;
    Ok(caller)
}

async fn unknown_url(request: Request) -> Failure {
    Failure::new(request.headers(), ApiError::new(Code::UnknownUrl))
}

/// Any method a URL does not have; axum adds `Allow`. `OPTIONS` asks for nothing else.
async fn other_method(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    Failure::new(request.headers(), ApiError::new(Code::MethodNotAllowed)).into_response()
}

/// Collapses repeated slashes and drops one at the end: clients build addresses by pasting.
async fn tidy_path<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let path = request.uri().path();
    if path.contains("//") || (path.len() > 1 && path.ends_with('/')) {
        let segments: Vec<_> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let query = request
            .uri()
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let tidy = format!("/{}{query}", segments.join("/"));
        *request.uri_mut() = tidy.parse::<Uri>().expect("made of parts of a valid URI");
    }
    request
}
