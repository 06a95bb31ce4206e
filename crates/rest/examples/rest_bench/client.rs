//! Connections as clients of the API make them: HTTP/1.1 over TLS, kept alive, each request with its credentials.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Result;

/// Who asks.
pub(crate) const USER: &str = "admin";
/// With which password.
pub(crate) const PASSWORD: &str = "correct horse";

/// What is asked for, and of whom.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    connector: TlsConnector,
    pub(crate) path: String,
}

/// What every request carries.
pub(crate) fn authorization() -> String {
    basic(PASSWORD)
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{password}")))
}

impl Target {
    pub(crate) fn new(address: &str, ca: &Path, path: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca)?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address: address.parse()?,
            connector: TlsConnector::from(Arc::new(config)),
            path: path.to_owned(),
        })
    }

    /// A connection for bodies of this kind.
    pub(crate) async fn connect<B>(&self) -> Result<SendRequest<B>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let stream = self.connector.connect(name, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// The head of a request.
    pub(crate) fn head(&self, method: Method) -> hyper::http::request::Builder {
        self.head_with(method, authorization())
    }

    fn head_with(&self, method: Method, authorization: String) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(&self.path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, authorization)
            .header(header::ACCEPT, "*/*")
    }

    /// Asks with a password that is wrong.
    pub(crate) async fn guess(&self, password: &str) -> Result<()> {
        let mut sender = self.connect().await?;
        let request = self.head_with(Method::GET, basic(password));
        let request = request.body(Empty::<Bytes>::new())?;
        let status = sender.send_request(request).await?.status();
        match status {
            StatusCode::UNAUTHORIZED => Ok(()),
            other => Err(format!("a wrong password was answered with {other}").into()),
        }
    }
}

/// One connection that asks for the same again and again.
pub(crate) struct Asking {
    sender: SendRequest<Empty<Bytes>>,
    request: Request<()>,
}

impl Asking {
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        Ok(Self {
            sender: target.connect().await?,
            request: target.head(Method::GET).body(())?,
        })
    }

    /// Whether the server has not closed it.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks once; the bytes of the answer's body.
    pub(crate) async fn ask(&mut self) -> Result<usize> {
        self.sender.ready().await?;
        let request = self.request.clone().map(|()| Empty::new());
        let response = self.sender.send_request(request).await?;
        read(response).await
    }
}

/// Reads an answer to its end.
async fn read(mut response: Response<Incoming>) -> Result<usize> {
    let status = response.status();
    if status != StatusCode::OK {
        let text = response.into_body().collect().await?.to_bytes();
        return Err(format!("{status}: {}", String::from_utf8_lossy(&text)).into());
    }
    let mut bytes = 0;
    while let Some(frame) = response.body_mut().frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}
