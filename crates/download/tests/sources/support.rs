//! A server that answers as it is told, and a client that is in a hurry.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_download::{Client, Event, Limits, Source, SourceError, StartsOver, Transfer, Trust};
use rustls::ServerConfig;
use rustls::crypto::ring;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) fn limits() -> Limits {
    Limits {
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        tries: 4,
        ..Limits::default()
    }
}

pub(crate) fn client(limits: Limits) -> Client {
    Client::new(Trust::default(), limits)
}

pub(crate) fn trusting(ca: &Path) -> Client {
    Client::new(Trust::new(vec![ca.to_owned()]), limits())
}

pub(crate) fn source(url: &str) -> Source {
    match Source::parse(url, None, None) {
        Ok(source) => source,
        Err(error) => panic!("{url}: {error}"),
    }
}

/// Bytes that are nowhere the same.
pub(crate) fn content(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// What a transfer brought.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) failed: usize,
    pub(crate) started_over: Vec<StartsOver>,
}

pub(crate) async fn drive(mut transfer: Transfer) -> Result<Fetched, SourceError> {
    let mut fetched = Fetched::default();
    loop {
        match transfer.next().await? {
            Event::Opened { .. } => {}
            Event::StartsOver(why) => {
                fetched.bytes.clear();
                fetched.started_over.push(why);
            }
            Event::Bytes(bytes) => fetched.bytes.extend_from_slice(&bytes),
            Event::Failed { .. } => fetched.failed += 1,
            Event::End => return Ok(fetched),
        }
    }
}

pub(crate) async fn fetch(url: &str) -> Fetched {
    drive(Transfer::new(client(limits()), source(url)))
        .await
        .unwrap()
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    length: usize,
    cut: Option<usize>,
    silent: bool,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            length: 0,
            cut: None,
            silent: false,
        }
    }

    pub(crate) fn ok(body: &[u8]) -> Self {
        Self {
            body: body.to_owned(),
            length: body.len(),
            ..Self::status(200)
        }
    }

    pub(crate) fn part(body: &[u8], from: usize) -> Self {
        let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
        Self {
            status: 206,
            ..Self::ok(&body[from..])
        }
        .header("Content-Range", &range)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn says_length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(crate) fn silent_after(mut self, bytes: usize) -> Self {
        self.silent = true;
        self.cut_after(bytes)
    }
}

/// Gives its answers one after the other, each on a connection of its own.
pub(crate) struct Server {
    scheme: &'static str,
    port: u16,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
    _dir: Option<TempDir>,
}

#[derive(Default)]
struct Log {
    asked: Vec<String>,
    served: usize,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        Self::listen(answers, None, None).await
    }

    /// A server with a certificate of its own, and the file that vouches for it.
    pub(crate) async fn start_tls(answers: Vec<Answer>) -> (Self, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::listen(answers, Some(acceptor), Some(dir)).await, ca)
    }

    async fn listen(answers: Vec<Answer>, tls: Option<TlsAcceptor>, dir: Option<TempDir>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Log::default()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(serve(listener, answers, tls, Arc::clone(&log)));
        Self {
            scheme,
            port,
            log,
            task,
            _dir: dir,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// The head of every request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.log.lock().unwrap().asked.clone()
    }

    /// Bytes of bodies that were sent.
    pub(crate) fn served(&self) -> usize {
        self.log.lock().unwrap().served
    }
}

async fn serve(
    listener: TcpListener,
    answers: Vec<Answer>,
    tls: Option<TlsAcceptor>,
    log: Arc<Mutex<Log>>,
) {
    let mut answers = answers.into_iter();
    let mut kept = Vec::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        match &tls {
            None => {
                let Some(answer) = answers.next() else { return };
                kept.push(reply(stream, answer, &log).await);
            }
            Some(tls) => {
                // Whoever does not believe the certificate gets no answer.
                let Ok(stream) = tls.accept(stream).await else {
                    continue;
                };
                let Some(answer) = answers.next() else { return };
                reply(stream, answer, &log).await;
            }
        }
    }
}

/// The stream comes back where it is to stay open in silence.
async fn reply<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: Answer,
    log: &Mutex<Log>,
) -> Option<S> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    log.lock()
        .unwrap()
        .asked
        .push(String::from_utf8(head).unwrap());
    let mut text = format!("HTTP/1.1 {} X\r\n", answer.status);
    if !matches!(answer.status, 204 | 304) {
        text += &format!("Content-Length: {}\r\n", answer.length);
    }
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let sent = &answer.body[..answer.cut.unwrap_or(answer.body.len())];
    log.lock().unwrap().served += sent.len();
    stream
        .write_all(format!("{text}\r\n").as_bytes())
        .await
        .ok()?;
    stream.write_all(sent).await.ok()?;
    stream.flush().await.ok()?;
    if answer.silent {
        return Some(stream);
    }
    stream.shutdown().await.ok()?;
    None
}
