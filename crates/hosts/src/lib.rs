//! Hosts for tests: controllers as network namespaces on one machine, each with its own Corosync and Pacemaker, with a power
//! switch that really fences, addresses that really move, and pools that are file systems on shared images.
//!
//! [`Cluster::start`] is the entry. Needs root, and the Debian packages `pacemaker corosync pacemaker-cli-utils
//! resource-agents fence-agents iproute2`. A host is a set of namespaces: its death is a loss of power, its rebirth a boot
//! with a boot id of its own. Its folder is its disk.
//!
//! Everything is gone when the cluster is dropped. What a killed test left behind is found by its name and removed by the
//! next one. Test support only: nothing of the product uses this crate.

mod cib;
mod cluster;
mod host;
mod power;
mod probe;
mod programs;
mod sweep;

pub use cluster::{Cluster, Settings};
pub use host::Host;
pub use probe::{Gap, Probe, tell};
