//! A node that could not carry its partner is not made to.

use evenkeel_model::*;

use crate::trouble::up_to;
use crate::walks::ended;
use crate::world::*;

fn set<T>(observed: &mut Observed<T>, change: impl FnOnce(&mut T)) {
    match observed {
        Observed::Known { value, .. } => change(value),
        Observed::Unknown { .. } => panic!("unknown"),
    }
}

fn hide_disk(seen: &mut NodeObservation) {
    set(&mut seen.disks, |disks| drop(disks.remove(0)));
}

type Lose = fn(&mut NodeObservation);

/// What a node may have lost, and what is said of it.
const LOST: [(&str, Lose); 7] = [
    (
        "node \"n4\" does not see disk D1n3, which node \"n3\" sees",
        hide_disk,
    ),
    ("node \"n4\" has 1 path(s) to disk D1n3, not two", |seen| {
        set(&mut seen.disks, |disks| disks[0].paths = 1);
    }),
    (
        "no working port in broadcast domain \"data\" of node \"n3\"",
        |seen| {
            set(&mut seen.ports, |ports| ports[0].up = false);
        },
    ),
    ("LIF \"lif_n3\" has no port to fail over to", |seen| {
        set(&mut seen.lifs, |lifs| lifs[0].has_failover_target = false);
    }),
    ("disks of node \"n4\" are not known", |seen| {
        seen.disks = unknown()
    }),
    ("ports of node \"n4\" are not known", |seen| {
        seen.ports = unknown()
    }),
    ("LIFs of node \"n4\" are not known", |seen| {
        seen.lifs = unknown()
    }),
];

/// Both partners see the LIFs of the pair; only the node loses disks and ports.
fn lose(world: &mut World, lose: Lose) {
    let (seen, lifs) = (
        world.observations[&name("n4")].clone(),
        |seen: &NodeObservation| seen.lifs.clone(),
    );
    world.override_node("n4", lose);
    let now = lifs(world.observations[&name("n4")].known().unwrap());
    if now.known().is_some() && now != lifs(seen.known().unwrap()) {
        world.override_node("n3", |seen| seen.lifs = now);
    }
}

#[test]
fn a_node_that_could_not_carry_its_partner_does_not_take_it_over() {
    for (why, lost) in LOST {
        let mut world = up_to("n3", "do-activate-job");
        world.step();
        world.step();
        let (healthy, partner) = (
            world.observations[&name("n4")].clone(),
            world.observations[&name("n3")].clone(),
        );
        lose(&mut world, lost);
        let decision = world.decide();
        assert!(decision.events.is_empty(), "{why}: {:?}", decision.events);
        let wait = &decision.awaiting[0];
        assert!(wait.seen.as_ref().unwrap().contains(why), "{why}: {wait:?}");
        assert_eq!(wait.remaining, Some(world.tunables.gate()));
        let mut mended = world.clone();
        mended.observations.insert(name("n4"), healthy);
        mended.observations.insert(name("n3"), partner);
        mended.run();
        assert_eq!(*ended(&mended), OperationEnd::Completed, "{why}");
        world.run();
        assert!(world.problem().error.contains(why), "{}", world.problem());
        assert!(!world.started().contains(&"n3 do-failover-job".to_owned()));
    }
}

/// The new version does not see a disk: found when the node is home, before it is made to carry its partner.
#[test]
fn what_a_node_lost_with_its_boot_is_found_before_it_is_called_good() {
    for (why, lost) in LOST {
        let mut world = up_to("n4", "do-giveback-job");
        let healthy = world.observations[&name("n4")].clone();
        let lifs = healthy.known().unwrap().lifs.clone();
        world.step();
        world.step();
        lose(&mut world, lost);
        world.run();
        let Problem {
            node,
            error,
            action,
        } = world.problem().clone();
        assert_eq!(node, Some(name("n4")), "{error}");
        assert!(
            error.contains(why) && error.contains("nothing has changed for 900 s"),
            "{error}"
        );
        assert!(action.ends_with(", then resume."), "{action}");
        assert!(!world.started().contains(&"n4 do-commit-job".to_owned()));
        let seen = healthy.known().unwrap().clone();
        world.override_node("n4", |now| {
            (now.disks, now.ports) = (seen.disks, seen.ports)
        });
        for node in ["n3", "n4"] {
            world.override_node(node, |now| now.lifs = lifs.clone());
        }
        world.give_back("n4");
        world.resume();
        world.run();
        assert_eq!(*ended(&world), OperationEnd::Completed, "{why}");
    }
}

/// Going back needs less than going on: what is lost must not keep a node from its partner's relief.
#[test]
fn who_comes_home_early_need_not_be_able_to_carry() {
    let mut world = up_to("n3", "do-failover-job");
    world.bad_image.insert(name("n3"));
    world.override_node("n3", hide_disk);
    world.run();
    assert!(
        world.problem().error.contains("fell back"),
        "{}",
        world.problem()
    );
    let last = world.started().pop().unwrap();
    assert_eq!(last, "n3 do-verify-job");
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
}

#[test]
fn ports_that_an_older_daemon_cannot_tell_of_hold_nobody_up() {
    let mut world = World::update();
    for node in ["n1", "n4"] {
        world.override_node(node, |seen| seen.ports = Observed::unsaid());
    }
    let findings = Vec::new();
    world.append(vec![OperationEvent::Validated {
        at: wall(),
        findings,
    }]);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}
