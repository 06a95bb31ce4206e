//! `--check`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use evenkeel_download::Trust;
use evenkeel_interconnect::TlsIdentity;

use crate::{bootstrap, config, modes};

/// Reads what a start would read, and starts nothing.
pub(crate) fn check(path: &Path) -> Result<()> {
    let settings = config::load(path)?;
    // Without certificates the daemon starts all the same, and waits for `evenkeel cluster init` or `join`.
    if settings.names_its_identity() || settings.identity().certificate.exists() {
        TlsIdentity::load(&settings.identity()).context("interconnect")?;
    }
    let rest = &settings.rest;
    for file in [&rest.certificate, &rest.key, &rest.client_ca]
        .into_iter()
        .flatten()
        .filter(|file| file.exists())
    {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    modes::check(&settings)?;
    Trust::new(settings.download.ca.clone())
        .check()
        .context("download.ca")?;
    match settings.cluster.bootstrap.as_deref() {
        Some(path) if !path.exists() => bail!("{} does not exist", path.display()),
        Some(path) => bootstrap::load(path).map(drop).map_err(Into::into),
        None => Ok(()),
    }
}
