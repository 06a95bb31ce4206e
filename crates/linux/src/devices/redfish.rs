//! Redfish over HTTPS to the node's own service processor (DSP0266): HTTP Basic authentication, and a certificate that is
//! proven by an authority or by its fingerprint.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use evenkeel_model::{DeviceModel, Digest, RedfishSettings};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION};
use hyper::{Method, Request, Response, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::look::{Answer, refused, unavailable};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{
    REDFISH_PUSH, Redfish, RedfishBody, RedfishMethod, RedfishReply, RedfishRequest,
};

const CONNECT: Duration = Duration::from_secs(10);
/// Service processors are slow, and slower while they write.
const REPLY: Duration = Duration::from_secs(60);
/// No answer that is looked at is longer.
const BODY_MAX: usize = 8 << 20;
/// Cannot be in an image by chance.
const BOUNDARY: &str = "evenkeel-c1b6a3f2d9e84f0fb7a2-boundary";

/// Why a service processor cannot be reached by these settings.
#[derive(Debug, thiserror::Error)]
pub enum RedfishError {
    /// The address is none.
    #[error("platform.sp.redfish.url is {url:?}, which is no https://host[:port]")]
    Url {
        /// As it was given.
        url: String,
    },
    /// Nothing says whom to believe.
    #[error(
        "platform.sp.redfish needs a ca or a fingerprint: without one anybody could be the service processor"
    )]
    NoTrust,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file is no PEM with certificates.
    #[error("{path} holds no certificates")]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// The certificates cannot be used.
    #[error("the certificates of {path} cannot be used: {why}")]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// A service processor's Redfish service. Cheap to clone.
#[derive(Clone)]
pub struct HttpsRedfish {
    host: String,
    port: u16,
    user: String,
    password_file: PathBuf,
    tls: Arc<ClientConfig>,
}

impl HttpsRedfish {
    /// Reads the certificates; connects to nobody yet. The password is read when it is needed, so that it can be changed.
    pub fn new(settings: &RedfishSettings) -> Result<Self, RedfishError> {
        Self::check(settings)?;
        let (host, port) = authority(&settings.url)?;
        Ok(Self {
            host,
            port,
            user: settings.user.clone(),
            password_file: settings.password_file.clone(),
            tls: Arc::new(tls(settings)?),
        })
    }

    /// What can be told from the settings alone, without any file.
    ///
    /// # Errors
    /// When the address is none, or nothing says whom to believe.
    pub fn check(settings: &RedfishSettings) -> Result<(), RedfishError> {
        authority(&settings.url)?;
        match (&settings.ca, &settings.fingerprint) {
            (None, None) => Err(RedfishError::NoTrust),
            (Some(_), _) | (_, Some(_)) => Ok(()),
        }
    }

    fn lost(&self, why: impl std::fmt::Display) -> PlatformError {
        let (host, port) = (&self.host, self.port);
        unavailable(format!("the service processor at {host}:{port}: {why}"))
    }

    async fn connect(&self) -> Answer<tokio_rustls::client::TlsStream<TcpStream>> {
        let bare = self.host.trim_matches(['[', ']']);
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| self.lost(error))?;
        let connecting = async {
            let stream = TcpStream::connect((bare, self.port)).await?;
            stream.set_nodelay(true)?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            connector.connect(name, stream).await
        };
        match timeout(CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.lost(error)),
            Err(_) => Err(self.lost(format!("no connection within {CONNECT:?}"))),
        }
    }

    async fn authorization(&self) -> Answer<String> {
        let path = &self.password_file;
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|error| {
            unavailable(format!(
                "{}, the password of the service processor: {error}",
                path.display()
            ))
        })?;
        let password = text.lines().next().unwrap_or_default();
        let pair = STANDARD.encode(format!("{}:{password}", self.user));
        Ok(format!("Basic {pair}"))
    }

    async fn exchange(&self, request: &RedfishRequest) -> Answer<RedfishReply> {
        let path = path_of(&request.path)
            .filter(|path| path.starts_with("/redfish"))
            .ok_or_else(|| self.lost(format!("{:?} is no path of Redfish", request.path)))?;
        let (kind, body) = body_of(&request.body).map_err(|error| self.lost(error))?;
        let mut building = Request::builder()
            .method(method_of(request.method))
            .uri(path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(AUTHORIZATION, self.authorization().await?)
            .header("OData-Version", "4.0")
            .header(ACCEPT, "application/json");
        if let Some(kind) = kind {
            building = building.header(CONTENT_TYPE, kind);
        }
        let outgoing = building
            .body(Full::new(body))
            .map_err(|error| self.lost(error))?;
        let stream = TokioIo::new(self.connect().await?);
        let shaken = http1::handshake(stream).await;
        let (mut sender, connection) = shaken.map_err(|error| self.lost(error))?;
        let connection = Driven(tokio::spawn(async move {
            // What goes wrong with it is seen by whoever reads the answer.
            drop(connection.await);
        }));
        let answer = sender.send_request(outgoing).await;
        let reply = self.read(answer.map_err(|error| self.lost(error))?).await;
        drop(connection);
        reply
    }

    async fn read(&self, answer: Response<Incoming>) -> Answer<RedfishReply> {
        let status = answer.status().as_u16();
        let location = answer.headers().get(LOCATION);
        let location = location.and_then(|value| path_of(value.to_str().ok()?));
        let body = Limited::new(answer.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(|error| self.lost(error))?.to_bytes();
        Ok(RedfishReply {
            status,
            location,
            // A proxy's page, or nothing: the status says it all.
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }
}

/// The task that moves a connection; it ends with whoever uses it.
struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[async_trait]
impl Redfish for HttpsRedfish {
    async fn send(&self, request: &RedfishRequest) -> Result<RedfishReply, PlatformError> {
        let within = match request.body {
            RedfishBody::Multipart { .. } => REDFISH_PUSH,
            RedfishBody::None | RedfishBody::Json(_) => REPLY,
        };
        match timeout(within, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(self.lost(format!("no answer within {within:?}"))),
        }
    }
}

/// A service processor that cannot be spoken to, and why.
pub(super) struct NoRedfish(PlatformError);

impl NoRedfish {
    /// The configuration names none.
    pub(super) fn not_configured() -> Self {
        Self(refused(
            "the node's configuration names no Redfish service: see [platform.sp.redfish]",
        ))
    }

    /// It cannot be meant as it is configured.
    pub(super) fn unusable(why: &str) -> Self {
        Self(unavailable(why))
    }
}

#[async_trait]
impl Redfish for NoRedfish {
    async fn send(&self, _: &RedfishRequest) -> Result<RedfishReply, PlatformError> {
        Err(self.0.clone())
    }
}

/// What a service processor's type is called.
pub(super) async fn model_of(redfish: &HttpsRedfish) -> Answer<DeviceModel> {
    let get = async |path: &str| {
        let request = RedfishRequest {
            method: RedfishMethod::Get,
            path: path.to_owned(),
            body: RedfishBody::None,
        };
        let reply = redfish.send(&request).await?;
        match reply.status {
            200 => Ok(reply.body),
            status => Err(redfish.lost(format!("{path} is answered with {status}"))),
        }
    };
    let managers = get("/redfish/v1/Managers").await?;
    let first = managers["Members"][0]["@odata.id"].as_str();
    let first = first.ok_or_else(|| redfish.lost("it names no manager"))?;
    let manager = get(first).await?;
    let model = manager["Model"].as_str().unwrap_or_default();
    DeviceModel::new(model).map_err(|error| redfish.lost(error))
}

/// The path of a whole address or of a path. Whatever host is named: nobody else gets the password.
fn path_of(link: &str) -> Option<String> {
    let uri: Uri = link.parse().ok()?;
    uri.path_and_query().map(|path| path.as_str().to_owned())
}

fn authority(url: &str) -> Result<(String, u16), RedfishError> {
    let wrong = || RedfishError::Url {
        url: url.to_owned(),
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let bare = uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/");
    match (bare, uri.host()) {
        (true, Some(host)) => Ok((host.to_owned(), uri.port_u16().unwrap_or(443))),
        (_, _) => Err(wrong()),
    }
}

fn method_of(method: RedfishMethod) -> Method {
    match method {
        RedfishMethod::Get => Method::GET,
        RedfishMethod::Post => Method::POST,
        RedfishMethod::Patch => Method::PATCH,
    }
}

/// A body with its type.
fn body_of(body: &RedfishBody) -> Result<(Option<String>, Bytes), serde_json::Error> {
    match body {
        RedfishBody::None => Ok((None, Bytes::new())),
        RedfishBody::Json(value) => {
            let text = serde_json::to_vec(value)?;
            Ok((Some("application/json".to_owned()), Bytes::from(text)))
        }
        RedfishBody::Multipart { parameters, image } => {
            let kind = format!("multipart/form-data; boundary={BOUNDARY}");
            Ok((
                Some(kind),
                multipart(&serde_json::to_vec(parameters)?, image),
            ))
        }
    }
}

/// The parts `UpdateParameters` and `UpdateFile` (DSP0266, 12.6.2).
fn multipart(parameters: &[u8], image: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(image.len() + parameters.len() + 512);
    let mut part = |head: &str, content: &[u8]| {
        body.extend(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").bytes(),
        );
        body.extend(content);
        body.extend(b"\r\n");
    };
    part(
        "name=\"UpdateParameters\"\r\nContent-Type: application/json",
        parameters,
    );
    part(
        "name=\"UpdateFile\"; filename=\"image\"\r\nContent-Type: application/octet-stream",
        image,
    );
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    Bytes::from(body)
}

fn tls(settings: &RedfishSettings) -> Result<ClientConfig, RedfishError> {
    let provider = Arc::new(ring::default_provider());
    let trust = Trust {
        fingerprint: settings.fingerprint,
        authorities: authorities(settings, &provider)?,
        provider: Arc::clone(&provider),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth())
}

fn authorities(
    settings: &RedfishSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, RedfishError> {
    let Some(path) = settings.ca.clone() else {
        return Ok(None);
    };
    let text = std::fs::read(&path).map_err(|source| RedfishError::Read {
        path: path.clone(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|_| RedfishError::Pem { path: path.clone() })?;
        roots.add(certificate)?;
    }
    if roots.is_empty() {
        return Err(RedfishError::Pem { path });
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    match built.build() {
        Ok(verifier) => Ok(Some(verifier)),
        Err(error) => Err(RedfishError::Trust {
            path,
            why: error.to_string(),
        }),
    }
}

/// Whom to believe: one whose certificate is exactly the one that was named, or one that an authority vouches for.
#[derive(Debug)]
struct Trust {
    fingerprint: Option<Digest>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found: [u8; 32] = Sha256::digest(end_entity).into();
        if self.fingerprint == Some(Digest(found)) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(rustls::Error::General(format!(
                "its certificate has the fingerprint {}, which is not the configured one",
                Digest(found)
            ))),
        }
    }

    /// The other end must hold the certificate's key, whoever vouches for the certificate.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
