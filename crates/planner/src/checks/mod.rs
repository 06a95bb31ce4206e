//! The checks: observations → findings. A check that cannot run is an error of its own, never a pass.

mod acknowledge;
mod after;
mod clients;
mod collect;
mod nodes;
mod pair;
mod render;
mod software;
mod storage;

pub(crate) use nodes::{SP, sp_silence};

use evenkeel_model::{
    Catalogue, ClusterObservation, Finding, Gates, NodeName, Topology, TrustedKey, Version,
};

pub use after::{PostInput, post_check};

pub(crate) use acknowledge::{acknowledge, command};
pub(crate) use render::{NAMED, about, weight};

use collect::Collector;

/// What the checks look at.
#[derive(Clone, Copy)]
pub struct CheckInput<'a> {
    /// The cluster.
    pub topology: &'a Topology,
    /// The keys that packages are signed with.
    pub trusted_keys: &'a [TrustedKey],
    /// The packages.
    pub catalogue: &'a Catalogue,
    /// What every node sees.
    pub observations: &'a ClusterObservation,
    /// The version to go to.
    pub target: &'a Version,
    /// What an update waits for between nodes.
    pub gates: &'a Gates,
    /// Whether the record would go on without these nodes, or why not.
    pub survives_without: &'a dyn Fn(&[NodeName]) -> Result<(), String>,
}

/// All pre-update checks. At most one finding a check and severity; an empty list is a pass.
pub fn check(input: &CheckInput<'_>) -> Vec<Finding> {
    let mut findings = Collector::new(input.topology, input.observations);
    pair::high_availability(&mut findings);
    pair::quorum(input, &mut findings);
    pair::fencing(&mut findings);
    software::previous_update(input, &mut findings);
    software::version_path(input, &mut findings);
    software::image(input, &mut findings);
    software::signature(input, &mut findings);
    software::slots(input, &mut findings);
    software::space(&mut findings);
    storage::pools(&mut findings);
    storage::disks(&mut findings);
    storage::qualification(&mut findings);
    storage::shelves(&mut findings);
    pair::lifs(&mut findings);
    pair::broadcast_domains(&mut findings);
    nodes::load(input, &mut findings);
    nodes::jobs(&mut findings);
    nodes::service_processor(&mut findings);
    nodes::time(&mut findings);
    nodes::boot(&mut findings);
    nodes::alerts(&mut findings);
    clients::clients(&mut findings);
    software::gate_script(input, &mut findings);
    software::manual(input, &mut findings);
    findings.finish()
}
