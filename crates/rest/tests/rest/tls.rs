//! The real server: TLS, keep-alive, limits and a clean end, with a raw client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, PASSWORD, USER, admin};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_rest::{Limits, TlsError, serve, serve_local, tls_config};
use evenkeel_seam::watch;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

struct Running {
    address: SocketAddr,
    connector: TlsConnector,
    tls: watch::Sender<Option<Arc<ServerConfig>>>,
    roots: RootCertStore,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(limits: Limits) -> Running {
    start_with(limits, &Client::new()).await
}

async fn start_with(limits: Limits, client: &Client) -> Running {
    start_all(limits, client, None).await
}

async fn start_all(limits: Limits, client: &Client, client_ca: Option<&[u8]>) -> Running {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = tls_config(certificate.as_bytes(), key.as_bytes(), client_ca).unwrap();
    let (tls, configs) = watch::channel(Some(tls));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = client.router.clone();
    let task = tokio::spawn(serve(listener, configs, router, limits, stop.clone()));
    Running {
        address,
        connector: TlsConnector::from(Arc::new(trusting)),
        tls,
        roots,
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
async fn conditions_are_taken_as_they_are_typed() {
    let server = start(Limits::default()).await;
    let mut stream = server.connect().await;
    for query in ["name=>=a&name=\"x<y\"", "name=%3E%3Da"] {
        let path = format!("/api/cluster/nodes?{query}");
        send(&mut stream, &path, false).await;
        let text = read_until(&mut stream, "num_records").await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
    drop(stream);
    server.end().await;
}

#[tokio::test]
async fn the_two_versions_of_tls_that_are_safe_are_spoken_and_no_other() {
    let server = start(Limits::default()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let only = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(server.roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = TlsConnector::from(Arc::new(only));
        let mut stream = connector.connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        send(&mut stream, "/api/cluster", true).await;
        let text = read_until(&mut stream, "\"minor\":1").await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
    let answer = async |minor: u8| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&hello(minor)).await.unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    };
    assert_eq!(answer(3).await[0], 22, "of TLS 1.2: a ServerHello");
    let refused = answer(2).await;
    // Of TLS 1.1: a fatal alert, protocol_version.
    assert_eq!(
        (refused[0], &refused[5..]),
        (21, &[2, 70][..]),
        "{refused:?}"
    );
    server.end().await;
}

/// A ClientHello whose newest version is TLS 1.2 (3) or 1.1 (2), and which is the same otherwise.
fn hello(minor: u8) -> Vec<u8> {
    let (version, random) = ([3, minor], [7; 32]);
    // No session, one cipher suite (ECDHE-ECDSA-AES128-GCM-SHA256), no compression.
    let suites = [0, 0, 2, 0xc0, 0x2b, 1, 0];
    // supported_groups: secp256r1; ec_point_formats: uncompressed; signature_algorithms: ECDSA with SHA-256.
    let groups = [0, 10, 0, 4, 0, 2, 0, 0x17];
    let formats = [0, 11, 0, 2, 1, 0];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [&groups[..], &formats, &signatures].concat();
    let length = [0, extensions.len() as u8];
    let body = [&version[..], &random, &suites, &length, &extensions].concat();
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()
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
        stranger: short,
        idle: short,
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
    assert!(matches!(tls_config(b"", b"", None), Err(TlsError::Key(_))));
    let one = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["b".to_owned()]).unwrap();
    let mixed = tls_config(
        one.cert.pem().as_bytes(),
        other.signing_key.serialize_pem().as_bytes(),
        None,
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

/// A client certificate in that name, and its CA as PEM.
fn client_certificate(name: &str) -> (ClientAuth, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![]).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, name);
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ((leaf.der().clone(), key), ca_pem)
}

type ClientAuth = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// Believes any server, and shows a certificate.
fn showing((certificate, key): ClientAuth, server: &Running) -> TlsConnector {
    let roots = server.roots.clone();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    TlsConnector::from(Arc::new(config))
}

const BARE: &[u8] = b"GET /api/cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

async fn status_with(connector: TlsConnector, server: &Running) -> Option<String> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(BARE).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text.lines().next()?.to_owned())
}

#[tokio::test]
async fn a_client_certificate_of_the_right_authority_lets_its_user_in() {
    let client = Client::new();
    client.fake.edit(|state| {
        let mut robot = admin(String::new());
        (robot.password_hash, robot.certificate) = (None, true);
        state.users.insert("robot".parse().unwrap(), robot);
    });
    let (robot, ca) = client_certificate("robot");
    let (stranger, _) = client_certificate("robot");
    let server = start_all(Limits::default(), &client, Some(ca.as_bytes())).await;
    let status = status_with(showing(robot, &server), &server).await;
    assert_eq!(status.as_deref(), Some("HTTP/1.1 200 OK"));
    let status = status_with(showing(stranger, &server), &server).await;
    assert_eq!(status, None, "of another authority");
    let status = status_with(server.connector.clone(), &server).await;
    assert_eq!(status.as_deref(), Some("HTTP/1.1 401 Unauthorized"));
    server.end().await;
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let server = start(Limits::default()).await;
    let mut old = server.connect().await;
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let tls = tls_config(made.cert.pem().as_bytes(), key.as_bytes(), None).unwrap();
    server.tls.send_replace(Some(tls));
    send(&mut old, "/api/cluster", true).await;
    read_until(&mut old, "\"minor\":1").await;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let unknown = server.connector.connect(name, stream).await;
    assert!(unknown.is_err(), "it is not the one that is believed");
    server.end().await;
}

#[tokio::test]
async fn one_address_leaves_connections_to_others() {
    let server = start(Limits {
        connections_each: 1,
        ..Limits::default()
    })
    .await;
    let mut first = server.connect().await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = socket.connect(server.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    server.connector.connect(name, other).await.unwrap();
    send(&mut first, "/api/cluster", true).await;
    read_until(&mut first, "\"minor\":1").await;
    server.end().await;
}

#[tokio::test]
async fn the_local_socket_is_for_root_and_the_daemon_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("local.sock");
    let own = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap());
    let client = Client::new();
    let stop = CancellationToken::new();
    let listener = UnixListener::bind(&path).unwrap();
    let (router, limits) = (client.router.clone(), Limits::default());
    let task = tokio::spawn(serve_local(listener, own, router, limits, stop.clone()));
    let ask = async |target: &str| {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(ask("/evenkeel/v1/users").await, "HTTP/1.1 200 OK");
    assert_eq!(ask("/api/cluster").await, "HTTP/1.1 403 Forbidden");
    stop.cancel();
    task.await.unwrap();
}
