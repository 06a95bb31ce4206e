//! Calls to other nodes over mutual TLS.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_model::{Digest, Link, NodeName, PackagesStatus};
use evenkeel_seam::watch;
use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::link::Gate;
use crate::members::{Member, Members};
use crate::message::{AgentClient, AgentRequest, AgentResponse, AgentService, CallError, PROTOCOL};
use crate::package::{FetchError, PackageBody, PackageClient, Wanted};
use crate::record::{MAX_RECORD_BYTES, RecordClient};
use crate::server::{
    AGENT_PATH, CHUNKS, PACKAGES_PATH, PROTOCOL_HEADER, RECORD_PATH, SUSPECT, TOTAL_HEADER,
};
use crate::tls::{TlsIdentity, is_for};

/// A node on the same network answers within milliseconds; a dead one never does.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An agent bounds what it does for an answer well below this.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence within a transfer. Whoever pulls judges sooner, and knows more.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// A refusal and a chunk list come at once.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// 32 bytes for each mebibyte of an archive of up to 16 GiB, twice over.
const MAX_CHUNKS_BYTES: usize = 1 << 20;
/// An observation of a node with hundreds of disks is far smaller.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// What a node says when it refuses a transfer.
const MAX_REFUSAL_BYTES: usize = 4 << 10;
/// Connections kept per node.
const MAX_IDLE: usize = 4;

type Sender = SendRequest<Full<Bytes>>;

/// What a client is made of.
pub struct ClientParts {
    /// This node: its own agent is asked without the network.
    pub node: NodeName,
    /// Who this node is.
    pub identity: TlsIdentity,
    /// Where the others are.
    pub members: watch::Receiver<Members>,
    /// The fault seam.
    pub link: watch::Receiver<Link>,
}

/// Calls agents and fetches packages over mutual TLS. Connections are kept and made anew as needed.
pub struct TlsClient {
    node: NodeName,
    identity: TlsIdentity,
    members: watch::Receiver<Members>,
    gate: Gate,
    own: OnceLock<Weak<dyn AgentService>>,
    idle: Mutex<HashMap<String, Vec<Sender>>>,
}

/// Why an exchange gave no response.
enum Broken {
    /// Before a byte of the request left.
    Unsent(String),
    /// After.
    Sent(String),
}

impl Broken {
    fn why(self) -> String {
        match self {
            Self::Unsent(why) | Self::Sent(why) => why,
        }
    }

    fn into_call_error(self, node: &NodeName) -> CallError {
        let node = node.clone();
        match self {
            Self::Unsent(why) => CallError::Unreachable { node, why },
            Self::Sent(why) => CallError::NoAnswer { node, why },
        }
    }
}

impl TlsClient {
    /// A client without connections.
    pub fn new(parts: ClientParts) -> Arc<Self> {
        Arc::new(Self {
            node: parts.node,
            identity: parts.identity,
            members: parts.members,
            gate: Gate::new(parts.link),
            own: OnceLock::new(),
            idle: Mutex::default(),
        })
    }

    /// Names the agent of this node, which itself needs the client. Only the first call counts.
    pub fn set_own(&self, agent: &Arc<dyn AgentService>) {
        let _ = self.own.set(Arc::downgrade(agent));
    }

    async fn call_own(&self, request: AgentRequest) -> Result<AgentResponse, CallError> {
        match self.own.get().and_then(Weak::upgrade) {
            Some(agent) => Ok(agent.answer(&self.node, request).await),
            None => Err(CallError::Unreachable {
                node: self.node.clone(),
                why: "this node's agent does not run".to_owned(),
            }),
        }
    }

    async fn ask(&self, node: &NodeName, request: &AgentRequest) -> Result<AgentResponse, Broken> {
        let body = serde_json::to_vec(request).expect("requests are plain data: JSON can say it");
        let member = self.member(node)?;
        let (status, body) = self
            .post(node, &member, AGENT_PATH, body, MAX_ANSWER_BYTES)
            .await?;
        if status != StatusCode::OK {
            // Whoever answers with a status has not handed the request to its agent.
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|e| Broken::Sent(format!("its answer cannot be understood: {e}")))
    }

    /// Posts a request, and reads the whole of the answer.
    async fn post(
        &self,
        node: &NodeName,
        member: &Member,
        path: &str,
        body: Vec<u8>,
        most: usize,
    ) -> Result<(StatusCode, Bytes), Broken> {
        let request = Outgoing {
            method: Method::POST,
            path: path.to_owned(),
            body: Bytes::from(body),
        };
        let (response, sender) = self.exchange(node, member, request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect();
        let body = tokio::time::timeout(ANSWER_TIMEOUT, body)
            .await
            .map_err(|_| Broken::Sent(format!("its answer broke off for {ANSWER_TIMEOUT:?}")))?
            .map_err(|e| Broken::Sent(format!("its answer broke off: {e}")))?
            .to_bytes();
        self.keep(member, sender);
        Ok((status, body))
    }

    /// A node as the topology has it.
    fn member(&self, node: &NodeName) -> Result<Member, Broken> {
        let member = self.members.borrow().get(node).cloned();
        member.ok_or_else(|| Broken::Unsent("it is no known member".to_owned()))
    }

    /// Sends a request over a kept connection or a new one, and waits for the head of the response.
    async fn exchange(
        &self,
        node: &NodeName,
        member: &Member,
        request: Outgoing,
    ) -> Result<(Response<Incoming>, Sender), Broken> {
        if self.gate.is_cut() {
            // As on a real network: silence, until the caller gives up.
            tokio::time::sleep(CONNECT_TIMEOUT).await;
            return Err(Broken::Unsent("this node's link is cut".to_owned()));
        }
        self.gate.delay().await;
        let mut kept = self.take_kept(member);
        loop {
            let mut sender = match kept.pop() {
                Some(sender) => sender,
                None => self.connect(node, member).await.map_err(Broken::Unsent)?,
            };
            match self.send(&mut sender, &request, node).await {
                Ok(response) => return Ok((response, sender)),
                // A kept connection that the peer has closed meanwhile: nothing was sent on it.
                Err(Broken::Unsent(_)) if sender.is_closed() && !kept.is_empty() => {}
                Err(Broken::Unsent(_)) if sender.is_closed() => {
                    let mut fresh = self.connect(node, member).await.map_err(Broken::Unsent)?;
                    let response = self.send(&mut fresh, &request, node).await?;
                    return Ok((response, fresh));
                }
                Err(broken) => return Err(broken),
            }
        }
    }

    async fn send(
        &self,
        sender: &mut Sender,
        request: &Outgoing,
        node: &NodeName,
    ) -> Result<Response<Incoming>, Broken> {
        sender
            .ready()
            .await
            .map_err(|e| Broken::Unsent(e.to_string()))?;
        let answer = sender.try_send_request(request.build(node));
        tokio::select! {
            answer = tokio::time::timeout(ANSWER_TIMEOUT, answer) => match answer {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(mut error)) => match error.take_message() {
                    Some(_) => Err(Broken::Unsent(error.into_error().to_string())),
                    None => Err(Broken::Sent(error.into_error().to_string())),
                },
                Err(_) => Err(Broken::Sent(format!("no answer within {ANSWER_TIMEOUT:?}"))),
            },
            () = self.gate.cut() => Err(Broken::Sent("this node's link was cut".to_owned())),
        }
    }

    async fn connect(&self, node: &NodeName, member: &Member) -> Result<Sender, String> {
        let address = member.address.as_str();
        let name = ServerName::try_from(node.as_str().to_owned())
            .map_err(|e| format!("its name cannot stand in a certificate: {e}"))?;
        let connecting = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|e| format!("{address}: {e}"))?;
            stream
                .set_nodelay(true)
                .map_err(|e| format!("{address}: {e}"))?;
            let connector = TlsConnector::from(Arc::clone(&self.identity.current().client));
            let stream = connector.connect(name, stream).await;
            stream.map_err(|e| format!("TLS with {address}: {e}"))
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| format!("no connection to {address} within {CONNECT_TIMEOUT:?}"))??;
        // Before a byte of a request leaves: its name alone proves little to one who is known by a key.
        known(&stream, node, member)?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| format!("{address}: {e}"))?;
        // Ends when the sender is dropped or the peer closes; its error is the sender's too.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn take_kept(&self, member: &Member) -> Vec<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = idle.get_mut(&keeping(member)) else {
            return Vec::new();
        };
        kept.retain(|sender| !sender.is_closed());
        kept.pop().into_iter().collect()
    }

    fn keep(&self, member: &Member, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(keeping(member)).or_default();
        if kept.len() < MAX_IDLE && !sender.is_closed() {
            kept.push(sender);
        }
    }
}

/// What connections to this member are kept under: another machine at its address is another member.
fn keeping(member: &Member) -> String {
    match member.key {
        Some(key) => format!("{} {key}", member.address),
        None => member.address.clone(),
    }
}

fn known(stream: &TlsStream<TcpStream>, node: &NodeName, member: &Member) -> Result<(), String> {
    let shown = stream.get_ref().1.peer_certificates();
    let shown = shown
        .and_then(<[_]>::first)
        .ok_or("it shows no certificate")?;
    is_for(shown, node, member)
}

/// A request that can be built again for another connection.
struct Outgoing {
    method: Method,
    path: String,
    body: Bytes,
}

impl Outgoing {
    fn build(&self, node: &NodeName) -> Request<Full<Bytes>> {
        Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(HOST, node.as_str())
            .header(PROTOCOL_HEADER, PROTOCOL)
            .body(Full::new(self.body.clone()))
            .expect("a valid request")
    }
}

#[async_trait]
impl AgentClient for TlsClient {
    async fn call(
        &self,
        node: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError> {
        if *node == self.node {
            return self.call_own(request).await;
        }
        self.ask(node, &request)
            .await
            .map_err(|broken| broken.into_call_error(node))
    }
}

/// An answer with a status: nobody has begun to work on the request.
fn refusal(status: StatusCode, body: &[u8]) -> Broken {
    Broken::Unsent(format!("{status}: {}", String::from_utf8_lossy(body)))
}

#[async_trait]
impl RecordClient for TlsClient {
    async fn record(
        &self,
        node: &NodeName,
        address: Option<&str>,
        request: Vec<u8>,
    ) -> Result<Bytes, CallError> {
        let posted = async {
            let member = match (address, self.member(node)) {
                (None, member) => member?,
                // By its name alone only while no topology says who is known by which key.
                (Some(address), Err(_)) if self.members.borrow().is_empty() => {
                    Member::from(address.to_owned())
                }
                (Some(address), member) => Member {
                    address: address.to_owned(),
                    key: member?.key,
                },
            };
            let most = MAX_RECORD_BYTES;
            match self.post(node, &member, RECORD_PATH, request, most).await? {
                (StatusCode::OK, body) => Ok(body),
                // What a release says that knows of no records, too.
                (status @ StatusCode::NOT_FOUND, body) => {
                    let broken = refusal(status, &body).why();
                    let why = format!("it serves no record of a pair: {broken}");
                    Err(Broken::Unsent(why))
                }
                (status, body) => Err(refusal(status, &body)),
            }
        };
        posted.await.map_err(|broken| broken.into_call_error(node))
    }
}

#[async_trait]
impl PackageClient for TlsClient {
    async fn fetch(&self, node: &NodeName, wanted: Wanted) -> Result<PackageBody, FetchError> {
        let offset = wanted.offset;
        let path = package_path(wanted.package, "", wanted.archive, Some(offset));
        let (response, sender, _) = self.of_packages(node, Method::GET, path).await?;
        let total = response
            .headers()
            .get(TOTAL_HEADER)
            .and_then(|v| v.to_str().ok()?.parse().ok());
        match (response.status(), total) {
            (StatusCode::OK, Some(total)) => {
                let gate = self.gate.clone();
                Ok(PackageBody {
                    total,
                    bytes: Box::pin(chunks(response.into_body(), sender, gate)),
                })
            }
            (StatusCode::OK, None) => Err(FetchError::Unreachable {
                node: node.clone(),
                why: "its answer names no size".to_owned(),
            }),
            (status, _) => Err(declined(node, wanted.package, status, response).await),
        }
    }

    async fn chunks(
        &self,
        node: &NodeName,
        package: Digest,
        archive: Option<Digest>,
    ) -> Result<Bytes, FetchError> {
        let path = package_path(package, CHUNKS, archive, None);
        self.whole(node, package, Method::GET, path, MAX_CHUNKS_BYTES)
            .await
    }

    async fn status(&self, node: &NodeName) -> Result<PackagesStatus, FetchError> {
        // Not of any one package.
        let none = Digest([0; 32]);
        let path = PACKAGES_PATH.to_owned();
        let body = self.whole(node, none, Method::GET, path, MAX_ANSWER_BYTES);
        serde_json::from_slice(&body.await?).map_err(|error| FetchError::Unreachable {
            node: node.clone(),
            why: format!("its answer cannot be understood: {error}"),
        })
    }

    async fn suspect(&self, node: &NodeName, package: Digest) -> Result<(), FetchError> {
        let path = package_path(package, SUSPECT, None, None);
        self.whole(node, package, Method::POST, path, MAX_REFUSAL_BYTES)
            .await?;
        Ok(())
    }
}

impl TlsClient {
    async fn of_packages(
        &self,
        node: &NodeName,
        method: Method,
        path: String,
    ) -> Result<(Response<Incoming>, Sender, Member), FetchError> {
        let body = Bytes::new();
        let exchanged = async {
            let member = self.member(node)?;
            let request = Outgoing { method, path, body };
            let (response, sender) = self.exchange(node, &member, request).await?;
            Ok((response, sender, member))
        };
        exchanged
            .await
            .map_err(|broken: Broken| FetchError::Unreachable {
                node: node.clone(),
                why: broken.why(),
            })
    }

    /// An answer that is small enough for memory.
    async fn whole(
        &self,
        node: &NodeName,
        package: Digest,
        method: Method,
        path: String,
        most: usize,
    ) -> Result<Bytes, FetchError> {
        let (response, sender, member) = self.of_packages(node, method, path).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(declined(node, package, status, response).await);
        }
        let body = Limited::new(response.into_body(), most).collect();
        let unreachable = |why| FetchError::Unreachable {
            node: node.clone(),
            why,
        };
        let body = tokio::time::timeout(BODY_TIMEOUT, body)
            .await
            .map_err(|_| unreachable(format!("its answer broke off for {BODY_TIMEOUT:?}")))?
            .map_err(|e| unreachable(format!("its answer broke off: {e}")))?;
        self.keep(&member, sender);
        Ok(body.to_bytes())
    }
}

fn package_path(
    package: Digest,
    what: &str,
    archive: Option<Digest>,
    offset: Option<u64>,
) -> String {
    let slash = if what.is_empty() { "" } else { "/" };
    let offset = offset.map(|offset| format!("offset={offset}"));
    let archive = archive.map(|archive| format!("archive={archive}"));
    let query: Vec<_> = offset.into_iter().chain(archive).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!(
        "{PACKAGES_PATH}/{package}{slash}{what}{mark}{}",
        query.join("&")
    )
}

/// What an answer other than "here it is" means.
async fn declined(
    node: &NodeName,
    package: Digest,
    status: StatusCode,
    response: Response<Incoming>,
) -> FetchError {
    let node = node.clone();
    if status == StatusCode::NOT_FOUND {
        return FetchError::NotHeld { node, package };
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return FetchError::Busy { node };
    }
    let why = format!("{status}: {}", refusal_text(response.into_body()).await);
    FetchError::Refused { node, package, why }
}

async fn refusal_text(body: Incoming) -> String {
    let body = Limited::new(body, MAX_REFUSAL_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Ok(Err(_)) | Err(_) => "no reason was given".to_owned(),
    }
}

/// The body's bytes, each chunk bounded in time. The sender is held: without it the connection ends.
fn chunks(
    body: Incoming,
    sender: Sender,
    gate: Gate,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some((body, sender, gate)), |state| async {
        let (mut body, sender, gate) = state?;
        let next = tokio::select! {
            next = tokio::time::timeout(CHUNK_TIMEOUT, body.frame()) => next,
            () = gate.cut() => {
                return Some((Err(io::Error::other("this node's link was cut")), None));
            }
        };
        match next {
            Ok(None) => None,
            Ok(Some(Ok(frame))) => {
                // Trailers carry nothing here: an empty chunk does no harm.
                let bytes = frame.into_data().unwrap_or_default();
                Some((Ok(bytes), Some((body, sender, gate))))
            }
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Err(_) => {
                let why = format!("nothing came for {CHUNK_TIMEOUT:?}");
                Some((Err(io::Error::new(io::ErrorKind::TimedOut, why)), None))
            }
        }
    })
}
