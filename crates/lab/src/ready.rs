//! Whether the cluster answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// A try that takes longer is as good as failed; the next one finds out.
const TRY_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// How often whoever waits is told that it is not yet; a lab of many nodes is up well before.
const SAY_EVERY: Duration = Duration::from_secs(15);

/// Returns when the cluster's address answers HTTPS, whatever the answer is.
pub(crate) async fn cluster_answers(ca: &Path, address: &str) -> Result<()> {
    let connector = connector(ca)?;
    let mut said = Instant::now();
    loop {
        let why = match timeout(TRY_WITHIN, try_once(&connector, address)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {TRY_WITHIN:?}"),
        };
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tracing::warn!("{address} does not answer yet: {why}; the nodes' logs say more");
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

fn connector(ca: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(ca).context("the lab's CA")?;
    roots.add(certificate)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn try_once(connector: &TlsConnector, address: &str) -> Result<()> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(name, stream).await?;
    let request = format!("GET /api/cluster HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 7];
    stream.read_exact(&mut start).await?;
    ensure!(&start == b"HTTP/1.", "the answer is not HTTP");
    Ok(())
}
