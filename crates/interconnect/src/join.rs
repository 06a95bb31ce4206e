//! The way in: how a machine without a certificate becomes one of the cluster's nodes.
//!
//! It is a protocol of its own name (ALPN) on the node-to-node port, which no other call can be made through: one message
//! each way, no HTTP, nothing at all while no token is open or was used in the last day. The REST port would not do: its certificate may be anybody's,
//! so that the newcomer could not tell the cluster from somebody in between. Here the member shows its node certificate and
//! the CA's, and the token holds a fingerprint of both keys. The newcomer signs what it says together with a value of this
//! very connection ([`Sealed`]): what it sends is worth nothing on another one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_identity::{Channel, Sealed, pin};
use evenkeel_model::{ClusterId, Digest, NodeConfig, NodeName, Refusal, WallTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::{TlsConnector, client, server};

use crate::client::CONNECT_TIMEOUT;
use crate::tls::public_key;

/// Its name in the handshake.
pub(crate) const JOIN_PROTOCOL: &[u8] = b"evenkeel-join/1";
/// What both ends derive the value of their connection with.
const LABEL: &[u8] = b"EXPORTER-evenkeel-join";
/// A description of one node, and a few keys.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Newcomers that are heard at once: nobody installs more machines in the same second.
const MAX_AT_THE_DOOR: usize = 4;
/// A message is small, and comes at once.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Reading the record, looking at nodes and appending are bounded well below this.
pub const JOIN_ANSWER_TIMEOUT: Duration = Duration::from_secs(50);
/// One that is refused waits so long, and keeps its place at the door meanwhile: guessing is slow, whatever it is worth.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// What a newcomer says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinStatement {
    /// The newest node-to-node protocol that it speaks.
    pub protocol: u32,
    /// Build version of its daemon.
    pub daemon: String,
    /// As it wants to be known; its partner is the one that it wishes for, its id is the cluster's to choose.
    pub node: NodeConfig,
    /// The key that it wants a certificate for, in hex digits.
    pub public_key: String,
    /// Its clock.
    pub wall: WallTime,
    /// Kind of its record's backend.
    pub record: String,
    /// The cluster that its record holds, if it can be read.
    #[serde(default)]
    pub cluster: Option<ClusterId>,
}

/// What it gets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// Name of the cluster.
    pub cluster: String,
    /// The CA's certificate, PEM.
    pub ca: String,
    /// The CA's key, PEM: every member may let others in.
    pub ca_key: String,
    /// Its own certificate, PEM.
    pub certificate: String,
    /// Its partner, once it is a member; none while it is a candidate.
    #[serde(default)]
    pub partner: Option<NodeName>,
}

/// How it is answered.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum JoinAnswer {
    /// It is in.
    Welcome {
        /// What it needs.
        welcome: Box<Welcome>,
    },
    /// It is not. Nothing was changed, unless the refusal says so.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// Lets nodes in.
#[async_trait]
pub trait JoinService: Send + Sync + 'static {
    /// Whether a token is open, or was used so lately that its user may ask again: otherwise nobody is heard.
    fn is_open(&self) -> bool;

    /// Hears what came over `channel`. Nothing of it is proven yet.
    async fn join(&self, channel: &Channel, said: Sealed) -> JoinAnswer;
}

/// The door of one server.
pub(crate) struct JoinDoor {
    service: Option<Arc<dyn JoinService>>,
    places: Semaphore,
}

impl JoinDoor {
    pub(crate) fn new(service: Option<Arc<dyn JoinService>>) -> Self {
        Self {
            service,
            places: Semaphore::new(MAX_AT_THE_DOOR),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.service.as_ref().is_some_and(|it| it.is_open())
    }

    /// Hears one newcomer.
    pub(crate) async fn hear(
        &self,
        mut stream: Box<server::TlsStream<TcpStream>>,
    ) -> Result<(), String> {
        let service = self.service.as_ref().ok_or("nobody lets nodes in here")?;
        let Ok(_place) = self.places.try_acquire() else {
            return Err("too many want to join at once".to_owned());
        };
        let mut channel: Channel = [0; 32];
        let (_, connection) = stream.get_ref();
        connection
            .export_keying_material(&mut channel, LABEL, None)
            .map_err(|error| error.to_string())?;
        let said: Sealed = receive(&mut stream, MESSAGE_TIMEOUT).await?;
        let answer = service.join(&channel, said).await;
        if let JoinAnswer::Refused { refusal } = &answer {
            tracing::warn!(
                why = refusal.message,
                "a node that wants to join is refused"
            );
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
        send(&mut stream, &answer).await?;
        let _closed_already = stream.shutdown().await;
        Ok(())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nothing was asked yet.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
    /// Whoever answers there is not the member that made the token, or a machine sits in between.
    #[error(
        "{address} is not the node that made this token, or somebody sits in between: its key and the cluster's CA have \
         another fingerprint. Nothing was told to it"
    )]
    Impostor {
        /// Where.
        address: String,
    },
    /// It may have been let in: asking again with the same token tells.
    #[error("{address} did not answer: {why}; asking again with the same token does no harm")]
    NoAnswer {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
    /// The statement could not be made.
    #[error("cannot sign the request")]
    Seal(#[from] evenkeel_identity::IdentityError),
}

/// Asks the member at `address` to be let in. What is said is sealed for the connection, once the member has proven that it
/// is the one of the fingerprint.
pub async fn ask_to_join(
    address: &str,
    fingerprint: Digest,
    seal: impl FnOnce(&Channel) -> Result<Sealed, evenkeel_identity::IdentityError>,
) -> Result<JoinAnswer, JoinError> {
    let connecting = connect(address, fingerprint);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT * 2, connecting).await;
    let mut stream = connected.unwrap_or_else(|_| {
        let why = format!("no connection within {:?}", CONNECT_TIMEOUT * 2);
        let address = address.to_owned();
        Err(JoinError::Unreachable { address, why })
    })?;
    let no_answer = |why: String| JoinError::NoAnswer {
        address: address.to_owned(),
        why,
    };
    let mut channel: Channel = [0; 32];
    let (_, connection) = stream.get_ref();
    connection
        .export_keying_material(&mut channel, LABEL, None)
        .map_err(|error| no_answer(error.to_string()))?;
    let said = seal(&channel)?;
    send(&mut stream, &said).await.map_err(no_answer)?;
    receive(&mut stream, JOIN_ANSWER_TIMEOUT)
        .await
        .map_err(no_answer)
}

async fn connect(
    address: &str,
    fingerprint: Digest,
) -> Result<Box<client::TlsStream<TcpStream>>, JoinError> {
    let unreachable = |why: String| JoinError::Unreachable {
        address: address.to_owned(),
        why,
    };
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(config(fingerprint)));
    // What the certificate is called is not asked: the fingerprint says whose it must be.
    let name = ServerName::try_from("member").expect("a DNS name");
    let stream = connector.connect(name, stream).await.map_err(|error| {
        let inner = error.get_ref().and_then(|it| it.downcast_ref());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => JoinError::Impostor {
                address: address.to_owned(),
            },
            _ => unreachable(format!(
                "{error}: it hears nobody who joins, unless a token is open there"
            )),
        }
    })?;
    Ok(Box::new(stream))
}

fn config(fingerprint: Digest) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned {
        fingerprint,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN_PROTOCOL.to_vec()];
    config
}

/// Believes the one key that the token's fingerprint is of. That whoever shows it also holds it is proven by the
/// handshake's signature, as ever.
#[derive(Debug)]
struct Pinned {
    fingerprint: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = public_key(own)?;
        let fits = others.iter().any(|ca| pin(ca, &key) == self.fingerprint);
        match fits {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Sends a message: its length in four bytes, then JSON.
async fn send<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), String> {
    let body = serde_json::to_vec(message).expect("messages are plain data: JSON can say it");
    let length = u32::try_from(body.len()).map_err(|_| "too long a message".to_owned())?;
    let sending = async {
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&body).await?;
        stream.flush().await
    };
    match tokio::time::timeout(MESSAGE_TIMEOUT, sending).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it took nothing for {MESSAGE_TIMEOUT:?}")),
    }
}

async fn receive<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    within: Duration,
) -> Result<T, String> {
    let receiving = async {
        let mut length = [0; 4];
        stream
            .read_exact(&mut length)
            .await
            .map_err(|e| e.to_string())?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(format!("a message of {length} bytes is too long"));
        }
        let mut body = vec![0; length];
        stream
            .read_exact(&mut body)
            .await
            .map_err(|e| e.to_string())?;
        serde_json::from_slice(&body).map_err(|error| format!("it cannot be understood: {error}"))
    };
    match tokio::time::timeout(within, receiving).await {
        Ok(received) => received,
        Err(_) => Err(format!("nothing came within {within:?}")),
    }
}
