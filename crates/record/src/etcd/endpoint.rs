//! One member's client address: connections to it, and one request at a time on each.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::rustls;

use super::options::{CONNECT, EtcdTls};
use super::tls;
use super::trouble::{Code, Trouble};
use super::wire::Refusal;

/// Connections kept for the next request. More are rarely in use at once.
const IDLE: usize = 4;
/// The longest answer that is taken: a page of [`super::read::PAGE`] appends with 0.7 MiB each, in base64.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Of an answer that does not come.
pub(super) const SILENT: &str =
    "there is none in time; etcd keeps silent while it has no leader or no quorum";

const NOT_ACCEPTED: &str = "etcd does not accept record.certificate, or wants one: its --trusted-ca-file must have signed it";

type Connection = SendRequest<Full<Bytes>>;

/// One member's client address.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// As it is configured.
    pub(super) url: String,
    host: String,
    port: u16,
    tls: Option<Arc<EtcdTls>>,
    idle: Mutex<Vec<Connection>>,
}

impl Endpoint {
    /// The error is for people.
    pub(super) fn new(url: &str, tls: Option<&Arc<EtcdTls>>) -> Result<Self, String> {
        let wrong = |why: &str| format!("record.endpoints: {url:?} {why}");
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        // It would be printed wherever the endpoint is named.
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(
                "record.endpoints: a URL has a user in it; record.user and record.password_file are for that"
                    .to_owned(),
            );
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("names no host"))?;
        let port = uri.port_u16().ok_or_else(|| wrong("names no port"))?;
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => {
                let files = tls.ok_or_else(|| wrong("is https, and record.ca is not set"))?;
                Some(Arc::clone(files))
            }
            Some(_) | None => return Err(wrong("is neither http:// nor https://")),
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            idle: Mutex::default(),
        })
    }

    /// Whether what is sent leaves the machine as it is.
    pub(super) fn is_readable_by_others(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.host.parse().ok();
        let stays = self.host == "localhost" || address.is_some_and(|it| it.is_loopback());
        self.tls.is_none() && !stays
    }

    /// One request and its whole answer.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Bytes,
        token: Option<&str>,
        until: Instant,
    ) -> Result<Bytes, Trouble> {
        let mut connection = self.connection().await?;
        let exchanged = async {
            let response = self.send(&mut connection, path, body, token).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER);
            let whole = body.collect().await.map_err(|e| self.no_answer(&*e))?;
            Ok((status, whole.to_bytes()))
        };
        let exchanged = timeout_at(until, exchanged).await;
        let (status, answer) = exchanged.map_err(|_| self.silence())??;
        self.keep(connection);
        match status {
            StatusCode::OK => Ok(answer),
            status => Err(self.refusal(path, status, &answer)),
        }
    }

    /// One request whose answer goes on. The connection ends with the body.
    pub(super) async fn stream(
        &self,
        path: &str,
        body: Bytes,
        token: Option<&str>,
        until: Instant,
    ) -> Result<Incoming, Trouble> {
        let mut connection = self.connect().await?;
        let sent = timeout_at(until, self.send(&mut connection, path, body, token)).await;
        let response = sent.map_err(|_| self.silence())??;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => {
                let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
                let whole = timeout_at(until, body).await.map_err(|_| self.silence())?;
                let whole = whole.map_err(|error| self.no_answer(&*error))?;
                Err(self.refusal(path, status, &whole.to_bytes()))
            }
        }
    }

    async fn send(
        &self,
        connection: &mut Connection,
        path: &str,
        body: Bytes,
        token: Option<&str>,
    ) -> Result<Response<Incoming>, Trouble> {
        let mut request = Request::post(format!("/v3/{path}"))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/json")
            // A member that has lost its leader ends a watch instead of keeping silent.
            .header("Grpc-Metadata-hasleader", "true");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|e| self.no_answer(&e))?;
        let sent = connection.send_request(request).await;
        sent.map_err(|error| self.no_answer(&error))
    }

    async fn connection(&self) -> Result<Connection, Trouble> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(connection) if connection.is_ready() => return Ok(connection),
                Some(_closed) => {}
                None => return self.connect().await,
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        match timeout(CONNECT, self.try_connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(self.not_reached(&format!("no connection within {CONNECT:?}"))),
        }
    }

    async fn try_connect(&self) -> Result<Connection, Trouble> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = connected.map_err(|error| self.not_reached(&error))?;
        stream.set_nodelay(true).map_err(|e| self.not_reached(&e))?;
        let Some(files) = &self.tls else {
            return self.speak(stream).await;
        };
        let connector = tls::connector(files).await.map_err(Trouble::Own)?;
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| Trouble::Own(format!("{}: {error}", self.url)))?;
        let secured = connector.connect(name, stream).await;
        let secured = secured.map_err(|error| self.not_reached(&secured_why(&error)))?;
        self.speak(secured).await
    }

    async fn speak<S>(&self, stream: S) -> Result<Connection, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.not_reached(&error))?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it learns of its end.
            let _ended = connection.await;
        });
        Ok(sender)
    }

    fn refusal(&self, path: &str, status: StatusCode, answer: &[u8]) -> Trouble {
        let endpoint = self.url.clone();
        match serde_json::from_slice::<Refusal>(answer) {
            Ok(refusal) => Trouble::Refused {
                endpoint,
                path: path.to_owned(),
                code: Code::of(refusal.code),
                message: refusal.message,
            },
            Err(_) if status == StatusCode::NOT_FOUND => Trouble::NotEtcd {
                endpoint,
                why: "not found. Its JSON gateway is needed, of etcd 3.4 or later: --enable-grpc-gateway=true, the default"
                    .to_owned(),
            },
            Err(_) => Trouble::NotEtcd {
                endpoint,
                why: format!("{status}: {}", beginning(answer)),
            },
        }
    }

    fn silence(&self) -> Trouble {
        Trouble::NoAnswer {
            endpoint: self.url.clone(),
            why: SILENT.to_owned(),
        }
    }

    fn no_answer(&self, error: &(dyn std::error::Error + 'static)) -> Trouble {
        let mut why = chain(error);
        if is_alert(error) {
            why = format!("{why} ({NOT_ACCEPTED})");
        }
        Trouble::NoAnswer {
            endpoint: self.url.clone(),
            why,
        }
    }

    fn not_reached(&self, why: &dyn std::fmt::Display) -> Trouble {
        Trouble::NotReached {
            endpoint: self.url.clone(),
            why: why.to_string(),
        }
    }
}

/// What a server that does not speak JSON says to people. So does etcd's gateway, of a client certificate with a common name.
fn beginning(answer: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(answer);
    let readable = text.chars().filter(|it| !it.is_control());
    readable.take(MOST).collect()
}

/// A certificate that is not believed is the most frequent fault, and says which file to look at.
fn secured_why(error: &io::Error) -> String {
    let why = match is_alert(error) {
        true => NOT_ACCEPTED,
        false => "record.ca must be the CA of etcd's certificate, and that must name this host",
    };
    format!("TLS: {error} ({why})")
}

/// Whether etcd ended the connection by an alert of TLS. With TLS 1.3 it judges a client's certificate when the client already sends,
/// with TLS 1.2 (etcd 3.5.1) before.
fn is_alert(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let cause = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
        if matches!(tls, Some(rustls::Error::AlertReceived(_))) {
            return true;
        }
        next = error.source();
    }
    false
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_with_a_port() {
        let files = Arc::new(EtcdTls {
            ca: "/ca.crt".into(),
            client: None,
        });
        for url in ["ftp://a:1", "a:1", "http://a", "http://:1", "", "https://"] {
            let refused = Endpoint::new(url, Some(&files)).unwrap_err();
            assert!(refused.contains(&format!("{url:?}")), "{refused}");
        }
        let secret = Endpoint::new("http://evenkeel:secret@a:1", None).unwrap_err();
        assert!(
            secret.contains("record.user") && !secret.contains("secret"),
            "{secret}"
        );
        assert!(
            Endpoint::new("https://a:1", None)
                .unwrap_err()
                .contains("record.ca")
        );
        let endpoint = Endpoint::new("https://[::1]:2379/", Some(&files)).unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 2379));
        assert_eq!(endpoint.url, "https://[::1]:2379");
        for (url, readable) in [
            ("http://192.0.2.1:2379", true),
            ("http://127.0.0.1:2379", false),
            ("http://localhost:2379", false),
            ("https://192.0.2.1:2379", false),
        ] {
            let endpoint = Endpoint::new(url, Some(&files)).unwrap();
            assert_eq!(endpoint.is_readable_by_others(), readable, "{url}");
        }
    }
}
