//! The real server: TLS, keep-alive, limits and a clean end, with a raw client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, PASSWORD, USER};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_rest::{Limits, TlsError, serve, tls_config};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

struct Running {
    address: SocketAddr,
    connector: TlsConnector,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(limits: Limits) -> Running {
    start_with(limits, &Client::new()).await
}

async fn start_with(limits: Limits, client: &Client) -> Running {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = tls_config(certificate.as_bytes(), key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = client.router.clone();
    let task = tokio::spawn(serve(listener, tls, router, limits, stop.clone()));
    Running {
        address,
        connector: TlsConnector::from(Arc::new(trusting)),
        stop,
        task,
    }
}

impl Running {
    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        self.connector.connect(name, stream).await.unwrap()
    }

    /// Stops the server and proves that it ends.
    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

async fn send(stream: &mut TlsStream<TcpStream>, path: &str, close: bool) {
    let credentials = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let connection = if close { "close" } else { "keep-alive" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\
         Connection: {connection}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads until `end` appears.
async fn read_until(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "ended before {end:?}: {text}");
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    text
}

#[tokio::test]
async fn several_requests_share_a_verified_connection() {
    let server = start(Limits::default()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        send(&mut stream, "/api/cluster", false).await;
        let text = read_until(&mut stream, "\"minor\":1").await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
    drop(stream);
    server.end().await;
}

#[tokio::test]
async fn an_idle_or_silent_connection_is_closed() {
    let short = Duration::from_millis(50);
    let limits = Limits {
        handshake: short,
        head: short,
        ..Limits::default()
    };
    let server = start(limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let mut idle = server.connect().await;
    idle.write_all(b"GET /api HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    // An end without a TLS farewell is an end too.
    let _ = idle.read_to_end(&mut rest).await;
    server.end().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = start(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let first = server.connect().await;
    let mut second = Box::pin(server.connect());
    let early = tokio::time::timeout(Duration::from_millis(50), second.as_mut()).await;
    assert!(early.is_err(), "the only slot is taken");
    drop(first);
    let mut second = second.await;
    send(&mut second, "/api/cluster", true).await;
    read_until(&mut second, "\"minor\":1").await;
    server.end().await;
}

#[tokio::test]
async fn stopping_cuts_endless_streams_after_the_drain_time() {
    let drain = Duration::from_millis(50);
    let server = start(Limits {
        drain,
        ..Limits::default()
    })
    .await;
    let mut stream = server.connect().await;
    send(&mut stream, "/evenkeel/v1/events", false).await;
    read_until(&mut stream, "\"seq\":3").await;
    server.end().await;
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    assert!(matches!(tls_config(b"", b""), Err(TlsError::Key(_))));
    let one = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["b".to_owned()]).unwrap();
    let mixed = tls_config(
        one.cert.pem().as_bytes(),
        other.signing_key.serialize_pem().as_bytes(),
    );
    assert!(matches!(mixed, Err(TlsError::Unusable(_))));
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_before_it_sends() {
    let client = Client::new();
    client.fake.edit(|state| state.room = Some(100));
    let server = start_with(Limits::default(), &client).await;
    let credentials = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let head = |length: usize| {
        format!(
            "PUT /evenkeel/v1/packages HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\
             Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut stream = server.connect().await;
    stream.write_all(head(1 << 30).as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "10551804").await;
    assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
    let mut stream = server.connect().await;
    stream.write_all(head(5).as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 100 "), "{text}");
    stream.write_all(b"12345").await.unwrap();
    let text = read_until(&mut stream, "\"job\"").await;
    assert!(text.starts_with("HTTP/1.1 202 "), "{text}");
    drop(stream);
    server.end().await;
}
