//! Package get and package delete.

use std::time::Duration;

use evenkeel_model::*;

use crate::walks::ended;
use crate::world::*;

fn get() -> World {
    let mut world = World::of(Request::Get {
        node: name("n2"),
        incarnation: uuid::Uuid::from_u128(5),
        source: GetSource::Upload,
    });
    for n in ["n1", "n3", "n4"] {
        world.override_node(n, |seen| seen.packages = known(vec![old_image()]));
    }
    open_job(&mut world);
    world
}

fn delete() -> World {
    let mut world = World::of(Request::Delete {
        digest: new_image(),
        version: new(),
    });
    open_job(&mut world);
    world
}

fn open_job(world: &mut World) {
    let job = JobId(uuid::Uuid::from_u128(6));
    let description = "POST".to_owned();
    world.append(vec![OperationEvent::JobOpened {
        at: wall(),
        job,
        description,
    }]);
}

fn stage(world: &mut World) {
    let (at, digest, version) = (wall(), new_image(), new());
    world.append(vec![OperationEvent::Staged {
        at,
        digest,
        version,
    }]);
}

fn outcome(world: &World) -> &JobOutcome {
    &world.operation.jobs[0].end.as_ref().unwrap().1
}

fn success(world: &World) -> &str {
    assert_eq!(*ended(world), OperationEnd::Completed);
    match outcome(world) {
        JobOutcome::Success { message } => message,
        JobOutcome::Failure { code, message } => panic!("{code} {message}"),
    }
}

fn hold(world: &mut World, node: &str, digests: Vec<Digest>) {
    world.override_node(node, |seen| seen.packages = known(digests));
}

#[test]
fn a_get_ends_when_every_node_that_answers_has_it() {
    let mut world = get();
    stage(&mut world);
    let wait = world.decide().awaiting.remove(0);
    assert!(
        wait.what.contains("\"n1\", \"n3\", \"n4\""),
        "{}",
        wait.what
    );
    assert_eq!(wait.remaining, Some(world.tunables.carry()));
    for n in ["n1", "n3", "n4"] {
        hold(&mut world, n, vec![new_image()]);
    }
    world.run();
    assert_eq!(success(&world), "success");
}

#[test]
fn a_get_names_the_nodes_that_are_down_or_late() {
    let mut world = get();
    stage(&mut world);
    for n in ["n1", "n3"] {
        hold(&mut world, n, vec![new_image()]);
    }
    world.silence("n4", Duration::from_secs(1));
    world.run();
    assert!(
        success(&world).contains("Not yet on \"n4\""),
        "{}",
        success(&world)
    );

    let mut world = get();
    stage(&mut world);
    world.idle = world.tunables.carry() + Duration::from_secs(1);
    world.run();
    assert!(success(&world).contains("\"n1\", \"n3\", \"n4\""));
}

#[test]
fn a_get_fails_when_its_receiver_is_gone() {
    let mut world = get();
    assert!(
        world.decide().awaiting[0]
            .what
            .contains("node \"n2\" to receive")
    );
    world.silence("n2", world.tunables.silence);
    assert!(world.decide().events.is_empty());
    world.run();
    let OperationEnd::Failed { code, message } = ended(&world) else {
        panic!("{:?}", ended(&world))
    };
    assert_eq!(*code, code::GET_FAILED);
    assert!(message.contains("n2"));
    assert!(matches!(outcome(&world), JobOutcome::Failure { .. }));
}

#[test]
fn a_delete_leaves_the_catalogue_first_then_every_node() {
    let mut world = delete();
    let decision = world.decide();
    assert_eq!(decision.catalogue.len(), 1);
    world.carry_out(decision);
    assert!(world.catalogue.packages.is_empty());
    let wait = world.decide().awaiting.remove(0);
    assert_eq!(wait.remaining, Some(world.tunables.silence));
    for n in NAMES {
        hold(&mut world, n, vec![old_image()]);
    }
    world.run();
    assert_eq!(success(&world), "success");
}

#[test]
fn a_delete_names_who_is_silent_and_fails_on_who_keeps_it() {
    let mut world = delete();
    world.step();
    for n in ["n1", "n2", "n3"] {
        hold(&mut world, n, Vec::new());
    }
    world.silence("n4", Duration::from_secs(1));
    world.run();
    assert!(success(&world).contains("Not yet from \"n4\""));

    for (keepers, code) in [(1, code::CLEANUP_NODE), (2, code::CLEANUP_NODES)] {
        let mut world = delete();
        world.step();
        NAMES[keepers..]
            .iter()
            .for_each(|n| hold(&mut world, n, Vec::new()));
        world.run();
        match ended(&world) {
            OperationEnd::Failed { code: c, message } => {
                assert_eq!(*c, code);
                assert!(message.contains("\"n1\""));
            }
            other => panic!("{other:?}"),
        }
    }
}
