//! Mutual TLS against the cluster's CA.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use evenkeel_model::{Digest, IdentityFiles, NodeName};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest as _, Sha256};

use crate::join::JOIN_PROTOCOL;
use crate::members::{Member, Members};

/// Who this node is to others, and whom it believes. Cheap to clone: all clones are the same identity, and what replaces it
/// counts for all of them, from the next connection on.
#[derive(Clone)]
pub struct TlsIdentity(Arc<RwLock<Arc<Configs>>>);

/// What is made of one content of the files.
pub(crate) struct Configs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    /// For those that have no certificate yet.
    pub(crate) joins: Arc<ServerConfig>,
    key: Digest,
    pin: Digest,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not the PEM it should be.
    #[error("the {what} is not PEM of the right kind")]
    Pem {
        /// Which.
        what: &'static str,
        /// The cause.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("the {what} holds no certificate")]
    NoCertificate {
        /// Which.
        what: &'static str,
    },
    /// The CA cannot be used to judge clients.
    #[error("the CA cannot be used")]
    Ca(#[from] VerifierBuilderError),
    /// Certificate and key do not fit, or are of an unknown kind.
    #[error("certificate and key cannot be used")]
    Rustls(#[from] rustls::Error),
}

impl TlsIdentity {
    /// Reads the files.
    pub fn load(files: &IdentityFiles) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.clone(),
                source,
            })
        };
        let (ca, certificate) = (read(&files.ca)?, read(&files.certificate)?);
        Self::from_pem(&ca, &certificate, &read(&files.key)?)
    }

    /// From the texts of the files.
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let cas = certificates(ca, "CA file")?;
        for root in &cas {
            roots.add(root.clone())?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(certificate, "node's certificate file")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem {
            what: "node's key file",
            source,
        })?;
        let provider = Arc::new(ring::default_provider());
        let server = server_config(&provider, &roots, chain.clone(), key.clone_key())?;
        let own_key = public_key(&chain[0])?;
        let joins = joins_config(&provider, &chain[0], &cas[0], key.clone_key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Self(Arc::new(RwLock::new(Arc::new(Configs {
            server: Arc::new(server),
            client: Arc::new(client),
            joins: Arc::new(joins),
            key: digest(&own_key),
            pin: evenkeel_identity::pin(&cas[0], &own_key),
        })))))
    }

    /// Takes another one's place from the next connection on; what is connected stays so.
    pub fn replace(&self, with: &Self) {
        let new = with.current();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// What the cluster knows this node by: SHA-256 of its public key.
    pub fn key(&self) -> Digest {
        self.current().key
    }

    /// What a token says of this node: see [`evenkeel_identity::pin`].
    pub fn pin(&self) -> Digest {
        self.current().pin
    }

    pub(crate) fn current(&self) -> Arc<Configs> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// SHA-256, as the record has it.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// The certificate's public key (SubjectPublicKeyInfo, DER).
pub(crate) fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(parsed.subject_public_key_info().to_vec())
}

/// For a node without a certificate, which can judge this one's by the CA's that comes along and by its own token. It is
/// heard under a protocol name of its own, and reaches nothing but the way in: see `join`.
fn joins_config(
    provider: &Arc<CryptoProvider>,
    own: &CertificateDer<'static>,
    ca: &CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![own.clone(), ca.clone()], key)?;
    config.alpn_protocols = vec![JOIN_PROTOCOL.to_vec()];
    Ok(config)
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .build()?;
    Ok(ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    match list.is_empty() {
        true => Err(TlsError::NoCertificate { what }),
        false => Ok(list),
    }
}

/// The member whose name the (already trusted) certificate carries, and whose key it is for. A certificate that fits
/// several members is nobody's.
pub(crate) fn member_of(
    certificate: &CertificateDer<'_>,
    members: &Members,
) -> Result<NodeName, String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|e| e.to_string())?;
    let fits = |(name, _): &(&NodeName, &Member)| {
        ServerName::try_from(name.as_str())
            .is_ok_and(|server_name| verify_server_name(&parsed, &server_name).is_ok())
    };
    let mut fitting = members.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some((name, member)), None) => {
            is_for(certificate, name, member)?;
            Ok(name.clone())
        }
        (Some((one, _)), Some((other, _))) => {
            Err(format!("its certificate fits {one} and {other} alike"))
        }
        (None, _) => Err("its certificate names no member of the cluster".to_owned()),
    }
}

/// Whether this certificate of `name` is for the key that the cluster knows it by.
pub(crate) fn is_for(
    certificate: &CertificateDer<'_>,
    name: &NodeName,
    member: &Member,
) -> Result<(), String> {
    let Some(known) = member.key else {
        return Ok(());
    };
    let shown = public_key(certificate).map_err(|error| error.to_string())?;
    match digest(&shown) == known {
        true => Ok(()),
        false => Err(format!(
            "it is not the machine that the cluster knows as {name}: another one has taken its place, or it has another key"
        )),
    }
}
