//! Whose certificates are believed: the system's, and those the configuration adds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, pem};

/// Why certificates to trust cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is not PEM.
    #[error("{path} cannot be read as certificates")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// The file has none.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of them is no certificate.
    #[error("{path} holds what is no certificate of a CA")]
    Bad {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    ca: Vec<PathBuf>,
}

impl Trust {
    /// The system's, and the CAs in these PEM files.
    pub fn new(ca: Vec<PathBuf>) -> Self {
        Self { ca }
    }

    /// Reads the files and says whether they can be used.
    pub fn check(&self) -> Result<(), TrustError> {
        self.configured(&mut RootCertStore::empty())
    }

    /// Read anew for every connection: a CA that an operator installs is believed from then on.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!(%error, "a certificate of the system cannot be read");
        }
        roots.add_parsable_certificates(system.certs);
        self.configured(&mut roots)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn configured(&self, roots: &mut RootCertStore) -> Result<(), TrustError> {
        self.ca.iter().try_for_each(|path| add_file(roots, path))
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let read = |source| TrustError::Read {
        path: path.to_owned(),
        source,
    };
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        let added = roots.add(certificate.map_err(read)?);
        added.map_err(|source| TrustError::Bad {
            path: path.to_owned(),
            source,
        })?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err(TrustError::Empty {
            path: path.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_vouches_for_nothing_is_told_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, content: Option<&str>| {
            let path = dir.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = Trust::new(vec![path]).check().unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            error
        };
        assert!(matches!(
            check("missing.pem", None),
            TrustError::Read { .. }
        ));
        assert!(matches!(
            check("empty.pem", Some("")),
            TrustError::Empty { .. }
        ));
        let noise = "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            check("noise.pem", Some(noise)),
            TrustError::Bad { .. }
        ));
        let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
        let good = dir.path().join("good.pem");
        std::fs::write(&good, made.cert.pem()).unwrap();
        assert!(Trust::new(vec![good]).check().is_ok());
    }
}
