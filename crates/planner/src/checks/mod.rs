//! The checks: observations → findings. A check that cannot run is an error of its own, never a pass.

mod collect;
mod hardware;
mod pair;
mod software;

pub(crate) use hardware::SP;

use evenkeel_model::{
    Catalogue, ClusterObservation, Finding, NodeName, Topology, TrustedKey, Version,
};

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
    /// Whether the record would go on without these nodes, or why not.
    pub survives_without: &'a dyn Fn(&[NodeName]) -> Result<(), String>,
}

/// All pre-update checks. At most one finding a check and severity; an empty list is a pass.
pub fn check(input: &CheckInput<'_>) -> Vec<Finding> {
    let mut findings = Collector::new(input.topology, input.observations);
    pair::high_availability(&mut findings);
    pair::quorum(input, &mut findings);
    software::previous_update(&mut findings);
    software::version_path(input, &mut findings);
    software::image(input, &mut findings);
    software::signature(input, &mut findings);
    software::slots(input, &mut findings);
    software::space(&mut findings);
    hardware::pools(&mut findings);
    hardware::disks(input, &mut findings);
    hardware::paths(&mut findings);
    pair::lifs(&mut findings);
    hardware::load(&mut findings);
    hardware::jobs(&mut findings);
    hardware::service_processor(&mut findings);
    hardware::time(&mut findings);
    hardware::alerts(&mut findings);
    hardware::clients(&mut findings);
    software::manual(input, &mut findings);
    findings.finish()
}

/// The post-update checks.
pub fn post_check(topology: &Topology, observations: &ClusterObservation) -> Vec<Finding> {
    let mut findings = Collector::new(topology, observations);
    hardware::pools_after(&mut findings);
    pair::high_availability_after(&mut findings);
    findings.finish()
}
