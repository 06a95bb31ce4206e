//! What a simulated cluster is made of.

use std::time::Duration;

use evenkeel_model::{
    BundledCheck, ClusterId, Digest, LifConfig, LifName, ManifestSummary, NodeConfig, NodeId,
    NodeName, PackageRef, PlatformName, SourceVersions, Topology, UserName, Version, WallTime,
};
use evenkeel_platform::sim::HardwareSettings;
use evenkeel_record::MemoryFaults;
use jiff::Timestamp;
use uuid::Uuid;

/// The version that every node starts with.
pub const OLD: &str = "9.10.0";
/// The version that every node ran before, where its other slot is not empty: in every fourth cluster.
pub(crate) const BEFORE: &str = "9.9.1";
/// The version of the package in the catalogue.
pub const NEW: &str = "9.10.1";

/// A cluster to simulate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many nodes: 1, or an even number.
    pub nodes: usize,
    /// Length of a minute of stabilize, boot and gate times.
    pub minute: Duration,
    /// All randomness follows from it.
    pub seed: u64,
    /// Faults between every node and the record.
    pub record_faults: MemoryFaults,
    /// Numbers of the nodes that the record is said to lie on, from 0; of none it is outside of the cluster.
    pub record_on: Vec<usize>,
    /// Checks that the package of [`NEW`] brings: a story says what they find.
    pub checks: Vec<BundledCheck>,
    /// How soon a killed daemon is started again, as a service manager would.
    pub restart_after: Duration,
    /// How long a node stays without power after a [`Blow`](crate::Blow) took it.
    pub dark_for: Duration,
}

impl Settings {
    /// A cluster with nothing wrong: short minutes, a power cut that the partner notices.
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes,
            minute: Duration::from_secs(1),
            seed: 1,
            record_faults: MemoryFaults::default(),
            record_on: Vec::new(),
            checks: Vec::new(),
            restart_after: Duration::from_millis(800),
            dark_for: Duration::from_secs(6),
        }
    }

    pub(crate) fn hardware(&self) -> HardwareSettings {
        HardwareSettings {
            minute_ms: self.minute.as_millis() as u64,
            seed: self.seed,
            ..HardwareSettings::default()
        }
    }

    pub(crate) fn topology(&self) -> Topology {
        assert!(self.nodes == 1 || self.nodes.is_multiple_of(2) && self.nodes > 0);
        let nodes = (0..self.nodes).map(|number| self.config(number));
        let nodes = nodes.collect();
        let id = ClusterId(Uuid::from_u128(0xC1));
        Topology::new(id, "simulated".to_owned(), nodes).expect("partners name each other")
    }

    /// The name of the node with that number, from 0. Numbers 0 and 1 are partners, 2 and 3, and so on.
    /// Names sort as numbers do.
    pub(crate) fn name(&self, number: usize) -> NodeName {
        let width = self.nodes.to_string().len().max(2);
        NodeName::new(format!("node{:0width$}", number + 1)).expect("letters and digits")
    }

    fn config(&self, number: usize) -> NodeConfig {
        let lif = LifConfig {
            name: LifName::new(format!("lif{:02}", number + 1)).expect("letters and digits"),
            address: address(2, number, 2049),
        };
        NodeConfig {
            id: NodeId(Uuid::from_u128(0xA0 + number as u128)),
            name: self.name(number),
            partner: (self.nodes > 1).then(|| self.name(number ^ 1)),
            interconnect: address(1, number, 4000),
            rest: address(1, number, 8443),
            variant: None,
            features: Vec::new(),
            site: None,
            platform: platform(),
            lifs: vec![lif],
        }
    }
}

/// An address of a loopback network for each node.
fn address(network: usize, number: usize, port: u16) -> String {
    let (network, host) = (network + 10 * (number / 250), number % 250 + 1);
    format!("127.0.{network}.{host}:{port}")
}

fn platform() -> PlatformName {
    PlatformName::new("sim-x86_64").expect("letters, digits and a dash")
}

/// Who asks for everything.
pub fn admin() -> UserName {
    UserName::new("admin").expect("letters")
}

pub(crate) fn version(text: &str) -> Version {
    Version::new(text).expect("digits and dots")
}

/// When the simulated world begins.
pub(crate) fn epoch() -> WallTime {
    WallTime::new(Timestamp::from_second(1_600_000_000).expect("a second of the year 2020"))
}

/// The digest that stands for the package of a version.
pub(crate) fn digest(version: &str) -> Digest {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(version.bytes()) {
        *to = from;
    }
    Digest(bytes)
}

/// The package of a version, from which any version can be reached.
pub(crate) fn package(text: &str) -> PackageRef {
    PackageRef {
        signed_by: None,
        digest: digest(text),
        archive_digest: digest(text),
        archive_bytes: 1 << 20,
        summary: ManifestSummary {
            version: version(text),
            name: "Evenkeel".to_owned(),
            platform: platform(),
            variant: None,
            features: vec![],
            source_versions: SourceVersions::Any,
            manual_steps: Vec::new(),
            firmware: Vec::new(),
            checks: Vec::new(),
            unpacked_bytes: 1 << 22,
            entry_count: 10,
            build_time: epoch(),
        },
    }
}
