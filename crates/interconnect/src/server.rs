//! The node-to-node server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_model::{Link, NodeName};
use evenkeel_seam::watch;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::Acceptor;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::activity::{Activity, paced};
use crate::join::{JOIN_PROTOCOL, JoinDoor, JoinService};
use crate::link::Gate;
use crate::members::{Member, Members};
use crate::message::{AgentRequest, AgentService, PROTOCOL};
use crate::package::{PackageSource, Wanted};
use crate::record::{MAX_RECORD_BYTES, MAX_RECORD_CALLS, RECORD_BODY_TIMEOUT, RecordServing};
use crate::tls::{TlsIdentity, member_of};
use crate::uplink::Uplink;

/// Path of the agent.
pub(crate) const AGENT_PATH: &str = "/v1/agent";
/// Path of a pair's record.
pub(crate) const RECORD_PATH: &str = "/v1/record";
/// The packages; below it, each by its digest.
pub(crate) const PACKAGES_PATH: &str = "/v1/packages";
/// Below a package: the chunk list of its archive.
pub(crate) const CHUNKS: &str = "chunks";
/// Below a package: tells that the copy here seems bad.
pub(crate) const SUSPECT: &str = "suspect";
/// The protocol that a request is written in.
pub(crate) const PROTOCOL_HEADER: &str = "evenkeel-protocol";
/// Bytes of the whole archive.
pub(crate) const TOTAL_HEADER: &str = "evenkeel-total";
/// More than any order has: a peer cannot make a node hold more in memory.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// A cluster has 24 nodes, each with a few connections.
const MAX_CONNECTIONS: usize = 256;
/// Transfers served at once: a chain needs one or two, and the others' agents must get through as well.
const MAX_TRANSFERS: usize = 16;
/// A peer that does not finish its handshake does not keep a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A request is small: its head and body come at once or not at all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptors, say) there is no use in trying at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a node serves to its peers.
pub struct ServerParts {
    /// Where.
    pub listener: TcpListener,
    /// Who it is.
    pub identity: TlsIdentity,
    /// Whom it hears.
    pub members: watch::Receiver<Members>,
    /// Who answers.
    pub agent: Arc<dyn AgentService>,
    /// The packages it holds.
    pub packages: Arc<dyn PackageSource>,
    /// The record of its pair, where that is on the pair's pool.
    pub record: Option<RecordServing>,
    /// What it may send of packages, all transfers together; `None`: as much as the network takes.
    pub package_bytes_per_second: Option<NonZeroU64>,
    /// The fault seam.
    pub link: watch::Receiver<Link>,
    /// Who lets new nodes in; none: nobody does.
    pub joins: Option<Arc<dyn JoinService>>,
}

struct Shared {
    identity: TlsIdentity,
    door: JoinDoor,
    members: watch::Receiver<Members>,
    agent: Arc<dyn AgentService>,
    packages: Arc<dyn PackageSource>,
    record: Option<RecordServing>,
    record_calls: Semaphore,
    transfers: Arc<Semaphore>,
    uplink: Arc<Uplink>,
    gate: Gate,
}

/// Serves until `shutdown`; then drops the connections that are open.
pub async fn serve(parts: ServerParts, shutdown: impl Future<Output = ()>) {
    let shared = Arc::new(Shared {
        identity: parts.identity,
        door: JoinDoor::new(parts.joins),
        members: parts.members,
        agent: parts.agent,
        packages: parts.packages,
        record: parts.record,
        record_calls: Semaphore::new(MAX_RECORD_CALLS),
        transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
        uplink: Arc::new(Uplink::new(parts.package_bytes_per_second)),
        gate: Gate::new(parts.link),
    });
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let accept_all = async {
        loop {
            let permit = Arc::clone(&room)
                .acquire_owned()
                .await
                .expect("never closed");
            let Some(stream) = accept(&parts.listener).await else {
                continue;
            };
            while connections.try_join_next().is_some() {}
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                if let Err(why) = connection(stream, shared).await {
                    debug!("a node-to-node connection ended: {why}");
                }
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accept_all => {}
        () = shutdown => {}
    }
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            warn!("cannot accept a node-to-node connection: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) -> Result<(), String> {
    if shared.gate.is_cut() {
        return Err("the link is cut".to_owned());
    }
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, &shared)).await;
    match shaken.map_err(|_| format!("no handshake within {HANDSHAKE_TIMEOUT:?}"))?? {
        Caller::Member(stream) => serve_member(stream, shared).await,
        Caller::Stranger(stream) => shared.door.hear(stream).await,
    }
}

/// Who calls, by what it wants to speak.
enum Caller {
    /// It has proven that the CA signed its certificate.
    Member(Box<TlsStream<TcpStream>>),
    /// It has no certificate, and is heard at the door alone.
    Stranger(Box<TlsStream<TcpStream>>),
}

async fn shake_hands(stream: TcpStream, shared: &Shared) -> Result<Caller, String> {
    let failed = |error: io::Error| format!("handshake: {error}");
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let begun = begun.await.map_err(failed)?;
    let is_join = begun
        .client_hello()
        .alpn()
        .is_some_and(|mut protocols| protocols.any(|it| it == JOIN_PROTOCOL));
    let configs = shared.identity.current();
    if !is_join {
        let stream = begun.into_stream(Arc::clone(&configs.server)).await;
        return stream.map(Box::new).map(Caller::Member).map_err(failed);
    }
    if !shared.door.is_open() {
        return Err("somebody wants to join, and no token is open".to_owned());
    }
    let stream = begun.into_stream(Arc::clone(&configs.joins)).await;
    stream.map(Box::new).map(Caller::Stranger).map_err(failed)
}

async fn serve_member(
    stream: Box<TlsStream<TcpStream>>,
    shared: Arc<Shared>,
) -> Result<(), String> {
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
        .cloned();
    let certificate = certificate.ok_or("no certificate")?;
    let cut = shared.gate.clone();
    let activity = Activity::new();
    let served = activity.clone();
    let service = service_fn(move |request| {
        // Asked anew for each request: membership may end while a connection lasts.
        let peer = shared.peer(&certificate, &request);
        let (shared, activity) = (Arc::clone(&shared), served.clone());
        async move { shared.exchange(peer, request, &activity).await }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(None);
    let served = http.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        result = served => result.map_err(|e| e.to_string()),
        () = cut.cut() => Err("the link was cut".to_owned()),
        () = activity.overdue() => Err("the peer is silent".to_owned()),
    }
}

impl Shared {
    /// Whose request it is. Only members are heard; for the record also the partner, while nobody knows who the members are.
    fn peer<B>(
        &self,
        certificate: &CertificateDer<'_>,
        request: &Request<B>,
    ) -> Result<NodeName, String> {
        let members = Arc::clone(&self.members.borrow());
        match &self.record {
            Some(serving) if members.is_empty() && request.uri().path() == RECORD_PATH => {
                let partner =
                    BTreeMap::from([(serving.partner.clone(), Member::from(String::new()))]);
                member_of(certificate, &Arc::new(partner))
            }
            Some(_) | None => member_of(certificate, &members),
        }
    }

    async fn exchange(
        &self,
        peer: Result<NodeName, String>,
        request: Request<Incoming>,
        activity: &Activity,
    ) -> Result<Response<Body>, Infallible> {
        activity.ours();
        self.gate.delay().await;
        let response = match peer {
            Ok(peer) => self.route(&peer, request, activity).await,
            Err(why) => {
                warn!("a peer is refused: {why}");
                text(
                    StatusCode::FORBIDDEN,
                    &format!("you are not heard here: {why}"),
                )
            }
        };
        // An archive's bytes say themselves whose move it is; anything else is sent at once.
        if !response.headers().contains_key(TOTAL_HEADER) {
            activity.idle();
        }
        Ok(response)
    }

    async fn route(
        &self,
        peer: &NodeName,
        request: Request<Incoming>,
        activity: &Activity,
    ) -> Response<Body> {
        if let Err(why) = check_protocol(&request) {
            return text(StatusCode::BAD_REQUEST, &why);
        }
        let path = request.uri().path().to_owned();
        if path == AGENT_PATH && request.method() == Method::POST {
            return self.agent(peer, request).await;
        }
        if path == RECORD_PATH && request.method() == Method::POST {
            return self.record(peer, request).await;
        }
        let below = path.strip_prefix(PACKAGES_PATH).map(|rest| {
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            rest.split_once('/').unwrap_or((rest, ""))
        });
        let query = request.uri().query().unwrap_or_default();
        match (request.method(), below) {
            (&Method::GET, Some(("", ""))) => json(&self.packages.status().await),
            (method, Some((digest, what))) => match wanted(digest, query) {
                Some(wanted) => self.package(peer, method, wanted, what, activity).await,
                None => text(StatusCode::BAD_REQUEST, "not a digest, or not an offset"),
            },
            _ => text(StatusCode::NOT_FOUND, "there is nothing of that name"),
        }
    }

    async fn agent(&self, peer: &NodeName, request: Request<Incoming>) -> Response<Body> {
        let body = match read_body(request, MAX_REQUEST_BYTES, REQUEST_TIMEOUT).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let request: AgentRequest = match serde_json::from_slice(&body) {
            Ok(request) => request,
            Err(error) => {
                let why = format!("the request cannot be understood: {error}");
                return text(StatusCode::BAD_REQUEST, &why);
            }
        };
        let answer = self.agent.answer(peer, request).await;
        json(&answer)
    }

    async fn record(&self, peer: &NodeName, request: Request<Incoming>) -> Response<Body> {
        let Some(serving) = &self.record else {
            let why = "the record of this node is on no pool that it shares";
            return text(StatusCode::NOT_FOUND, why);
        };
        let Ok(_room) = self.record_calls.try_acquire() else {
            let why = format!("{MAX_RECORD_CALLS} requests for the record are being answered");
            return text(StatusCode::SERVICE_UNAVAILABLE, &why);
        };
        match read_body(request, MAX_RECORD_BYTES, RECORD_BODY_TIMEOUT).await {
            Ok(request) => respond(StatusCode::OK)
                .header(CONTENT_TYPE, "application/json")
                .body(full(serving.service.answer(peer, request).await))
                .expect("a valid response"),
            Err(refused) => refused,
        }
    }

    async fn package(
        &self,
        peer: &NodeName,
        method: &Method,
        wanted: Wanted,
        what: &str,
        activity: &Activity,
    ) -> Response<Body> {
        match (method, what) {
            (&Method::GET, "") => self.archive(wanted, activity).await,
            (&Method::GET, CHUNKS) => {
                match self.packages.chunks(wanted.package, wanted.archive).await {
                    Ok(Some(list)) => respond(StatusCode::OK)
                        .body(full(list))
                        .expect("a valid response"),
                    Ok(None) => not_held(),
                    Err(error) => broken(&error),
                }
            }
            (&Method::POST, SUSPECT) => {
                self.packages.suspect(wanted.package, peer).await;
                text(StatusCode::OK, "it will be looked at")
            }
            _ => text(StatusCode::NOT_FOUND, "there is nothing of that name"),
        }
    }

    async fn archive(&self, wanted: Wanted, activity: &Activity) -> Response<Body> {
        let Ok(room) = Arc::clone(&self.transfers).try_acquire_owned() else {
            let why = format!("{MAX_TRANSFERS} transfers are under way");
            return text(StatusCode::SERVICE_UNAVAILABLE, &why);
        };
        match self.packages.open(wanted).await {
            Ok(Some(package)) => {
                let uplink = Arc::clone(&self.uplink);
                let bytes = paced(package.bytes, uplink, activity.clone(), room);
                respond(StatusCode::OK)
                    .header(TOTAL_HEADER, package.total)
                    .header(CONTENT_LENGTH, package.total.saturating_sub(wanted.offset))
                    .body(StreamBody::new(bytes.map(|b| b.map(Frame::data))).boxed_unsync())
                    .expect("a valid response")
            }
            Ok(None) => not_held(),
            Err(error) => broken(&error),
        }
    }
}

/// The whole of a request, or what to say to one that is too long or does not come.
async fn read_body(
    request: Request<Incoming>,
    most: usize,
    within: Duration,
) -> Result<Bytes, Response<Body>> {
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(within, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(text(
            StatusCode::BAD_REQUEST,
            &format!("cannot read the request: {error}"),
        )),
        Err(_) => Err(text(
            StatusCode::REQUEST_TIMEOUT,
            "the request did not come in time",
        )),
    }
}

/// What a path and its query ask for.
fn wanted(digest: &str, query: &str) -> Option<Wanted> {
    let mut wanted = Wanted {
        package: digest.parse().ok()?,
        archive: None,
        offset: 0,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("offset", offset) => wanted.offset = offset.parse().ok()?,
            ("archive", archive) => wanted.archive = Some(archive.parse().ok()?),
            // A newer peer may ask for more than this node knows of; it is told the rest.
            _ => {}
        }
    }
    Some(wanted)
}

fn not_held() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "the package is not held here")
}

fn broken(error: &io::Error) -> Response<Body> {
    let status = match error.kind() {
        io::ErrorKind::InvalidInput => StatusCode::RANGE_NOT_SATISFIABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, &error.to_string())
}

fn json(answer: &impl Serialize) -> Response<Body> {
    let json = serde_json::to_vec(answer).expect("answers are plain data: JSON can say it");
    respond(StatusCode::OK)
        .header(CONTENT_TYPE, "application/json")
        .body(full(json))
        .expect("a valid response")
}

/// A newer protocol may mean things that this node does not know: nothing of it is tried.
fn check_protocol<B>(request: &Request<B>) -> Result<(), String> {
    let said = request
        .headers()
        .get(PROTOCOL_HEADER)
        .and_then(|v| v.to_str().ok());
    match said.and_then(|v| v.parse::<u32>().ok()) {
        Some(protocol) if protocol <= PROTOCOL => Ok(()),
        Some(protocol) => Err(format!(
            "protocol {protocol} is not spoken here, only up to {PROTOCOL}"
        )),
        None => Err("the request names no protocol".to_owned()),
    }
}

fn respond(status: StatusCode) -> hyper::http::response::Builder {
    Response::builder().status(status)
}

fn text(status: StatusCode, why: &str) -> Response<Body> {
    respond(status)
        .body(full(why.as_bytes().to_vec()))
        .expect("a valid response")
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}
