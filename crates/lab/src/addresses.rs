//! Loopback addresses that no other lab of this machine uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Ports are the same on every node: each has an address of its own.
pub(crate) const REST_PORT: u16 = 8443;
pub(crate) const INTERCONNECT_PORT: u16 = 8444;
pub(crate) const LIF_PORT: u16 = 8445;

/// How many networks are tried before giving up: each is one of 60 000.
const ATTEMPTS: u32 = 64;

/// Ports below those that the kernel hands out to clients.
const CLUSTER_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Together two seconds.
const FREE_ATTEMPTS: u32 = 40;
const FREE_PAUSE: Duration = Duration::from_millis(50);

/// The network `127.x.y.0/24` of one lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    x: u8,
    y: u8,
}

impl Network {
    /// A network whose addresses can be bound, chosen by the lab's folder.
    pub(crate) fn choose(dir: &Path, nodes: usize) -> Result<Self> {
        for attempt in 0..ATTEMPTS {
            let hash = hash(dir, attempt);
            // 127.0.0.0/16 and the ends are left to others.
            let network = Self {
                x: 1 + hash[0] % 254,
                y: 1 + hash[1] % 254,
            };
            if network.addresses(nodes).iter().all(|a| can_bind(*a)) {
                return Ok(network);
            }
        }
        bail!("no free loopback addresses were found after {ATTEMPTS} attempts")
    }

    /// Address of the node with that number, from 0.
    pub(crate) fn node(self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, self.x, self.y, 10 + index as u8)
    }

    /// Address of the LIF at home on that node.
    pub(crate) fn lif(self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, self.x, self.y, 110 + index as u8)
    }

    fn addresses(self, nodes: usize) -> Vec<SocketAddr> {
        let of = |index| {
            [
                (self.node(index), REST_PORT),
                (self.node(index), INTERCONNECT_PORT),
                (self.lif(index), LIF_PORT),
            ]
        };
        let all = (0..nodes).flat_map(of);
        all.map(|(ip, port)| SocketAddr::new(IpAddr::V4(ip), port))
            .collect()
    }
}

/// Makes sure that an address can be bound. Daemons of a supervisor that was killed just now die with
/// it, but not in the same instant.
pub(crate) async fn require_free(address: &str) -> Result<()> {
    let parsed: SocketAddr = address
        .parse()
        .with_context(|| format!("{address} is not an IP address and port"))?;
    for _ in 0..FREE_ATTEMPTS {
        if can_bind(parsed) {
            return Ok(());
        }
        tokio::time::sleep(FREE_PAUSE).await;
    }
    bail!("{address} cannot be bound: another process uses it")
}

/// An address that a cluster may have: a lab is for this machine only.
pub(crate) fn parse_address(asked: &str) -> Result<SocketAddr> {
    let address: SocketAddr = asked
        .parse()
        .with_context(|| format!("{asked} is not an IP address and port"))?;
    ensure!(
        address.ip().is_loopback(),
        "{asked} is not a loopback address, and a lab's password is not for others"
    );
    Ok(address)
}

/// The cluster address as asked for; port 0 stands for any that is free.
pub(crate) fn cluster_address(asked: &str, dir: &Path) -> Result<String> {
    let address = parse_address(asked)?;
    if address.port() != 0 {
        return Ok(asked.to_owned());
    }
    let count = u32::from(CLUSTER_PORTS.end - CLUSTER_PORTS.start);
    for attempt in 0..ATTEMPTS {
        let hash = hash(dir, attempt);
        let offset = u32::from_be_bytes([hash[2], hash[3], hash[4], hash[5]]) % count;
        let port = CLUSTER_PORTS.start + offset as u16;
        let candidate = SocketAddr::new(address.ip(), port);
        if can_bind(candidate) {
            return Ok(candidate.to_string());
        }
    }
    bail!("no free port was found on {}", address.ip())
}

fn hash(dir: &Path, attempt: u32) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(dir.as_os_str().as_encoded_bytes());
    hasher.update(attempt.to_be_bytes());
    hasher.finalize().into()
}

fn can_bind(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_network_is_passed_over_and_a_port_is_found() {
        let dir = Path::new("/some/lab/of/this/test");
        let first = Network::choose(dir, 4).unwrap();
        assert_eq!(Network::choose(dir, 4).unwrap(), first);
        let taken = TcpListener::bind((first.lif(3), LIF_PORT)).unwrap();
        assert_ne!(Network::choose(dir, 4).unwrap(), first);
        drop(taken);
        let address = cluster_address("127.0.0.1:0", dir).unwrap();
        let taken = TcpListener::bind(&address).unwrap();
        assert_ne!(cluster_address("127.0.0.1:0", dir).unwrap(), address);
        assert!(require_free(&address).await.is_err());
        drop(taken);
        require_free(&address).await.unwrap();
    }

    #[test]
    fn addresses_that_others_reach_are_refused() {
        for wrong in ["0.0.0.0:8443", "192.0.2.1:1", "localhost:8443", "8443"] {
            assert!(cluster_address(wrong, Path::new("/x")).is_err(), "{wrong}");
        }
    }
}
