//! Real updates of real hosts: real daemons, Pacemaker, slots, records. Needs root, Debian's Pacemaker (and etcd), and the programs:
//! `cargo build -p evenkeel-cli -p evenkeel-daemon && cargo test -p evenkeel-hosts --test whole -- --ignored --test-threads 1`.
//!
//! Real are the daemons, their certificates, the REST API and the commands of an operator, packages, slots and what they hold, Corosync, Pacemaker and
//! its agents, addresses, file systems, fencing. In place of what namespaces have not: a power switch, a program that answers for a service
//! processor, and a load of their own. A minute of stabilizing is one second; no other bound is changed.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod etcd;
mod faults;
mod silence;
mod site;
mod update;

use std::time::Duration;

use evenkeel_hosts::tell;

use silence::Watch;
use site::{Record, Site};

/// What the issue allows at a planned takeover.
const SILENCE: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs root and Pacemaker"]
fn a_pair_with_its_record_on_its_pool_is_updated_while_clients_read() {
    let site = Site::start(2, &Record::Pool).unwrap();
    let boots = site.boots();
    let watch = Watch::begin(&site.cluster).unwrap();
    let findings = site.findings();
    println!("{findings}");
    assert!(!findings.contains("\"error\""), "{findings}");
    site.begin_update();
    site.wait_completed();
    site.is_updated();
    for (before, after) in boots.iter().zip(site.boots()) {
        assert_ne!(*before, after, "a host did not boot");
    }
    let longest = watch.tell();
    tell(&format!("longest silence of a pair: {longest:?}"));
    assert!(longest < SILENCE, "{longest:?}");
}
