//! Whether the addresses on the partner answer.
//!
//! They are asked from this node, whose way to them is that of clients on the same network: by a ping, and where a firewall drops
//! that, by the kernel's table of neighbours, where ARP and neighbour discovery note who has answered.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_model::LifName;
use evenkeel_platform::PlatformError;
use futures_util::future::try_join_all;
use serde::Deserialize;

use super::layout::{Lif, Members};
use super::seen::Seen;
use crate::look::{json, unavailable};
use crate::{Call, Host};

/// For one reply; another request goes out meanwhile.
const REPLY_S: u64 = 2;
/// How long a run of a program may take.
const WITHIN: Duration = Duration::from_secs(3);

/// The LIFs that Pacemaker says are on the partner.
pub(super) fn there(seen: &Seen) -> impl Iterator<Item = &Lif> {
    let is_there = |lif: &&Lif| seen.current(lif).as_ref() == Some(&seen.members.partner);
    seen.layout.lifs.iter().filter(is_there)
}

/// LIFs that do not answer from the partner.
pub(super) struct Silence {
    /// The first one of them does not answer.
    pub(super) missing: String,
    /// How that is known. It may be told in other words each time.
    pub(super) because: String,
    /// All of them were taken over, and one of the partner's own answers: so this node and its network are well.
    pub(super) is_of_taken: bool,
}

impl Silence {
    /// A sentence about it.
    pub(super) fn why(&self) -> String {
        format!("{}: {}", self.missing, self.because)
    }
}

/// Asks each of them, side by side. The error is that this node cannot ask.
pub(super) async fn ask(host: &Host, seen: &Seen) -> Result<Option<Silence>, PlatformError> {
    let Members { local, partner } = &seen.members;
    let asked = there(seen).map(|lif| async move {
        let address = lif.address.ok_or_else(|| unread(&lif.name))?;
        Ok((lif, address, silence(host, address).await?))
    });
    let answers: Vec<(&Lif, IpAddr, Option<String>)> = try_join_all(asked).await?;
    let first = answers.iter().find_map(|(lif, address, why)| {
        let name = &lif.name;
        let missing = format!("LIF {name} ({address}) on {partner} does not answer {local}");
        Some((missing, why.clone()?))
    });
    let own = answers.iter().filter(|(lif, ..)| lif.home == *partner);
    let mut own = own.map(|(.., why)| why.is_none()).peekable();
    let is_of_taken = own.peek().is_some() && own.all(|answers| answers);
    Ok(first.map(|(missing, because)| Silence {
        missing,
        because,
        is_of_taken,
    }))
}

fn unread(lif: &LifName) -> PlatformError {
    unavailable(format!(
        "LIF {lif} has no address in its parameter ip, so it cannot be asked whether it answers"
    ))
}

/// Why an address counts as silent, unless another machine answers for it.
async fn silence(host: &Host, address: IpAddr) -> Result<Option<String>, PlatformError> {
    let text = address.to_string();
    let show = |what| Call::new("ip", ["-json", what, "show", "to", &text], WITHIN);
    let here: Vec<Link> = json(host, &show("address"), "iproute2").await?;
    if here.iter().any(|link| !link.addr_info.is_empty()) {
        return Ok(Some(format!(
            "it is on this node (ip address show to {text})"
        )));
    }
    let within = REPLY_S.to_string();
    let args = ["-n", "-q", "-c", "1", "-w", &within, &text];
    let pinged = host.run(&Call::new("ping", args, WITHIN)).await?;
    if pinged.code == Some(0) {
        return Ok(None);
    }
    let neighbours: Vec<Neighbour> = json(host, &show("neighbour"), "iproute2").await?;
    if neighbours.iter().any(Neighbour::has_answered) {
        return Ok(None);
    }
    let errors = pinged.errors.trim();
    Ok(Some(match errors.is_empty() {
        true => format!("no reply to ping, and no machine of this network says it has {text}"),
        false => errors.to_owned(),
    }))
}

/// A link; without addresses where it has not the one that was asked for.
#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    addr_info: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Neighbour {
    #[serde(default)]
    state: Vec<String>,
}

impl Neighbour {
    /// And lately: what was long ago is `STALE`.
    fn has_answered(&self) -> bool {
        self.state.iter().any(|state| state == "REACHABLE")
    }
}
