//! An `evenkeeld` that does nothing but answer HTTPS, on its own address and on the cluster's while no
//! one else has that.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_model::{NodeSettings, PlatformSettings};
use evenkeel_platform::Power;
use evenkeel_platform::sim::Client;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

const RETRY: Duration = Duration::from_millis(50);

pub(crate) async fn run(config: &Path) -> Result<()> {
    let settings: NodeSettings = toml::from_str(&std::fs::read_to_string(config)?)?;
    let socket = match &settings.platform {
        PlatformSettings::Sim { socket } => socket,
        PlatformSettings::Linux(_) => anyhow::bail!("a lab's hardware is simulated"),
    };
    let platform = Client::connect(socket).await?;
    println!(
        "{} runs in boot {}",
        settings.node,
        platform.boot_id().await?
    );
    let acceptor = acceptor(&settings)?;
    let own = TcpListener::bind(&settings.rest.listen).await?;
    tokio::spawn(serve(own, acceptor.clone()));
    let cluster = settings.rest.cluster_address.context("a lab has one")?;
    tokio::spawn(async move {
        let listener = loop {
            match TcpListener::bind(&cluster).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        serve(listener, acceptor).await;
    });
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

fn acceptor(settings: &NodeSettings) -> Result<TlsAcceptor> {
    let rest = &settings.rest;
    let certificate = rest.certificate.as_ref().context("a lab makes one")?;
    let key = rest.key.as_ref().context("a lab makes one")?;
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, acceptor.clone()));
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await?;
    stream
        .write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        .await?;
    stream.shutdown().await?;
    Ok(())
}
