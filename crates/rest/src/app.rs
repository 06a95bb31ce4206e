//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use evenkeel_api::{ApiError, Code, Download, Job, Package, Resource, Software};
use evenkeel_model::{Role, UserName};
use evenkeel_seam::Ids;

use crate::audit::{AuditLog, Audits};
use crate::auth::Auth;
use crate::busy::{Most, Share, Shares};
use crate::caller::Caller;
use crate::cluster::{Certificates, Cluster, FrontDoor};
use crate::enter::enter;
use crate::kept::Kept;
use crate::resources::{member_path, reads};
use crate::respond::Failure;
use crate::routes::Routes;
use crate::{
    certificate, events, firmware, jobs, packages, page, permit, plan, settings, software,
    transfers, upload, users,
};

/// Requests at once, those that wait for a job and streams of events included: of one user, so that one leaves room
/// for others, and of all. What only admins may have, and in the end root on the controller, is theirs to put an end to
/// whatever takes the rest.
fn most_requests(caller: &Caller) -> Most {
    let (all, each) = match caller.role {
        Role::Admin if caller.is_local => (512, 512),
        Role::Admin => (448, 320),
        Role::Stager | Role::Readonly | Role::Unknown => (320, 192),
    };
    Most { all, each }
}

/// What every handler shares.
pub(crate) struct App {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) door: Arc<dyn FrontDoor>,
    pub(crate) auth: Auth,
    pub(crate) requests: Arc<Shares<UserName>>,
    pub(crate) kept: Kept,
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) audits: Option<Arc<dyn Audits>>,
    pub(crate) certificates: Option<Arc<dyn Certificates>>,
}

pub(crate) type Shared = State<Arc<App>>;

impl App {
    /// One more request of this caller, if there may be one.
    pub(crate) fn share(&self, caller: &Caller) -> Option<Share<UserName>> {
        self.requests
            .take(caller.user.clone(), most_requests(caller))
    }

    /// Whether whoever was let in a while ago would be let in now, as the same: what takes long must not outlive its
    /// user's right to it. A picture that cannot be had takes nothing away.
    pub(crate) async fn is_still_let_in(&self, caller: &Caller) -> bool {
        if caller.is_local {
            return true;
        }
        match self.cluster.account(&caller.user).await {
            Ok(account) => account.is_some_and(|account| account.role == caller.role),
            Err(_) => true,
        }
    }
}

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
            requests: Shares::new(),
            kept: Kept::default(),
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

/// Every call of the API.
fn calls() -> Routes {
    reads(Routes::default())
        .on(Method::PATCH, Software::PATH, software::patch)
        .on(Method::POST, Download::PATH, software::download)
        .on(Method::POST, permit::UPLOAD, upload::upload)
        .on(Method::PUT, permit::PACKAGES, upload::put)
        .on(Method::DELETE, Package::PATH, packages::delete_many)
        .on(
            Method::DELETE,
            &member_path::<Package>(),
            packages::delete_one,
        )
        .on(Method::PATCH, &member_path::<Job>(), jobs::act)
        .on(Method::GET, "/evenkeel/v1/explain", events::explain)
        .on(Method::GET, "/evenkeel/v1/events", events::events)
        .on(Method::GET, "/evenkeel/v1/plan", plan::plan)
        .on(Method::GET, "/evenkeel/v1/estimates", plan::estimates)
        .on(Method::GET, "/evenkeel/v1/estimates/{uuid}", plan::estimate)
        .on(Method::GET, "/evenkeel/v1/keys", settings::keys)
        .on(Method::POST, "/evenkeel/v1/keys", settings::trust)
        .on(Method::DELETE, "/evenkeel/v1/keys/{id}", settings::revoke)
        .on(Method::GET, ACKNOWLEDGEMENTS, settings::acknowledgements)
        .on(Method::POST, ACKNOWLEDGEMENTS, settings::acknowledge)
        .on(Method::DELETE, ACKNOWLEDGEMENT, settings::withdraw)
        .on(Method::GET, "/evenkeel/v1/retention", settings::retention)
        .on(
            Method::PUT,
            "/evenkeel/v1/retention",
            settings::set_retention,
        )
        .on(Method::GET, "/evenkeel/v1/gates", settings::gates)
        .on(Method::PATCH, "/evenkeel/v1/gates", settings::set_gates)
        .on(Method::GET, permit::USERS, users::users)
        .on(Method::POST, permit::USERS, users::create)
        .on(Method::GET, permit::USER, users::user)
        .on(Method::PATCH, permit::USER, users::change)
        .on(Method::DELETE, permit::USER, users::delete)
        .on(Method::GET, permit::CERTIFICATE, certificate::certificate)
        .on(Method::PUT, permit::CERTIFICATE, certificate::replace)
        .on(Method::GET, permit::AUDIT, events::audit)
        .on(Method::GET, "/evenkeel/v1/transfers", transfers::transfers)
        .on(Method::GET, "/evenkeel/v1/devices", firmware::devices)
        .on(Method::GET, FIRMWARE, firmware::firmware)
        .on(Method::PATCH, FIRMWARE, firmware::set_background)
        .on(Method::DELETE, WAITING_FIRMWARE, firmware::withdraw)
}

const ACKNOWLEDGEMENTS: &str = "/evenkeel/v1/acknowledgements";
const ACKNOWLEDGEMENT: &str = "/evenkeel/v1/acknowledgements/{check}";
const FIRMWARE: &str = "/evenkeel/v1/firmware";
const WAITING_FIRMWARE: &str = "/evenkeel/v1/firmware/{digest}";

/// Methods and addresses of every call.
#[cfg(test)]
pub(crate) fn served() -> Vec<(Method, String)> {
    calls().served()
}

fn routes(app: Arc<App>) -> Router {
    let routes = calls()
        .into_router()
        .merge(page::routes())
        // Who reads a body bounds it: packages have no bound but the disk's.
        .layer(DefaultBodyLimit::disable())
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
