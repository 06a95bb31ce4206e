//! The server's TLS settings.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or without a certificate.
    #[error("the certificate cannot be read")]
    Certificate(#[source] pem::Error),
    /// Not PEM, or without a private key.
    #[error("the private key cannot be read")]
    Key(#[source] pem::Error),
    /// Not PEM.
    #[error("the CA of client certificates cannot be read")]
    ClientCa(#[source] pem::Error),
    /// Without a certificate.
    #[error("the CA of client certificates cannot be used")]
    Verifier(#[source] VerifierBuilderError),
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the certificate and the private key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3 with this certificate chain and key, both PEM. HTTP/1.1 only. Clients may show a certificate
/// that one of `client_ca`, PEM too, vouches for; a connection without one is taken all the same.
pub fn tls_config(
    certificate_pem: &[u8],
    key_pem: &[u8],
    client_ca: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem).collect();
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(TlsError::Key)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?;
    let builder = match client_ca {
        Some(pem) => builder.with_client_cert_verifier(verifier(pem, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain.map_err(TlsError::Certificate)?, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The first certificate of a chain: the one that is its owner's.
pub fn first_certificate(pem: &[u8]) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem).map_err(TlsError::Certificate)
}

fn verifier(
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(TlsError::ClientCa)?;
        roots.add(certificate).map_err(TlsError::Unusable)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.allow_unauthenticated().build();
    verifier.map_err(TlsError::Verifier)
}
