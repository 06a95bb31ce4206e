//! iSCSI and other SAN hosts of the kernel's target (LIO), from configfs.

use std::path::{Path, PathBuf};

use evenkeel_model::{ClientRisk, ClientRiskKind};

use crate::Host;
use crate::look::{Answer, entries};

const TARGET: &str = "/sys/kernel/config/target";
/// What the kernel writes into a host's `info` while the host is not logged in. Anything else is taken for a session.
const IDLE: &str = "No active iSCSI Session";

/// Hosts that are logged in here. Whether they are logged in at the partner too is not seen from here, so each of them is one to look at.
pub(super) fn risks(host: &Host) -> Answer<Vec<ClientRisk>> {
    let mut risks = Vec::new();
    for fabric in entries(host, TARGET)? {
        // `core` holds the storage behind the targets.
        let at = Path::new(TARGET).join(&fabric);
        if matches!(fabric.as_str(), "core" | "dbroot" | "version") || !at_is_folder(host, &at) {
            continue;
        }
        for target in folders(host, &at)? {
            for group in folders(host, &target)? {
                risks.extend(
                    hosts(host, &group)?
                        .into_iter()
                        .map(|name| risk(&fabric, &name)),
                );
            }
        }
    }
    risks.sort_by(|one, other| one.what.cmp(&other.what));
    risks.dedup();
    Ok(risks)
}

fn risk(fabric: &str, name: &str) -> ClientRisk {
    ClientRisk {
        kind: ClientRiskKind::SinglePath,
        what: format!(
            "{fabric} host {name} is logged in; whether it has paths through the partner too is not seen from here"
        ),
    }
}

/// The hosts of a portal group: those with an entry of their own, and those that were let in without one.
fn hosts(host: &Host, group: &Path) -> Answer<Vec<String>> {
    let mut names = Vec::new();
    let acls = group.join("acls");
    for name in entries(host, &acls)? {
        let info = host.read_if_any(acls.join(&name).join("info"))?;
        // Fabrics without this file do not tell who is logged in: who may be is counted as if.
        if info.is_none_or(|info| !info.starts_with(IDLE)) {
            names.push(name);
        }
    }
    let dynamic = host.read_if_any(group.join("dynamic_sessions"))?;
    let dynamic = dynamic.unwrap_or_default();
    let logged_in = dynamic.split(['\n', '\0']).map(str::trim);
    names.extend(logged_in.filter(|name| !name.is_empty()).map(str::to_owned));
    Ok(names)
}

fn folders(host: &Host, at: &Path) -> Answer<Vec<PathBuf>> {
    let names = entries(host, at)?.into_iter();
    let folders = names.map(|name| at.join(name));
    Ok(folders
        .filter(|folder| at_is_folder(host, folder))
        .collect())
}

fn at_is_folder(host: &Host, at: &Path) -> bool {
    host.path(at).is_dir()
}
