//! What a daemon that cannot start still does.

use std::fs;

use evenkeel_model::{MemberHa, NodeName};
use evenkeel_platform::sim::Fault;

use crate::stand::Stand;

fn ha(stand: &Stand, node: &NodeName) -> Option<MemberHa> {
    stand.machine.with(|hardware, _| hardware.ha(node)).unwrap()
}

/// `n1` waits for giveback, and its partner's power is gone, provably.
fn bereave(stand: &Stand, node: &NodeName, partner: &NodeName) {
    let taken = stand
        .machine
        .with(|hardware, now| hardware.take_over_by_hand(node, now));
    taken.unwrap().unwrap().unwrap();
    stand.until("waiting for giveback", || {
        (ha(stand, node) == Some(MemberHa::WaitingForGiveback)).then_some(())
    });
    let off = |on| {
        let set = stand
            .machine
            .with(|hardware, now| hardware.set_fault(partner, Fault::PowerOff, on, now));
        set.unwrap().unwrap();
    };
    off(true);
    stand.until("proof of the partner's death", || {
        let pair = stand.machine.with(|hardware, _| hardware.pair_state(node));
        let partner = pair.unwrap().unwrap().partner.ha;
        (partner == MemberHa::Fenced).then_some(())
    });
}

/// Whatever keeps it from starting, the cluster's only data is served.
#[test]
fn a_node_whose_daemon_cannot_start_serves_for_its_dead_partner() {
    let stand = Stand::paired();
    let (node, partner) = ("n1".parse().unwrap(), "n2".parse().unwrap());
    bereave(&stand, &node, &partner);
    fs::create_dir(stand.dir.join("data")).unwrap();
    fs::write(stand.dir.join("data/node.db"), "this was a database once").unwrap();
    let status = stand.begin().ended();
    assert!(!status.success());
    assert!(
        stand.log().contains("cannot open node.db"),
        "{}",
        stand.log()
    );
    assert_eq!(ha(&stand, &node), Some(MemberHa::Serving));
}
