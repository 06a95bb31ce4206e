//! Ports that can carry data LIFs.
//!
//! Which ports those are, and which can stand in for each other, the configuration says. If it says nothing: every port with an address
//! of its own, and the network of its first address is its domain, so that both partners name the same network alike.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use evenkeel_model::PortState;
use serde::Deserialize;

use crate::look::{Answer, exists, json};
use crate::{Call, Host};

const WITHIN: Duration = Duration::from_secs(3);

/// The node's ports; `named` are those of the configuration, with their domains.
pub(crate) async fn ports(host: &Host, named: &BTreeMap<String, String>) -> Answer<Vec<PortState>> {
    if !named.is_empty() {
        let port = |(name, domain): (&String, &String)| {
            Ok(PortState {
                name: name.clone(),
                broadcast_domain: domain.clone(),
                up: is_up(host, name)?,
            })
        };
        return named.iter().map(port).collect();
    }
    let call = Call::new("ip", ["-json", "address", "show"], WITHIN);
    let links: Vec<Link> = json(host, &call, "iproute2").await?;
    let mut ports = Vec::new();
    for link in links {
        if let Some(domain) = link.network() {
            ports.push(PortState {
                up: is_up(host, &link.ifname)?,
                name: link.ifname,
                broadcast_domain: domain,
            });
        }
    }
    Ok(ports)
}

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    /// Set for a part of a bond or a bridge, which is the port itself.
    master: Option<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<IpAddr>,
    prefixlen: Option<u8>,
    scope: Option<String>,
    /// The other end of a link between two.
    address: Option<IpAddr>,
}

impl Link {
    /// The network of its first address that others share; none for what carries no data.
    fn network(&self) -> Option<String> {
        if self.flags.iter().any(|flag| flag == "LOOPBACK") || self.master.is_some() {
            return None;
        }
        self.addr_info.iter().find_map(Address::network)
    }
}

impl Address {
    fn network(&self) -> Option<String> {
        if self.scope.as_deref() != Some("global") || self.address.is_some() {
            return None;
        }
        let prefix = u32::from(self.prefixlen?);
        match self.local? {
            IpAddr::V4(ip) if prefix < 32 => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                let network = std::net::Ipv4Addr::from(u32::from(ip) & mask);
                Some(format!("{network}/{prefix}"))
            }
            IpAddr::V6(ip) if prefix < 128 => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                let network = std::net::Ipv6Addr::from(u128::from(ip) & mask);
                Some(format!("{network}/{prefix}"))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }
}

/// Whether a port has a link. One that is not there, or is switched off, has none.
fn is_up(host: &Host, name: &str) -> Answer<bool> {
    let port = Path::new("/sys/class/net").join(name);
    if !exists(host, &port)? {
        return Ok(false);
    }
    match host.read(port.join("operstate"))?.as_str() {
        "up" => Ok(true),
        // Drivers that say nothing of operation still tell a carrier. It cannot be read while the port is off.
        "unknown" => Ok(host
            .read(port.join("carrier"))
            .is_ok_and(|carrier| carrier == "1")),
        _ => Ok(false),
    }
}
