//! DRBD, from the JSON of `drbdsetup status` (drbdsetup(8) of DRBD 9): a copy of a device on each of several nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::PoolHealth;
use serde::Deserialize;

use super::health::{Health, worse};
use crate::block;
use crate::look::{Answer, json, unavailable};
use crate::{Call, Host};

/// The kernel answers from memory.
const WITHIN: Duration = Duration::from_secs(5);
const PACKAGE: &str = "drbd-utils";

const UP_TO_DATE: &str = "UpToDate";
const CONNECTED: &str = "Connected";
/// One copy is brought up to the other, or is about to be.
const SYNCS: [&str; 11] = [
    "SyncSource",
    "SyncTarget",
    "PausedSyncS",
    "PausedSyncT",
    "StartingSyncS",
    "StartingSyncT",
    "WFBitMapS",
    "WFBitMapT",
    "WFSyncUUID",
    "Ahead",
    "Behind",
];
/// Both copies are compared.
const VERIFIES: [&str; 2] = ["VerifyS", "VerifyT"];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Resource {
    /// Writes wait: there is no quorum, or no copy.
    #[serde(default)]
    suspended: bool,
    devices: Vec<Volume>,
    #[serde(default)]
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Volume {
    volume: u32,
    minor: u32,
    disk_state: String,
    /// Without it there are no writes, whatever the setting for that case.
    #[serde(default = "yes")]
    quorum: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Connection {
    connection_state: String,
    #[serde(default, rename = "peer_devices")]
    peers: Vec<Peer>,
}

/// A volume, as it is on another node.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Peer {
    volume: u32,
    replication_state: String,
    peer_disk_state: String,
    /// It has no disk on purpose, and stands there for the quorum.
    #[serde(default)]
    peer_client: bool,
}

/// The minor number of a device: the same in `drbdsetup` and in the kernel.
pub(crate) fn minor(host: &Host, name: &str) -> Answer<u32> {
    // A partition of one has a number of its own.
    let device = block::dev(host, &block::whole(host, name)?)?;
    let minor = device
        .split_once(':')
        .and_then(|(_, minor)| minor.parse().ok());
    minor.ok_or_else(|| unavailable(format!("{name} has the number {device:?}")))
}

/// The worst of these devices.
pub(crate) async fn health(host: &Host, minors: &BTreeSet<u32>) -> Answer<Health> {
    let mut whole = (PoolHealth::Online, false);
    if minors.is_empty() {
        return Ok(whole);
    }
    let call = Call::new("drbdsetup", ["status", "--json"], WITHIN);
    let resources: Vec<Resource> = json(host, &call, PACKAGE).await?;
    for minor in minors {
        let mut said = resources.iter().filter_map(|resource| resource.of(*minor));
        let said = said.next().ok_or_else(|| {
            unavailable(format!(
                "{} does not name the device of minor number {minor}",
                call.line()
            ))
        })?;
        whole = worse(whole, said);
    }
    Ok(whole)
}

impl Resource {
    /// Whole is a device that is up to date here and on every node that keeps a copy, of which there is one at least: whichever node
    /// goes away, what stays is all there is.
    fn of(&self, minor: u32) -> Option<Health> {
        let device = self.devices.iter().find(|device| device.minor == minor)?;
        if self.suspended || !device.quorum {
            return Some((PoolHealth::Offline, false));
        }
        let mut copies = Vec::new();
        for connection in &self.connections {
            let mut peers = connection.peers.iter();
            let peer = peers.find(|peer| peer.volume == device.volume);
            match peer {
                Some(peer) if peer.peer_client && connection.connection_state == CONNECTED => {}
                Some(peer) if connection.connection_state == CONNECTED => {
                    copies.push(peer.health())
                }
                Some(_) | None => copies.push((PoolHealth::Degraded, false)),
            }
        }
        let syncs = copies.iter().any(|copy| copy.0 == PoolHealth::Resyncing);
        let own = match (device.disk_state == UP_TO_DATE, syncs) {
            (true, _) if copies.is_empty() => PoolHealth::Degraded,
            (true, _) => PoolHealth::Online,
            (false, true) => PoolHealth::Resyncing,
            (false, false) => PoolHealth::Degraded,
        };
        Some(copies.into_iter().fold((own, false), worse))
    }
}

impl Peer {
    fn health(&self) -> Health {
        let does = self.replication_state.as_str();
        let verifies = VERIFIES.contains(&does);
        let health = match self.peer_disk_state == UP_TO_DATE {
            _ if SYNCS.contains(&does) => PoolHealth::Resyncing,
            true if verifies || does == "Established" => PoolHealth::Online,
            true | false => PoolHealth::Degraded,
        };
        (health, verifies)
    }
}
