//! What is decided once, when a lab is made, and kept with it.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use evenkeel_model::{
    ClusterId, LifConfig, LifName, NodeConfig, NodeId, NodeName, PlatformName, Topology,
};
use evenkeel_seam::Ids;
use serde::{Deserialize, Serialize};

use crate::addresses::{INTERCONNECT_PORT, LIF_PORT, Network, REST_PORT, cluster_address};

/// The hardware platform of lab nodes: packages for a lab are made for it.
pub const PLATFORM: &str = "lab-x86_64";
/// Most nodes of a lab: addresses of nodes and of LIFs share a network of 256.
pub const MAX_NODES: usize = 24;
/// Sites are called by a letter each.
const MAX_SITES: usize = 8;
/// The user of a lab's REST API.
pub(crate) const USER: &str = "admin";

/// A lab as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) topology: Topology,
    /// `host:port` that follows the coordinator.
    pub(crate) address: String,
    pub(crate) minute_ms: u64,
    /// From one scrub of a package to the next.
    #[serde(default)]
    pub(crate) scrub_every_ms: Option<NonZeroU64>,
    /// What each node may send of packages.
    #[serde(default)]
    pub(crate) package_bytes_per_second: Option<NonZeroU64>,
    pub(crate) password: String,
    /// Disks of each node.
    #[serde(default = "few_disks")]
    pub(crate) disks: u8,
    /// Seed of the hardware's boot ids.
    pub(crate) seed: u64,
}

/// What `evenkeel lab up` was asked for; what is not given is as it was, or the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) nodes: Option<usize>,
    pub(crate) sites: Option<usize>,
    pub(crate) disks: Option<u8>,
    pub(crate) minute: Option<Duration>,
    pub(crate) address: Option<String>,
    pub(crate) scrub_every: Option<Duration>,
    pub(crate) package_rate: Option<NonZeroU64>,
}

/// What labs had before it could be chosen.
fn few_disks() -> u8 {
    4
}

const DEFAULT_NODES: usize = 4;
const DEFAULT_MINUTE: Duration = Duration::from_secs(60);
const DEFAULT_ADDRESS: &str = "127.0.0.1:8443";

/// Whether a lab can have that many nodes.
pub(crate) fn check_nodes(nodes: usize) -> Result<usize> {
    ensure!(
        nodes == 1 || nodes >= 2 && nodes.is_multiple_of(2) && nodes <= MAX_NODES,
        "a lab is one node, or HA pairs: an even number of nodes from 2 to {MAX_NODES}"
    );
    Ok(nodes)
}

/// A pair stands at one site, so that a site that burns takes no pair's half.
fn check_sites(sites: usize, nodes: usize) -> Result<()> {
    ensure!(
        sites == 1 || (2..=MAX_SITES).contains(&sites) && 2 * sites <= nodes,
        "a lab of {nodes} nodes cannot span {sites} sites: at most {MAX_SITES}, each with an HA pair or more"
    );
    Ok(())
}

impl Settings {
    /// Decides.
    pub(crate) fn make(dir: &Path, asked: &Asked, ids: &dyn Ids) -> Result<Self> {
        let nodes = asked.nodes.unwrap_or(DEFAULT_NODES);
        check_nodes(nodes)?;
        let sites = asked.sites.unwrap_or(1);
        check_sites(sites, nodes)?;
        let address = asked.address.as_deref().unwrap_or(DEFAULT_ADDRESS);
        let minute = asked.minute.unwrap_or(DEFAULT_MINUTE);
        Ok(Self {
            topology: topology(Network::choose(dir, nodes)?, nodes, sites, ids)?,
            address: cluster_address(address, dir)?,
            minute_ms: minute.as_millis() as u64,
            scrub_every_ms: asked.scrub_every.and_then(millis),
            package_bytes_per_second: asked.package_rate,
            disks: asked.disks.unwrap_or_else(few_disks),
            password: ids.uuid().simple().to_string()[..20].to_owned(),
            seed: ids.uuid().as_u64_pair().1,
        })
    }

    /// Takes over what may differ from the time before.
    pub(crate) fn follow(&mut self, dir: &Path, asked: &Asked) -> Result<()> {
        let nodes = self.topology.nodes.len();
        ensure!(
            asked.nodes.is_none_or(|asked| asked == nodes),
            "this lab has {nodes} nodes, and their number cannot be changed"
        );
        let sites = self.topology.sites().len().max(1);
        ensure!(
            asked.sites.is_none_or(|asked| asked == sites),
            "this lab spans {sites} sites, and that cannot be changed"
        );
        ensure!(
            asked.disks.is_none_or(|asked| asked == self.disks),
            "the nodes of this lab have {} disks each, and that cannot be changed",
            self.disks
        );
        if let Some(minute) = asked.minute {
            self.minute_ms = minute.as_millis() as u64;
        }
        if let Some(every) = asked.scrub_every {
            self.scrub_every_ms = millis(every);
        }
        if asked.package_rate.is_some() {
            self.package_bytes_per_second = asked.package_rate;
        }
        match asked.address.as_deref() {
            // Any free port: the one it has is.
            Some(address) if !address.ends_with(":0") => {
                self.address = cluster_address(address, dir)?;
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> Option<NonZeroU64> {
    NonZeroU64::new(duration.as_millis() as u64)
}

fn topology(network: Network, nodes: usize, sites: usize, ids: &dyn Ids) -> Result<Topology> {
    let name =
        |index: usize| NodeName::new(format!("node{:0width$}", index + 1, width = digits(nodes)));
    let mut configs = Vec::new();
    for index in 0..nodes {
        let node = name(index)?;
        configs.push(NodeConfig {
            id: NodeId(ids.uuid()),
            partner: match nodes {
                1 => None,
                _ => Some(name(index ^ 1)?),
            },
            interconnect: format!("{}:{INTERCONNECT_PORT}", network.node(index)),
            rest: format!("{}:{REST_PORT}", network.node(index)),
            variant: None,
            features: Vec::new(),
            site: site(index, nodes, sites),
            platform: PlatformName::new(PLATFORM)?,
            lifs: vec![LifConfig {
                name: LifName::new(format!("lif_{node}"))?,
                address: format!("{}:{LIF_PORT}", network.lif(index)),
            }],
            name: node,
        });
    }
    Topology::new(ClusterId(ids.uuid()), "lab".to_owned(), configs).context("the lab's topology")
}

/// Pairs are dealt out to the sites in order: `site_A` has the first ones.
fn site(index: usize, nodes: usize, sites: usize) -> Option<String> {
    let (pair, pairs) = (index / 2, nodes / 2);
    let letter = |place: usize| char::from(b'A' + place as u8);
    (sites > 1).then(|| format!("site_{}", letter(pair * sites / pairs)))
}

/// Names sort as numbers do.
fn digits(nodes: usize) -> usize {
    nodes.to_string().len()
}

#[cfg(test)]
mod tests {
    use evenkeel_seam::SeededIds;

    use super::*;

    fn asked(nodes: usize) -> Asked {
        Asked {
            nodes: Some(nodes),
            address: Some("127.0.0.1:0".to_owned()),
            ..Asked::default()
        }
    }

    #[test]
    fn a_lab_has_pairs_or_one_node() {
        let ids = SeededIds::new(1);
        let dir = Path::new("/labs/pairs");
        let settings = Settings::make(dir, &asked(4), &ids).unwrap();
        let names: Vec<_> = settings.topology.names().map(|n| n.to_string()).collect();
        assert_eq!(names, ["node1", "node2", "node3", "node4"]);
        assert_eq!(settings.topology.pairs().len(), 2);
        let twelve = Settings::make(dir, &asked(12), &ids).unwrap().topology;
        assert_eq!(twelve.nodes[0].name.as_str(), "node01");
        let alone = Settings::make(dir, &asked(1), &ids).unwrap().topology;
        assert_eq!(alone.pairs().len(), 0);
        for wrong in [0, 3, 26] {
            assert!(Settings::make(dir, &asked(wrong), &ids).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_are_dealt_out_to_sites() {
        let make = |nodes, sites| {
            let asked = Asked {
                sites: Some(sites),
                ..asked(nodes)
            };
            Settings::make(Path::new("/labs/sites"), &asked, &SeededIds::new(1))
        };
        let topology = make(6, 2).unwrap().topology;
        let sites: Vec<_> = topology.nodes.iter().map(|n| n.site.clone()).collect();
        let [a, b] = ["site_A", "site_B"].map(|site| Some(site.to_owned()));
        assert_eq!(sites, [&a, &a, &a, &a, &b, &b].map(Clone::clone));
        assert!(make(4, 1).unwrap().topology.sites().is_empty());
        for (nodes, wrong) in [(2, 2), (4, 3), (4, 0), (24, 9)] {
            assert!(make(nodes, wrong).is_err(), "{nodes} nodes, {wrong} sites");
        }
    }

    #[test]
    fn what_is_asked_for_later_may_change_the_minute_but_not_the_nodes() {
        let dir = Path::new("/labs/later");
        let mut settings = Settings::make(dir, &asked(2), &SeededIds::new(1)).unwrap();
        let before = settings.clone();
        let later = Asked {
            minute: Some(Duration::from_millis(250)),
            address: Some("127.0.0.1:0".to_owned()),
            ..Asked::default()
        };
        settings.follow(dir, &later).unwrap();
        assert_eq!(settings.minute_ms, 250);
        assert_eq!(settings.address, before.address);
        assert!(settings.follow(dir, &asked(4)).is_err());
    }
}
