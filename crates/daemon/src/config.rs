//! Reading `evenkeeld.toml`.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use evenkeel_linux::devices::{HttpsRedfish, RedfishError};
use evenkeel_model::{
    DownloadSettings, EtcdSettings, FailoverSettings, NodeName, NodeSettings, PlatformSettings,
    RecordSettings, SlotSettings,
};
use evenkeel_record::{EtcdOpenError, EtcdOptions};

/// Exit code of what no configuration can be had for: `EX_CONFIG` of `sysexits.h`. Starting it again does not mend it.
pub(crate) const CONFIGURATION: u8 = 78;

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
    #[error(
        "{path}: {field} is {value:?}, which is no host:port with a port from 1 on (an IPv6 address goes in brackets)"
    )]
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
    /// Its text names the setting.
    #[error("{path}: these settings of a record on etcd cannot be meant")]
    Etcd {
        path: PathBuf,
        #[source]
        source: EtcdOpenError,
    },
    #[error("{path}: {field} is {partner}, which is this node itself")]
    OwnPartner {
        path: PathBuf,
        field: &'static str,
        partner: NodeName,
    },
    #[error("{path}: rest.listen and interconnect.listen are both {value:?}: each needs its own")]
    SameAddress { path: PathBuf, value: String },
    #[error(
        "{path}: platform.sp.none says that there is no service processor, and platform.sp.{named} names one"
    )]
    NoProcessor { path: PathBuf, named: &'static str },
    /// Its text names the setting.
    #[error("{path}: these settings of the service processor cannot be meant")]
    Redfish {
        path: PathBuf,
        #[source]
        source: RedfishError,
    },
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
    let settings = read(text, host_name).map_err(|source| ConfigError::Parse {
        path: path.to_owned(),
        source,
    })?;
    check_addresses(path, &settings)?;
    check_paths(path, &settings)?;
    check_together(path, &settings)?;
    if let RecordSettings::Etcd(etcd) = &settings.record {
        check_etcd(path, etcd)?;
    }
    check_download(path, &settings.download)?;
    check_partner(path, &settings)?;
    check_processors(path, &settings)?;
    if settings.lab.as_ref().is_some_and(|lab| lab.minute_ms == 0) {
        return Err(ConfigError::NoMinute {
            path: path.to_owned(),
        });
    }
    Ok(settings)
}

/// A certificate without its key, or without whom it believes, is worth nothing; nor is a user without a password.
fn check_together(path: &Path, settings: &NodeSettings) -> Result<(), ConfigError> {
    let (rest, interconnect) = (&settings.rest, &settings.interconnect);
    let mut groups = vec![
        vec![
            ("rest.certificate", rest.certificate.is_some()),
            ("rest.key", rest.key.is_some()),
        ],
        vec![
            ("interconnect.ca", interconnect.ca.is_some()),
            (
                "interconnect.certificate",
                interconnect.certificate.is_some(),
            ),
            ("interconnect.key", interconnect.key.is_some()),
        ],
    ];
    if let RecordSettings::Etcd(etcd) = &settings.record {
        groups.push(vec![
            ("record.certificate", etcd.certificate.is_some()),
            ("record.key", etcd.key.is_some()),
        ]);
        groups.push(vec![
            ("record.user", etcd.user.is_some()),
            ("record.password_file", etcd.password_file.is_some()),
        ]);
    }
    for group in groups {
        let find = |is_set: bool| group.iter().find(|(_, set)| *set == is_set);
        if let (Some((given, _)), Some((missing, _))) = (find(true), find(false)) {
            return Err(ConfigError::Pair {
                path: path.to_owned(),
                given,
                missing,
            });
        }
    }
    Ok(())
}

fn check_etcd(path: &Path, etcd: &EtcdSettings) -> Result<(), ConfigError> {
    let checked = EtcdOptions::new(etcd).check();
    checked.map_err(|source| {
        let path = path.to_owned();
        ConfigError::Etcd { path, source }
    })
}

fn check_partner(path: &Path, settings: &NodeSettings) -> Result<(), ConfigError> {
    let mut partners = Vec::new();
    if let RecordSettings::SharedPool(shared) = &settings.record {
        partners.push(("record.partner", &shared.partner));
    }
    if let PlatformSettings::Linux(linux) = &settings.platform
        && let Some(FailoverSettings::Pacemaker { partner, .. }) = &linux.failover
    {
        partners.push(("platform.failover.partner", partner));
    }
    match partners.into_iter().find(|(_, it)| **it == settings.node) {
        None => Ok(()),
        Some((field, partner)) => {
            let (path, partner) = (path.to_owned(), partner.clone());
            Err(ConfigError::OwnPartner {
                path,
                field,
                partner,
            })
        }
    }
}

/// There either are service processors, or there are none; and whoever has one can be spoken to, and is not anybody.
fn check_processors(path: &Path, settings: &NodeSettings) -> Result<(), ConfigError> {
    let PlatformSettings::Linux(linux) = &settings.platform else {
        return Ok(());
    };
    let sp = &linux.sp;
    let named = [
        ("own", sp.own.is_some()),
        ("partner", sp.partner.is_some()),
        ("redfish", sp.redfish.is_some()),
    ];
    if let Some((named, _)) = named.into_iter().find(|(_, named)| sp.none && *named) {
        let path = path.to_owned();
        return Err(ConfigError::NoProcessor { path, named });
    }
    let checked = sp.redfish.as_ref().map(HttpsRedfish::check).transpose();
    checked.map(drop).map_err(|source| {
        let path = path.to_owned();
        ConfigError::Redfish { path, source }
    })
}

/// A configuration that names no node is that of the host: so the same file does for all of a cluster's.
fn read(text: &str, host: impl Fn() -> Option<String>) -> Result<NodeSettings, toml::de::Error> {
    let table: toml::Table = toml::from_str(text)?;
    match (table.contains_key("node"), host()) {
        (false, Some(host)) => toml::from_str(&naming(&host, text)),
        (true, _) | (false, None) => toml::from_str(text),
    }
}

/// The text with the node's name in place of a first line that says nothing, so that errors name the lines of the file.
fn naming(host: &str, text: &str) -> String {
    let node = toml::Value::from(host);
    match text.split_once('\n') {
        Some((first, rest)) if first.trim().is_empty() || first.starts_with('#') => {
            format!("node = {node}\n{rest}")
        }
        Some(_) | None => format!("node = {node}\n{text}"),
    }
}

/// The host's name, without its domain.
fn host_name() -> Option<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let first = host.trim().split('.').next()?;
    (!first.is_empty()).then(|| first.to_owned())
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
    if let RecordSettings::SharedPool(shared) = &settings.record {
        addresses.push(("record.partner_address", &shared.partner_address));
    }
    for (field, value) in addresses {
        if !is_host_and_port(value) {
            let (path, value) = (path.to_owned(), value.clone());
            return Err(ConfigError::Address { path, field, value });
        }
    }
    let value = &settings.rest.listen;
    if *value == settings.interconnect.listen {
        let (path, value) = (path.to_owned(), value.clone());
        return Err(ConfigError::SameAddress { path, value });
    }
    Ok(())
}

/// A name, an IPv4 address, or an IPv6 address in brackets, and a port that something can listen on.
fn is_host_and_port(value: &str) -> bool {
    let Some((host, port)) = value.rsplit_once(':') else {
        return false;
    };
    let of_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_host = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        // What follows `%` is a zone.
        Some(inner) => {
            let address = inner.split('%').next().unwrap_or_default();
            address.parse::<Ipv6Addr>().is_ok()
        }
        None if host.chars().all(|c| c.is_ascii_digit() || c == '.') => {
            host.parse::<Ipv4Addr>().is_ok()
        }
        // Without brackets it is listened on too, as it was in earlier releases.
        None => host.parse::<Ipv6Addr>().is_ok() || host.chars().all(of_name),
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// The daemon's working folder is systemd's, so a relative path would mean something else every time.
fn check_paths(path: &Path, settings: &NodeSettings) -> Result<(), ConfigError> {
    let mut paths = named_paths(settings).into_iter();
    match paths.find(|(_, value)| !value.is_absolute()) {
        None => Ok(()),
        Some((field, value)) => {
            let (path, value) = (path.to_owned(), value.clone());
            Err(ConfigError::Relative { path, field, value })
        }
    }
}

/// All files and folders that the configuration names, with their settings.
pub(crate) fn named_paths(settings: &NodeSettings) -> Vec<(&'static str, &PathBuf)> {
    let interconnect = &settings.interconnect;
    let mut paths = vec![("data", &settings.data)];
    let identity = [
        ("interconnect.ca", &interconnect.ca),
        ("interconnect.certificate", &interconnect.certificate),
        ("interconnect.key", &interconnect.key),
    ];
    paths.extend(
        identity
            .into_iter()
            .filter_map(|(field, path)| Some((field, path.as_ref()?))),
    );
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
    paths
}

fn record_paths(record: &RecordSettings) -> Vec<(&'static str, &PathBuf)> {
    match record {
        RecordSettings::Sqlite { path } => vec![("record.path", path)],
        RecordSettings::Etcd(etcd) => {
            let files = [
                ("record.ca", &etcd.ca),
                ("record.certificate", &etcd.certificate),
                ("record.key", &etcd.key),
                ("record.password_file", &etcd.password_file),
            ];
            let files = files.into_iter();
            files
                .filter_map(|(field, file)| file.as_ref().map(|file| (field, file)))
                .collect()
        }
        RecordSettings::SharedPool(shared) => {
            vec![("record.path", &shared.path), ("record.seat", &shared.seat)]
        }
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
            if let Some(redfish) = &linux.sp.redfish {
                let password = &redfish.password_file;
                paths.push(("platform.sp.redfish.password_file", password));
                paths.extend(
                    redfish
                        .ca
                        .iter()
                        .map(|path| ("platform.sp.redfish.ca", path)),
                );
            }
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

    const PACKAGED: &str = include_str!("../../../systemd/evenkeeld.toml");

    #[test]
    fn what_the_package_brings_is_a_configuration_for_any_host() {
        let host = || Some("stor7".to_owned());
        assert_eq!(read(PACKAGED, host).unwrap().node.as_str(), "stor7");
        assert_eq!(read(EXAMPLE, host).unwrap().node.as_str(), "node1");
        assert!(read(PACKAGED, || None).is_err(), "nobody says who it is");
        let wrong = PACKAGED.replace("data = ", "dat = ");
        let wrong = read(&wrong, host).unwrap_err().to_string();
        assert!(
            wrong.contains("line 7") && wrong.contains("unknown field `dat`"),
            "{wrong}"
        );
        assert!(read(PACKAGED, || Some("no name".to_owned())).is_err());
    }

    fn refused(from: &str, to: &str) -> String {
        assert!(EXAMPLE.contains(from), "{from} is not in the example");
        // What is commented out there belongs to its commented section.
        let section = from.strip_prefix("# ").and(Some("# [download]"));
        let text = EXAMPLE.replacen(from, to, 1);
        let text = match section.filter(|_| EXAMPLE.find("# [download]") < EXAMPLE.find(from)) {
            Some(section) => text.replace(section, "[download]"),
            None => text,
        };
        chain(&parse(Path::new("x.toml"), &text).expect_err("refused"))
    }

    #[test]
    fn an_address_is_one_that_something_can_listen_on() {
        for good in [
            "0.0.0.0:443",
            "[::]:4430",
            "[fe80::1%eth0]:1",
            "fd00::1:4430",
            "ctl-a.example:65535",
        ] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.0.0.1:0",
            "300.1.1.1:4430",
            "[ctl-a]:443",
            ":443",
            " :443",
            "http://x:443",
            "x:70000",
        ] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    #[test]
    fn the_example_is_a_configuration() {
        let settings = parse(Path::new("x.toml"), EXAMPLE).unwrap();
        assert_eq!(settings.node.as_str(), "node1");
    }

    /// The example with its record on etcd, changed once.
    fn on_etcd(from: &str, to: &str) -> Result<NodeSettings, String> {
        let mut text = String::new();
        let mut is_etcd = false;
        for line in EXAMPLE.lines() {
            is_etcd &= line.starts_with("# ");
            is_etcd |= line == "# backend = \"etcd\"";
            let line = match line {
                "backend = \"sqlite\"" => "",
                line if line.starts_with("path = ") => "",
                line if is_etcd => &line[2..],
                line => line,
            };
            text.push_str(line);
            text.push('\n');
        }
        assert!(text.contains(from), "{from} is not in the example");
        let parsed = parse(Path::new("x.toml"), &text.replacen(from, to, 1));
        parsed.map_err(|error| chain(&error))
    }

    #[test]
    fn a_record_on_etcd_is_checked_before_it_is_opened() {
        let settings = on_etcd("", "").unwrap();
        let RecordSettings::Etcd(etcd) = settings.record else {
            panic!("{:?}", settings.record);
        };
        assert_eq!(etcd.endpoints.len(), 3);
        assert_eq!(
            (etcd.prefix.as_str(), etcd.members.len()),
            ("/evenkeel/", 2)
        );
        for (from, to, why) in [
            (
                "\"https://192.0.2.21:2379\",",
                "\"192.0.2.21:2379\",",
                "\"192.0.2.21:2379\"",
            ),
            (
                "ca = \"/etc/evenkeel/etcd",
                "ca = \"./etcd",
                "record.ca is ./etcd",
            ),
            (
                "key = \"/etc/evenkeel/etcd",
                "# key = \"/",
                "record.key is not",
            ),
            (
                "password_file = ",
                "# password_file = ",
                "record.password_file is not",
            ),
            (
                "prefix = \"/evenkeel/\"",
                "prefix = \"/evenkeel\"",
                "must end with /",
            ),
            (
                "node1 = \"https://192.0.2.21",
                "node1 = \"https://192.0.2.29",
                "record.members.node1",
            ),
            (
                "\"https://192.0.2.22:2379\",",
                "\"http://192.0.2.22:2379\",",
                "is not https",
            ),
        ] {
            let refused = on_etcd(from, to).expect_err(to);
            assert!(refused.contains(why), "{refused}");
        }
    }

    /// The example's other record, in the place of the one that is chosen there.
    fn shared_pool(from: &str, to: &str) -> Result<NodeSettings, String> {
        let chosen = "backend = \"sqlite\"\npath = \"/var/lib/evenkeel/record.db\"\n";
        assert!(EXAMPLE.contains(chosen), "{chosen} is not in the example");
        let mut text = EXAMPLE.replace(chosen, "");
        let (_, other) = EXAMPLE.split_once("# backend = \"shared_pool\"").unwrap();
        let (other, _) = other.split_once("\n\n").unwrap();
        let other = format!("# backend = \"shared_pool\"{other}");
        let lines = other.lines().filter(|line| line.contains(" = "));
        let active: Vec<_> = lines.map(|line| line.trim_start_matches("# ")).collect();
        let active = active.join("\n").replace(from, to);
        text = text.replace(&other, &active);
        parse(Path::new("x.toml"), &text).map_err(|error| chain(&error))
    }

    #[test]
    fn the_examples_record_on_the_pool_is_a_configuration() {
        let settings = shared_pool("", "").unwrap();
        let RecordSettings::SharedPool(shared) = settings.record else {
            panic!("{:?}", settings.record)
        };
        assert_eq!(shared.partner.as_str(), "node2");
        assert_eq!(shared.seat, Path::new("/run/evenkeel/record-seat"));
        assert!(shared.must_be_mounted);
        let wrong = shared_pool("partner = \"node2\"", "partner = \"node1\"").unwrap_err();
        assert!(
            wrong.contains("record.partner is node1, which is this"),
            "{wrong}"
        );
        let wrong = shared_pool(":4430", "").unwrap_err();
        assert!(wrong.contains("record.partner_address is"), "{wrong}");
        let wrong = shared_pool("path = \"/", "path = \"").unwrap_err();
        assert!(wrong.contains("record.path is"), "{wrong}");
        let wrong = shared_pool("seat = \"/", "seat = \"").unwrap_err();
        assert!(wrong.contains("record.seat is"), "{wrong}");
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
        let simulated = "backend = \"sim\"\nsocket = \"/run/evenkeel/platform.sock\"";
        let linux = "backend = \"linux\"\nslots = { kind = \"directory\", path = \"/slots\" }\n[platform.sp]\nnone = true\n\
                     partner = { host = \"h\", user = \"u\", password_file = \"/p\" }";
        let wrong = refused(simulated, linux);
        assert!(wrong.contains("platform.sp.partner names one"), "{wrong}");
        for (redfish, why) in [
            (
                "url = \"https://bmc\", password_file = \"/p\"",
                "needs a ca or a fingerprint",
            ),
            (
                "url = \"bmc\", password_file = \"/p\", ca = \"/ca\"",
                "redfish.url is \"bmc\"",
            ),
            (
                "url = \"https://bmc\", password_file = \"p\", ca = \"/ca\"",
                "redfish.password_file is p",
            ),
            (
                "url = \"https://bmc\", password_file = \"/p\", ca = \"ca\"",
                "redfish.ca is ca",
            ),
        ] {
            let linux = format!(
                "backend = \"linux\"\nslots = {{ kind = \"directory\", path = \"/slots\" }}\n[platform.sp]\n\
                 redfish = {{ user = \"u\", {redfish} }}"
            );
            let wrong = refused(simulated, &linux);
            assert!(wrong.contains(why), "{wrong}");
        }
        let wrong = refused("# tries = 10", "tries = 0");
        assert!(wrong.contains("download.tries is 0"), "{wrong}");
        let wrong = refused("# ca = [\"/", "ca = [\"./");
        assert!(wrong.contains("download.ca is ./"), "{wrong}");
        let wrong = refused("# key = \"/etc/evenkeel/rest", "key = \"/etc/evenkeel/rest");
        assert!(wrong.contains("rest.certificate is not"), "{wrong}");
        let wrong = refused(
            "# ca = \"/etc/evenkeel/cluster-ca",
            "ca = \"/etc/evenkeel/cluster-ca",
        );
        assert!(wrong.contains("interconnect.certificate is not"), "{wrong}");
    }
}
