//! The server's TLS settings.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
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
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the certificate and the private key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3 with this certificate chain and key, both PEM. HTTP/1.1 only.
pub fn tls_config(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem).collect();
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(TlsError::Certificate)?, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
