//! `--check`.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use evenkeel_download::Trust;
use evenkeel_interconnect::TlsIdentity;
use evenkeel_model::NodeSettings;

use crate::cluster::Pki;
use crate::{bootstrap, config, modes};

/// Reads what a start would read, and starts nothing.
pub(crate) fn check(path: &Path) -> Result<()> {
    let settings = config::load(path)?;
    // Without certificates the daemon starts all the same, and waits for `evenkeel cluster init` or `join`.
    if settings.names_its_identity() || Pki::of(&settings).is_there() {
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
    check_named(&settings)?;
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

/// Of what the record, the platform and updates name: what comes into being while the daemon runs, or is brought by somebody else.
const COMES_LATER: &[&str] = &[
    "record.path",
    "record.seat",
    "platform.socket",
    "platform.slots.path",
    "platform.slots.state",
];

/// A file that is missing would be told by the first thing that needs it: amid an update, perhaps.
fn check_named(settings: &NodeSettings) -> Result<()> {
    for (field, path) in config::named_paths(settings) {
        let concerns = ["record.", "platform.", "update."]
            .into_iter()
            .any(|section| field.starts_with(section));
        if concerns && !COMES_LATER.contains(&field) {
            File::open(path).with_context(|| format!("{field}: cannot read {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_the_record_and_the_platform_name_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let config = at("evenkeeld.toml");
        let text = format!(
            "node = \"n1\"\ndata = {data:?}\n\
             [rest]\nlisten = \"127.0.0.1:443\"\n[interconnect]\nlisten = \"127.0.0.1:4430\"\n\
             [record]\nbackend = \"etcd\"\nendpoints = [\"https://127.0.0.1:2379\"]\nca = {ca:?}\n\
             user = \"evenkeel\"\npassword_file = {password:?}\n\
             [platform]\nbackend = \"linux\"\n[platform.slots]\nkind = \"directory\"\npath = {slots:?}\n",
            data = at("data"),
            ca = at("ca.pem"),
            password = at("password"),
            slots = at("slots"),
        );
        fs::write(&config, text).unwrap();
        for (field, name) in [
            ("record.ca", "ca.pem"),
            ("record.password_file", "password"),
        ] {
            let refused = format!("{:#}", check(&config).unwrap_err());
            let path = at(name).display().to_string();
            assert!(
                refused.contains(field) && refused.contains(&path),
                "{field}: {refused}"
            );
            fs::write(at(name), "x").unwrap();
        }
        let open_to_others = format!("{:#}", check(&config).unwrap_err());
        assert!(open_to_others.contains("chmod 600"), "{open_to_others}");
    }
}
