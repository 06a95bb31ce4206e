//! Mutual TLS against the cluster's CA.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_model::{InterconnectSettings, NodeName};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::members::Members;

/// Who this node is to others, and whom it believes. Cheap to clone.
#[derive(Clone)]
pub struct TlsIdentity {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
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
    /// Reads the files that the node's configuration names.
    pub fn load(settings: &InterconnectSettings) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.clone(),
                source,
            })
        };
        let (ca, certificate) = (read(&settings.ca)?, read(&settings.certificate)?);
        Self::from_pem(&ca, &certificate, &read(&settings.key)?)
    }

    /// From the texts of the files.
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(ca, "CA file")? {
            roots.add(root)?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(certificate, "node's certificate file")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem {
            what: "node's key file",
            source,
        })?;
        let provider = Arc::new(ring::default_provider());
        let server = server_config(&provider, &roots, chain.clone(), key.clone_key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
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

/// The member whose name the (already trusted) certificate carries. A certificate that fits several
/// members is nobody's.
pub(crate) fn member_of(
    certificate: &CertificateDer<'_>,
    members: &Members,
) -> Result<NodeName, String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|e| e.to_string())?;
    let fits = |name: &&NodeName| {
        ServerName::try_from(name.as_str())
            .is_ok_and(|server_name| verify_server_name(&parsed, &server_name).is_ok())
    };
    let mut fitting = members.keys().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(name), None) => Ok(name.clone()),
        (Some(one), Some(other)) => Err(format!("its certificate fits {one} and {other} alike")),
        (None, _) => Err("its certificate names no member of the cluster".to_owned()),
    }
}
