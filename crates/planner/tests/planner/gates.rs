//! Conditions between nodes: awaited, counted without a break, given up with what was last seen.

use std::time::Duration;

use evenkeel_model::*;

use crate::walks::ended;
use crate::world::*;

const MINUTE: Duration = Duration::from_secs(60);

/// An update that waits between nodes for conditions to hold 2 minutes, 30 at most; it has come to the first
/// gate.
fn at_the_gate(conditions: &[GateCondition]) -> World {
    let mut world = gated(conditions);
    world.run_until(|world| gate(world).is_some());
    world
}

fn gated(conditions: &[GateCondition]) -> World {
    let mut world = World::update();
    world.control.gates = Gates {
        conditions: conditions.to_vec(),
        hold_minutes: 2,
        longest_minutes: 30,
    };
    world
}

/// The gate that is watched.
fn gate(world: &World) -> Option<Task> {
    let mut running = world.running_tasks().into_iter();
    running.find(|task| matches!(task.action, Action::Gate { .. }))
}

fn seen(world: &World) -> Awaiting {
    let gate = gate(world).expect("a gate is watched");
    let waits = world.decide().awaiting;
    let mut waits = waits.into_iter().filter(|wait| wait.seen.is_some());
    let wait = waits.find(|wait| wait.node.as_ref() == Some(&gate.node));
    wait.expect("it is said what is awaited")
}

fn send_lif_away(world: &mut World, node: &str, away: bool) {
    let current = if away { partner(node) } else { node };
    for viewer in [node, partner(node)] {
        world.override_node(viewer, |seen| {
            let Observed::Known { value, .. } = &mut seen.lifs else {
                panic!("the LIFs are known")
            };
            let lif = value.iter_mut().find(|lif| lif.home == name(node));
            lif.expect("every node has a LIF").current = Some(name(current));
        });
    }
}

#[test]
fn every_node_but_the_first_waits_for_its_gate() {
    let mut world = gated(&[GateCondition::LifsHome, GateCondition::PathsBack]);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    let started = world.started();
    let gates: Vec<_> = started
        .iter()
        .filter(|task| task.ends_with("do-gate-job"))
        .collect();
    assert_eq!(
        gates,
        ["n4 do-gate-job", "n2 do-gate-job", "n1 do-gate-job"]
    );
}

#[test]
fn conditions_must_hold_without_a_break() {
    let mut world = at_the_gate(&[GateCondition::LifsHome]);
    let turn = gate(&world).unwrap().node;
    let other = ["n1", "n2"].iter().find(|n| name(n) != turn).unwrap();
    world.step();
    world.pass(MINUTE);
    let said = seen(&world).seen.unwrap();
    assert_eq!(said, "every condition holds, for 60.0 of 120.0 s");
    send_lif_away(&mut world, other, true);
    world.pass(MINUTE);
    let wait = seen(&world);
    let said = wait.seen.unwrap();
    assert!(
        said.starts_with("LIFs home: node \"") && said.contains("is on node"),
        "{said}"
    );
    assert_eq!(wait.remaining, Some(28 * MINUTE));
    send_lif_away(&mut world, other, false);
    // What held before the break does not count.
    world.pass(MINUTE);
    assert!(!world.step());
    let said = seen(&world).seen.unwrap();
    assert!(
        said.contains("for 60.0 of 120.0 s; last seen failing: LIFs home"),
        "{said}"
    );
    world.pass(MINUTE);
    assert!(world.step());
    assert_eq!(gate(&world), None);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn what_never_holds_pauses_the_update_and_names_the_condition() {
    let mut world = at_the_gate(&[GateCondition::LoadBelow { percent: 5 }]);
    world.run();
    let problem = world.problem().clone();
    assert!(
        problem.error.contains("load below 5 %: node \"n1\": it is"),
        "{problem}"
    );
    assert!(problem.action.contains("image gates"), "{problem}");
    // Conditions are of the plan: changed ones count when it is made anew.
    world.control.gates = Gates::default();
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn a_pause_and_a_resume_take_up_other_gates() {
    let mut world = at_the_gate(&[GateCondition::LoadBelow { percent: 5 }]);
    assert!(seen(&world).unblock.contains("then a pause and a resume"));
    world.control.gates = Gates::default();
    world.ask_pause();
    world.run();
    assert_eq!(world.point(), PausePoint::Giveback);
    let (at, by) = (wall(), user());
    world.append(vec![OperationEvent::Resumed { at, by, anew: true }]);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert!(world.operation.plan.as_ref().unwrap().gates.is_off());
}

#[test]
fn what_is_not_known_does_not_hold() {
    let mut world = at_the_gate(&[GateCondition::ResyncDone]);
    world.masks.insert(name("n2"), Mask::Pools);
    world.pass(3 * MINUTE);
    let said = seen(&world).seen.unwrap();
    assert!(
        said.contains("resync done: node \"n2\": its pools are not known"),
        "{said}"
    );
    world.masks.clear();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

/// Neither a pool that lacks a disk nor one that nobody serves has ended its rebuild.
#[test]
fn a_pool_that_is_not_whole_is_not_resynced() {
    for (health, said) in [
        (PoolHealth::Resyncing, "is rebuilding"),
        (PoolHealth::Degraded, "is degraded"),
        (PoolHealth::Offline, "is offline"),
    ] {
        let mut world = at_the_gate(&[GateCondition::ResyncDone]);
        let set = |world: &mut World, health| {
            world.override_node("n2", |seen| match &mut seen.pools {
                Observed::Known { value, .. } => value[0].health = health,
                Observed::Unknown { .. } => panic!("the pools are known"),
            });
        };
        set(&mut world, health);
        world.pass(3 * MINUTE);
        let seen = seen(&world).seen.unwrap();
        assert!(seen.ends_with(&format!("pool pool_n1 {said}")), "{seen}");
        set(&mut world, PoolHealth::Online);
        world.run();
        assert_eq!(*ended(&world), OperationEnd::Completed);
    }
}

#[test]
fn another_coordinator_counts_anew() {
    let mut world = at_the_gate(&[GateCondition::PathsBack]);
    world.step();
    world.pass(MINUTE);
    let other = if world.me == name("n3") { "n2" } else { "n3" };
    world.hand_over(name(other));
    // The attempt whose timer is another node's ends, and the next one begins.
    world.step();
    world.run_until(|world| gate(world).is_some());
    world.pass(MINUTE);
    let said = seen(&world).seen.unwrap();
    assert_eq!(said, "every condition holds, for 60.0 of 120.0 s");
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn a_script_that_a_node_does_not_have_is_found_before_anything_begins() {
    let mut world = gated(&[GateCondition::Script]);
    world.override_node("n2", |seen| seen.gate_script = known(false));
    world.run();
    let end = ended(&world).clone();
    assert!(
        matches!(&end, OperationEnd::Failed { message, .. } if message.contains("Gate script status")),
        "{end:?}"
    );
    let findings = world.operation.findings.as_deref().unwrap();
    assert!(findings[0].issue.contains("Node \"n2\" has no script"));
    assert!(world.operation.tasks.is_empty());
}
