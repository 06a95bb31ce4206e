//! Reading `evenkeeld.toml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::{
    DownloadSettings, NodeSettings, PlatformSettings, RecordSettings, SlotSettings,
};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Its text names line and column.
    #[error("{path} is not a configuration")]
    Parse {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    #[error("{path}: {field} is {value:?}, which is no host:port")]
    Address {
        path: PathBuf,
        field: &'static str,
        value: String,
    },
    #[error("{path}: {given} is set, {missing} is not: they belong together")]
    Pair {
        path: PathBuf,
        given: &'static str,
        missing: &'static str,
    },
    #[error("{path}: {field} is {}, which is no absolute path", value.display())]
    Relative {
        path: PathBuf,
        field: &'static str,
        value: PathBuf,
    },
    #[error("{path}: {field} is 0, which leaves no chance to any download")]
    NoChance { path: PathBuf, field: &'static str },
    #[error("{path}: lab.minute_ms is 0, and a minute takes time")]
    NoMinute { path: PathBuf },
}

/// Reads the file and checks what can be checked without touching anything else.
pub(crate) fn load(path: &Path) -> Result<NodeSettings, ConfigError> {
    let read = fs::read_to_string(path);
    let text = read.map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<NodeSettings, ConfigError> {
    let settings: NodeSettings = toml::from_str(text).map_err(|source| ConfigError::Parse {
        path: path.to_owned(),
        source,
    })?;
    check_addresses(path, &settings)?;
    check_paths(path, &settings)?;
    let rest = &settings.rest;
    let pair = match (&rest.certificate, &rest.key) {
        (Some(_), None) => Some(("rest.certificate", "rest.key")),
        (None, Some(_)) => Some(("rest.key", "rest.certificate")),
        (Some(_), Some(_)) | (None, None) => None,
    };
    if let Some((given, missing)) = pair {
        return Err(ConfigError::Pair {
            path: path.to_owned(),
            given,
            missing,
        });
    }
    check_download(path, &settings.download)?;
    if settings.lab.as_ref().is_some_and(|lab| lab.minute_ms == 0) {
        return Err(ConfigError::NoMinute {
            path: path.to_owned(),
        });
    }
    Ok(settings)
}

fn check_download(path: &Path, download: &DownloadSettings) -> Result<(), ConfigError> {
    let zero = [
        ("download.stall_seconds", download.stall_seconds == Some(0)),
        ("download.tries", download.tries == Some(0)),
    ];
    match zero.into_iter().find(|(_, zero)| *zero) {
        None => Ok(()),
        Some((field, _)) => {
            let path = path.to_owned();
            Err(ConfigError::NoChance { path, field })
        }
    }
}

fn check_addresses(path: &Path, settings: &NodeSettings) -> Result<(), ConfigError> {
    let mut addresses = vec![
        ("rest.listen", &settings.rest.listen),
        ("interconnect.listen", &settings.interconnect.listen),
    ];
    addresses.extend(
        settings
            .rest
            .cluster_address
            .as_ref()
            .map(|a| ("rest.cluster_address", a)),
    );
    for (field, value) in addresses {
        let port = value
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .map(|(_, port)| port);
        if port.is_none_or(|port| port.parse::<u16>().is_err()) {
            let (path, value) = (path.to_owned(), value.clone());
            return Err(ConfigError::Address { path, field, value });
        }
    }
    Ok(())
}

/// The daemon's working folder is systemd's, so a relative path would mean something else every time.
fn check_paths(path: &Path, settings: &NodeSettings) -> Result<(), ConfigError> {
    let interconnect = &settings.interconnect;
    let mut paths = vec![
        ("data", &settings.data),
        ("interconnect.ca", &interconnect.ca),
        ("interconnect.certificate", &interconnect.certificate),
        ("interconnect.key", &interconnect.key),
    ];
    paths.extend(record_paths(&settings.record));
    paths.extend(platform_paths(&settings.platform));
    paths.extend(
        settings
            .rest
            .certificate
            .as_ref()
            .map(|p| ("rest.certificate", p)),
    );
    paths.extend(settings.download.ca.iter().map(|p| ("download.ca", p)));
    let client_ca = settings.rest.client_ca.as_ref();
    paths.extend(client_ca.map(|path| ("rest.client_ca", path)));
    paths.extend(settings.rest.key.as_ref().map(|p| ("rest.key", p)));
    paths.extend(
        settings
            .cluster
            .bootstrap
            .as_ref()
            .map(|p| ("cluster.bootstrap", p)),
    );
    let script = settings.update.gate_script.as_ref();
    paths.extend(script.map(|path| ("update.gate_script", path)));
    paths.extend(settings.lab.as_ref().map(|lab| ("lab.link", &lab.link)));
    match paths.into_iter().find(|(_, value)| !value.is_absolute()) {
        None => Ok(()),
        Some((field, value)) => {
            let (path, value) = (path.to_owned(), value.clone());
            Err(ConfigError::Relative { path, field, value })
        }
    }
}

fn record_paths(record: &RecordSettings) -> Vec<(&'static str, &PathBuf)> {
    match record {
        RecordSettings::Sqlite { path } => vec![("record.path", path)],
        RecordSettings::Etcd(_) => vec![],
        RecordSettings::SharedPool(shared) => vec![("record.path", &shared.path)],
    }
}

fn platform_paths(platform: &PlatformSettings) -> Vec<(&'static str, &PathBuf)> {
    match platform {
        PlatformSettings::Sim { socket } => vec![("platform.socket", socket)],
        PlatformSettings::Linux(linux) => {
            let mut paths = slot_paths(&linux.slots);
            let boot_id = linux.power.boot_id_file.as_ref();
            paths.extend(boot_id.map(|path| ("platform.power.boot_id_file", path)));
            let (own, partner) = (&linux.sp.own, &linux.sp.partner);
            let own = own.as_ref().map(|sp| &sp.password_file);
            paths.extend(own.map(|path| ("platform.sp.own.password_file", path)));
            let partner = partner.as_ref().map(|sp| &sp.password_file);
            paths.extend(partner.map(|path| ("platform.sp.partner.password_file", path)));
            paths
        }
    }
}

fn slot_paths(slots: &SlotSettings) -> Vec<(&'static str, &PathBuf)> {
    match slots {
        SlotSettings::Directory { path } => vec![("platform.slots.path", path)],
        SlotSettings::SystemdBoot(boot) => vec![
            ("platform.slots.esp", &boot.esp),
            ("platform.slots.a.tree", &boot.a.tree),
            ("platform.slots.b.tree", &boot.b.tree),
        ],
        SlotSettings::Grub(grub) => vec![
            ("platform.slots.env", &grub.env),
            ("platform.slots.a", &grub.a),
            ("platform.slots.b", &grub.b),
        ],
        SlotSettings::Rauc(rauc) => vec![
            ("platform.slots.a.tree", &rauc.a.tree),
            ("platform.slots.b.tree", &rauc.b.tree),
            ("platform.slots.state", &rauc.state),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    const EXAMPLE: &str = include_str!("../../../systemd/evenkeeld.toml.example");

    fn refused(from: &str, to: &str) -> String {
        assert!(EXAMPLE.contains(from), "{from} is not in the example");
        // What is commented out there belongs to its commented section.
        let section = from.strip_prefix("# ").and(Some("# [download]"));
        let text = EXAMPLE.replace(from, to);
        let text = match section.filter(|_| EXAMPLE.find("# [download]") < EXAMPLE.find(from)) {
            Some(section) => text.replace(section, "[download]"),
            None => text,
        };
        chain(&parse(Path::new("x.toml"), &text).expect_err("refused"))
    }

    #[test]
    fn the_example_is_a_configuration() {
        let settings = parse(Path::new("x.toml"), EXAMPLE).unwrap();
        assert_eq!(settings.node.as_str(), "node1");
    }

    #[test]
    fn an_error_names_the_place_and_the_reason() {
        let wrong = refused("listen = \"0.0.0.0:443\"", "listen = \"0.0.0.0\"");
        assert!(wrong.contains("rest.listen is \"0.0.0.0\""), "{wrong}");
        let wrong = refused("node = \"node1\"", "nod = \"node1\"");
        assert!(
            wrong.contains("line 4") && wrong.contains("unknown field `nod`"),
            "{wrong}"
        );
        let wrong = refused("node = \"node1\"", "node = \"node 1\"");
        assert!(wrong.contains("node name \"node 1\""), "{wrong}");
        let wrong = refused("data = \"/", "data = \"./");
        assert!(wrong.contains("data is ./"), "{wrong}");
        let wrong = refused("# tries = 10", "tries = 0");
        assert!(wrong.contains("download.tries is 0"), "{wrong}");
        let wrong = refused("# ca = [\"/", "ca = [\"./");
        assert!(wrong.contains("download.ca is ./"), "{wrong}");
        let wrong = refused("# key = ", "key = ");
        assert!(wrong.contains("rest.certificate is not"), "{wrong}");
    }
}
