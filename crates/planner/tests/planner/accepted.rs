//! A service processor that was silent before the update is told by name from one that dies later.

use std::collections::BTreeSet;

use evenkeel_model::*;

use crate::walks::ended;
use crate::world::*;

fn sp_dies(world: &mut World, node: &str) {
    world.override_node(node, |seen| change(seen, |sp| sp.reachable = false));
}

#[test]
fn a_service_processor_that_was_accepted_silent_is_told_by_name() {
    let mut world = World::update_with(|request| request.skip_warnings = true);
    sp_dies(&mut world, "n3");
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);

    // Who accepted a corrupt image has not accepted that it falls silent later.
    let mut world = World::update_with(|request| request.skip_warnings = true);
    world.override_node("n3", |seen| change(seen, |sp| sp.image_ok = false));
    world.run_until(|world| !world.running_tasks().is_empty());
    sp_dies(&mut world, "n3");
    world.run();
    let error = &world.problem().error;
    assert!(
        error.contains("processor of node \"n3\" has stopped answering"),
        "{error}"
    );
}

/// Where the configuration says that there are none, nobody misses one, and no warning has to be let pass.
#[test]
fn nodes_that_have_no_service_processor_are_updated() {
    let mut world = World::update();
    for node in ["n1", "n2", "n3", "n4"] {
        world.override_node(node, |seen| {
            change(seen, |sp| (sp.reachable, sp.absent) = (false, true));
            seen.partner_sp = known(Some(PartnerSp {
                reachable: false,
                absent: true,
            }));
        });
    }
    world.run();
    assert_eq!(world.operation.findings.as_deref(), Some(&[][..]));
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

/// Nobody has to carry the load of a node that has no partner.
#[test]
fn a_node_alone_may_be_busy() {
    let mut world = World::update_alone();
    world.override_node("n1", |seen| {
        seen.load = known(Load {
            cpu_percent: 99,
            disk_percent: 99,
        });
    });
    world.run();
    let mut findings = world.operation.findings.iter().flatten();
    let load = findings.find(|finding| finding.check == "CPU Utilization Status");
    let load = load.unwrap();
    assert_eq!(load.severity, Severity::Warning);
    assert!(!load.action.contains("partner"), "{}", load.action);
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

/// However many they are, and however long their names: the list is not cut.
#[test]
fn many_silent_service_processors_are_all_accepted() {
    let mut world = World::update_of(30, |request| request.skip_warnings = true);
    let all: BTreeSet<NodeName> = world.topology.names().cloned().collect();
    all.iter()
        .for_each(|node| sp_dies(&mut world, node.as_str()));
    world.run();
    let findings = world.operation.findings.as_ref().unwrap();
    assert!(
        findings[0].issue.ends_with("And 10 more."),
        "{}",
        findings[0].issue
    );
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

fn change(seen: &mut NodeObservation, change: impl FnOnce(&mut SpState)) {
    match &mut seen.sp {
        Observed::Known { value, .. } => change(value),
        Observed::Unknown { .. } => panic!("unknown"),
    }
}
