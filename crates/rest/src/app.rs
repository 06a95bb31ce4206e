//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use evenkeel_api::{ApiError, Code, Download, Job, Package, Resource, Software};
use evenkeel_model::UserName;
use evenkeel_seam::Ids;

use crate::audit::{AuditLog, Audits};
use crate::auth::Auth;
use crate::busy::Shares;
use crate::cluster::{Certificates, Cluster, FrontDoor};
use crate::enter::enter;
use crate::resources::{member_path, reads};
use crate::respond::Failure;
use crate::{
    certificate, events, jobs, packages, permit, plan, settings, software, transfers, upload, users,
};

/// Requests at once of all who were let in, those that wait for a job and streams of events included; and of one
/// user, so that one leaves room for others.
const MAX_REQUESTS: usize = 512;
const MAX_REQUESTS_EACH: usize = 384;

/// What every handler shares.
pub(crate) struct App {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) door: Arc<dyn FrontDoor>,
    pub(crate) auth: Auth,
    pub(crate) requests: Arc<Shares<UserName>>,
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) audits: Option<Arc<dyn Audits>>,
    pub(crate) certificates: Option<Arc<dyn Certificates>>,
}

pub(crate) type Shared = State<Arc<App>>;

/// What the API is made of.
pub struct Api {
    app: App,
}

impl Api {
    /// The API, without a log of what is asked.
    pub fn new(cluster: Arc<dyn Cluster>, door: Arc<dyn FrontDoor>, ids: &dyn Ids) -> Self {
        let app = App {
            auth: Auth::new(ids),
            cluster,
            door,
            requests: Shares::new(MAX_REQUESTS, MAX_REQUESTS_EACH),
            audit: None,
            audits: None,
            certificates: None,
        };
        Self { app }
    }

    /// Keeps what is asked of this node in `log`, where there is one, and shows the logs of all.
    #[must_use]
    pub fn with_audit(mut self, log: Option<Arc<AuditLog>>, all: Arc<dyn Audits>) -> Self {
        self.app.audit = log;
        self.app.audits = Some(all);
        self
    }

    /// Shows this node's certificate, and takes another.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Arc<dyn Certificates>) -> Self {
        self.app.certificates = Some(certificates);
        self
    }

    /// The whole API.
    pub fn router(self) -> Router {
        routes(Arc::new(self.app))
    }
}

/// The whole API, without a log of what is asked.
pub fn router(cluster: Arc<dyn Cluster>, door: Arc<dyn FrontDoor>, ids: &dyn Ids) -> Router {
    Api::new(cluster, door, ids).router()
}

fn routes(app: Arc<App>) -> Router {
    let routes = reads()
        .route(Software::PATH, patch(software::patch))
        .route(Download::PATH, post(software::download))
        .route(
            permit::UPLOAD,
            post(upload::upload).layer(DefaultBodyLimit::disable()),
        )
        .route(
            permit::PACKAGES,
            put(upload::put).layer(DefaultBodyLimit::disable()),
        )
        .route(Package::PATH, delete(packages::delete_many))
        .route(&member_path::<Package>(), delete(packages::delete_one))
        .route(&member_path::<Job>(), patch(jobs::act))
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
        .route(
            permit::CERTIFICATE,
            get(certificate::certificate).put(certificate::replace),
        )
        .route(permit::AUDIT, get(events::audit))
        .route("/evenkeel/v1/transfers", get(transfers::transfers))
        .fallback(unknown_url)
        .method_not_allowed_fallback(other_method)
        .with_state(Arc::clone(&app))
        .layer(from_fn_with_state(app, enter));
    // Paths are put in order before they are matched, so the routes sit behind another router.
    Router::new()
        .fallback_service(routes)
        .layer(map_request(tidy_path))
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
