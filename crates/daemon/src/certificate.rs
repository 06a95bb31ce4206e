//! The REST API's certificate: what the configuration names, or one made at the first start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use evenkeel_model::NodeSettings;
use rcgen::{CertificateParams, KeyPair};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("cannot {step} {path}")]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// A chain and its key, both PEM.
pub(crate) struct RestCertificate {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Reads the certificate; makes a self-signed one first where there is none.
pub(crate) fn rest_certificate(
    settings: &NodeSettings,
) -> Result<RestCertificate, CertificateError> {
    let rest = &settings.rest;
    let folder = settings.data.join("rest");
    let chain_path = rest
        .certificate
        .clone()
        .unwrap_or_else(|| folder.join("certificate.pem"));
    let key_path = rest.key.clone().unwrap_or_else(|| folder.join("key.pem"));
    if !chain_path.exists() {
        make(settings, &chain_path, &key_path)?;
    }
    Ok(RestCertificate {
        chain: read(&chain_path)?,
        key: read(&key_path)?,
    })
}

fn make(settings: &NodeSettings, chain: &Path, key: &Path) -> Result<(), CertificateError> {
    let mut names = vec![settings.node.to_string(), "localhost".to_owned()];
    let addresses = [
        Some(&settings.rest.listen),
        settings.rest.cluster_address.as_ref(),
    ];
    let hosts = addresses
        .into_iter()
        .flatten()
        .filter_map(|address| address.rsplit_once(':'));
    names.extend(hosts.map(|(host, _)| host.trim_matches(['[', ']']).to_owned()));
    names.dedup();
    let pair = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, settings.node.as_str());
    let certificate = parameters.self_signed(&pair)?;
    // The certificate's file is what says that the key is there: it comes last.
    write(key, pair.serialize_pem().as_bytes(), 0o600)?;
    write(chain, certificate.pem().as_bytes(), 0o644)?;
    tracing::info!(path = %chain.display(), "made a certificate for the REST API");
    Ok(())
}

/// Whole and durable, or not there at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let failed = |step| {
        let path = path.to_owned();
        move |source| CertificateError::File { step, path, source }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed("make the folder of"))?;
    let partial = path.with_extension("partial");
    let mut how = OpenOptions::new();
    let file = how
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&partial);
    let mut file = file.map_err(failed("write"))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("write"))?;
    fs::rename(&partial, path).map_err(failed("write"))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of"))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let path = path.to_owned();
    fs::read(&path).map_err(|source| CertificateError::File {
        step: "read",
        path,
        source,
    })
}
