//! TLS to etcd: its CA and no other, and a certificate of one's own where it demands one.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::options::EtcdTls;

/// Reads the files. The error is for people and names the file.
pub(super) async fn connector(tls: &EtcdTls) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for root in certificates("record.ca", &tls.ca).await? {
        let added = roots.add(root);
        added.map_err(|error| format!("record.ca {}: {error}", tls.ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("record.certificate", certificate).await?;
            let pem = read("record.key", key).await?;
            let parsed = PrivateKeyDer::from_pem_slice(&pem);
            let parsed = parsed
                .map_err(|error| format!("record.key {} is no key: {error}", key.display()))?;
            builder
                .with_client_auth_cert(chain, parsed)
                .map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!("record.certificate {certificate} and record.key {key}: {error}")
                })?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(field, path).await?;
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let list = list.map_err(|error| format!("{field} {} is no PEM: {error}", path.display()))?;
    match list.is_empty() {
        true => Err(format!("{field} {} holds no certificate", path.display())),
        false => Ok(list),
    }
}

async fn read(field: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = tokio::fs::read(path).await;
    read.map_err(|error| format!("{field} {} cannot be read: {error}", path.display()))
}
