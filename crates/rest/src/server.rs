//! Connections: accept, TLS, HTTP/1.1, and a clean end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use evenkeel_model::UserName;
use evenkeel_seam::watch;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::busy::{Most, Share, Shares};
use crate::caller::{Origin, Peer};
use crate::pace::{InRequest, Pace, Paced, Times};
use crate::typed::Typed;
use crate::x509::CertificateFacts;

/// Bounds on what clients may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, over one listener; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections of one address; further ones are closed at once.
    pub connections_each: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for the first request to come, and for further ones while nobody was let in.
    pub stranger: Duration,
    /// Time between requests of one who was let in.
    pub idle: Duration,
    /// Time from the first byte of a request's head to its end.
    pub head: Duration,
    /// Time for 16 KiB of an answer, or what is left of it, to be read.
    pub write: Duration,
    /// Time for requests under way to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    /// 2048 connections, as monitoring keeps many idle, and a quarter of them is left to others by any address;
    /// 10 s for a handshake and for a head, above any round trip; 15 s for strangers; 75 s idle, above the
    /// pollers' 60 s; 30 s for an answer to move, above a loss of the network that TCP gets over; 10 s to drain,
    /// so that a restart is not held up.
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_each: 1536,
            handshake: Duration::from_secs(10),
            stranger: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            head: Duration::from_secs(10),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    fn times(&self) -> Times {
        Times {
            stranger: self.stranger,
            idle: self.idle,
            head: self.head,
            write: self.write,
        }
    }
}

/// Bytes of a request's head, and of the read buffer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Pause after a failed accept: it fails when file descriptors run out, and at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then lets requests under way end. Requests that have no end of
/// their own are cut after the drain time. New connections get what `tls` holds when they come; while it holds
/// nothing they are closed.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let shares = Shares::new();
    let most = Most {
        all: limits.connections,
        each: limits.connections_each,
    };
    let connections = TaskTracker::new();
    let accept = || listener.accept();
    while let Some(((stream, address), slot)) = next(accept, &slots, &stop).await {
        let origin = Origin::Address(address);
        let Some(share) = share_of(&shares, address, most) else {
            tracing::debug!(%origin, "too many connections from there");
            continue;
        };
        let Some(config) = tls.borrow().clone() else {
            continue;
        };
        let acceptor = TlsAcceptor::from(config);
        let connection = Connection {
            router: router.clone(),
            limits: limits.clone(),
            stop: stop.clone(),
        };
        connections.spawn(async move {
            connection.run_tls(stream, acceptor, origin).await;
            drop((share, slot));
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves processes of this machine. Only root and the daemon's own user are let in, whatever the socket's mode
/// says.
pub async fn serve_local(
    listener: UnixListener,
    own_uid: u32,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let accept = || listener.accept();
    while let Some(((stream, _), slot)) = next(accept, &slots, &stop).await {
        let Some(uid) = user_of(&stream).filter(|uid| [0, own_uid].contains(uid)) else {
            tracing::warn!("a process of another user knocked at the local socket");
            continue;
        };
        let connection = Connection {
            router: router.clone(),
            limits: limits.clone(),
            stop: stop.clone(),
        };
        let peer = Peer {
            origin: Origin::Local { uid },
            certificate: None,
        };
        connections.spawn(async move {
            connection.run(stream, peer).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn user_of(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|peer| peer.uid())
}

fn share_of(
    shares: &Arc<Shares<IpAddr>>,
    address: SocketAddr,
    most: Most,
) -> Option<Share<IpAddr>> {
    let source = Origin::Address(address).source()?;
    shares.take(source, most)
}

/// The next connection with a slot for it, or `None` when it is time to stop.
async fn next<T, F: Future<Output = std::io::Result<T>>>(
    accept: impl Fn() -> F,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(T, OwnedSemaphorePermit)> {
    let accepted = async {
        let slot = Arc::clone(slots)
            .acquire_owned()
            .await
            .expect("never closed");
        loop {
            match accept().await {
                Ok(stream) => return (stream, slot),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepted).await
}

struct Connection {
    router: Router,
    limits: Limits,
    stop: CancellationToken,
}

impl Connection {
    async fn run_tls(self, stream: TcpStream, acceptor: TlsAcceptor, origin: Origin) {
        // Answers are small and awaited: never hold the last piece back.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection is gone");
            return;
        }
        let handshake = timeout(self.limits.handshake, acceptor.accept(stream));
        let stream = match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => stream,
            Some(Ok(Err(error))) => {
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
            Some(Err(_)) | None => return,
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = Peer {
            origin,
            certificate: named(certificates),
        };
        self.run(stream, peer).await;
    }

    async fn run(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) {
        let pace = Pace::new(self.limits.times());
        let io = TokioIo::new(Typed::new(Paced::new(stream, Arc::clone(&pace))));
        let router = self.router;
        let answer = service_fn(move |mut request: Request<Incoming>| {
            let under_way = pace.request();
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(Arc::clone(&pace));
            let answer = router.clone().oneshot(request);
            async move {
                let response = answer.await?;
                Ok::<_, Infallible>(Answer::response(response, under_way))
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            // The stream itself bounds it, and tells the first byte of a head from none.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(io, answer);
        let mut served = std::pin::pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => Ok(ended),
            () = self.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                timeout(self.limits.drain, served).await
            }
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "connection ended"),
            Err(_) => tracing::info!("a request did not end in the drain time and was cut"),
        }
    }
}

/// The user that a verified client certificate is for: its common name.
fn named(certificates: Option<&[CertificateDer<'_>]>) -> Option<UserName> {
    let own = certificates?.first()?;
    let facts = CertificateFacts::of_der(own).ok()?;
    UserName::new(facts.subject?).ok()
}

/// What the request holds until its answer has gone.
#[derive(Clone, Debug)]
pub(crate) struct Held(
    #[expect(dead_code, reason = "held for its end")] pub(crate) Arc<Share<UserName>>,
);

/// An answer on its way out, with what its request held.
struct Answer {
    body: Body,
    _under_way: InRequest,
    _held: Option<Held>,
}

impl Answer {
    fn response(response: Response<Body>, under_way: InRequest) -> Response<Self> {
        let (mut parts, body) = response.into_parts();
        let held = parts.extensions.remove::<Held>();
        let answer = Self {
            body,
            _under_way: under_way,
            _held: held,
        };
        Response::from_parts(parts, answer)
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
