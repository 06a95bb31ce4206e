//! Hosts of the kernel's NVMe target. Its configuration names who may connect; who is connected it tells only in debugfs, and only
//! since Linux 6.11.

use std::path::Path;

use evenkeel_model::{ClientRisk, ClientRiskKind};

use crate::Host;
use crate::look::{Answer, entries, exists};

const PORTS: &str = "/sys/kernel/config/nvmet/ports";
const DEBUG: &str = "/sys/kernel/debug/nvmet";

pub(super) fn risks(host: &Host) -> Answer<Vec<ClientRisk>> {
    let mut risks = Vec::new();
    for subsystem in served(host)? {
        let known = Path::new(DEBUG).join(&subsystem);
        if !exists(host, &known)? {
            // Not known, and nothing that can be installed would tell: it is said as the risk that it is.
            let what = format!(
                "who is connected to NVMe subsystem {subsystem} is not told by this kernel, nor whether with paths through both nodes"
            );
            risks.push(risk(what));
            continue;
        }
        for entry in entries(host, &known)? {
            if entry.starts_with("ctrl") {
                let name = host.read_if_any(known.join(&entry).join("hostnqn"))?;
                let name = name.unwrap_or_else(|| format!("of controller {entry}"));
                let what = format!(
                    "NVMe host {name} is connected to {subsystem}; whether it has paths through the partner too is not seen from here"
                );
                risks.push(risk(what));
            }
        }
    }
    risks.dedup();
    Ok(risks)
}

fn risk(what: String) -> ClientRisk {
    ClientRisk {
        kind: ClientRiskKind::SinglePath,
        what,
    }
}

/// Subsystems that are linked to a port: others are not reached by anybody.
fn served(host: &Host) -> Answer<Vec<String>> {
    let mut served = Vec::new();
    for port in entries(host, PORTS)? {
        let links = Path::new(PORTS).join(port).join("subsystems");
        served.extend(entries(host, links)?);
    }
    served.sort();
    served.dedup();
    Ok(served)
}
