//! Package get, package delete, package synchronization.

use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::moved;

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

/// Carries the package to n3, the only node that lacks it.
fn sync() -> World {
    let mut world = World::of(Request::Sync {
        digest: new_image(),
        version: new(),
    });
    hold(&mut world, "n3", vec![old_image()]);
    world
}

pub(crate) fn open_job(world: &mut World) {
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
        remark: None,
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

fn failure(world: &World) -> (u32, &str) {
    match ended(world) {
        OperationEnd::Failed { code, message } => (*code, message),
        other => panic!("{other:?}"),
    }
}

fn hold(world: &mut World, node: &str, digests: Vec<Digest>) {
    world.override_node(node, |seen| seen.packages = known(digests));
}

fn trouble(world: &mut World, node: &str, code: u32, message: &str) {
    let message = message.to_owned();
    let trouble = Trouble { code, message };
    world.override_node(node, |seen| {
        seen.pull_trouble.insert(new_image(), trouble);
    });
}

fn pulls(world: &mut World, node: &str, received_bytes: u64) {
    let transfer = Transfer {
        package: Some(new_image()),
        version: Some(new()),
        source: TransferSource::Pull {
            from: Some(name("n1")),
        },
        received_bytes,
        total_bytes: Some(357_000_000),
        bytes_per_second: 18_000_000,
        since: wall(),
        trouble: None,
    };
    world.override_node(node, |seen| seen.transfers = vec![transfer]);
}

#[test]
fn a_get_ends_when_every_node_that_answers_has_it() {
    let mut world = get();
    stage(&mut world);
    pulls(&mut world, "n3", 120_000_000);
    let waits = world.decide().awaiting;
    let nodes: Vec<_> = waits.iter().map(|w| w.node.clone().unwrap()).collect();
    assert_eq!(nodes, [name("n1"), name("n3"), name("n4")]);
    assert_eq!(waits[0].remaining, Some(world.tunables.carry()));
    assert_eq!(waits[1].what, "package 9.2 to come to node \"n3\"");
    let seen = "120 of 357 MB from n1, 18 MB/s, about 14 s left";
    assert_eq!(waits[1].seen.as_deref(), Some(seen));
    for n in ["n1", "n3", "n4"] {
        hold(&mut world, n, vec![new_image()]);
    }
    world.run();
    assert_eq!(success(&world), "success");
}

/// What a job says is recorded, and the record takes no event over 128 KiB.
#[test]
fn what_many_nodes_say_of_their_troubles_stays_short_enough_to_be_recorded() {
    let mut world = get();
    world.grow(48);
    stage(&mut world);
    for n in (1..=48).filter(|n| *n != 2) {
        hold(&mut world, &format!("n{n}"), vec![old_image()]);
        let everyone: Vec<String> = (1..=48).map(|n| format!("n{n} does not hold it")).collect();
        trouble(
            &mut world,
            &format!("n{n}"),
            code::NO_SPACE,
            &everyone.join("; "),
        );
    }
    world.idle = world.tunables.carry() + Duration::from_secs(1);
    world.run();
    let JobOutcome::Failure { message, .. } = outcome(&world) else {
        panic!("{:?}", outcome(&world));
    };
    assert!(message.len() < 16 << 10, "{} bytes", message.len());
    assert!(message.contains("and 27 more"), "{message}");
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
    trouble(&mut world, "n3", code::GET_FAILED, "n1 broke off");
    world.idle = world.tunables.carry() + Duration::from_secs(1);
    world.run();
    assert!(success(&world).contains("\"n1\", \"n3\", \"n4\""));
    assert!(success(&world).contains("Node \"n3\": n1 broke off."));
}

#[test]
fn a_get_fails_when_a_node_that_is_up_has_no_room() {
    let mut world = get();
    stage(&mut world);
    for n in ["n1", "n4"] {
        hold(&mut world, n, vec![new_image()]);
    }
    trouble(&mut world, "n3", code::NO_SPACE, "no space for 357 MB");
    // What is said only just now may be over in a moment: another package is being removed, say.
    assert!(world.decide().events.is_empty());
    world.idle = world.tunables.answer() + Duration::from_secs(1);
    world.run();
    let (code, message) = failure(&world);
    assert_eq!(code, code::NO_SPACE);
    assert!(
        message.contains("Node \"n3\": no space for 357 MB."),
        "{message}"
    );
    assert!(message.contains("Free space on node \"n3\""), "{message}");
    assert!(world.catalogue.packages.contains_key(&new_image()));
}

#[test]
fn a_get_waits_for_nodes_that_are_on_their_way_beside_one_without_room() {
    let mut world = get();
    stage(&mut world);
    trouble(&mut world, "n3", code::NO_SPACE, "no space");
    pulls(&mut world, "n4", 1);
    world.idle = world.tunables.answer() + Duration::from_secs(1);
    assert!(world.decide().events.is_empty());
}

#[test]
fn a_get_says_when_no_node_can_be_updated_to_the_package_directly() {
    let mut world = get();
    stage(&mut world);
    world.override_package(|summary| {
        let only = ["9.0", "9.0P1"].map(version).to_vec();
        summary.source_versions = SourceVersions::Only(only);
    });
    NAMES
        .iter()
        .for_each(|n| hold(&mut world, n, vec![new_image()]));
    world.run();
    let text = "No node can be updated to it directly: it takes 9.0, 9.0P1; the nodes run 9.1.";
    assert!(success(&world).contains(text), "{}", success(&world));
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
fn a_synchronization_ends_when_every_node_that_answers_has_the_package() {
    let mut world = sync();
    pulls(&mut world, "n3", 120_000_000);
    let decision = world.decide();
    assert!(decision.events.is_empty());
    assert_eq!(decision.awaiting[0].remaining, Some(world.tunables.silence));
    world.silence("n4", Duration::from_secs(1));
    hold(&mut world, "n3", vec![new_image()]);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert!(world.operation.jobs.is_empty());
}

#[test]
fn a_synchronization_that_does_not_move_ends_with_the_reason() {
    let mut world = sync();
    world.idle = world.tunables.silence + Duration::from_secs(1);
    world.run();
    let (code, message) = failure(&world);
    assert_eq!(code, code::GET_FAILED);
    assert!(message.contains("did not come to \"n3\""), "{message}");

    let mut world = sync();
    trouble(&mut world, "n3", code::NO_SPACE, "no space");
    let wait = world.decide().awaiting.remove(0);
    assert_eq!(
        wait.remaining,
        Some(world.tunables.answer()),
        "as long as it lasts"
    );
    world.idle = world.tunables.answer() + Duration::from_secs(1);
    world.run();
    let (code, message) = failure(&world);
    assert_eq!(code, code::NO_SPACE);
    assert!(message.contains("Node \"n3\": no space."), "{message}");
}

#[test]
fn what_moves_is_told_of_nodes_that_carry() {
    let mut world = sync();
    pulls(&mut world, "n3", 7);
    world.silence("n4", Duration::from_secs(1));
    let bytes = moved(&world.operation, &world.observations);
    assert_eq!(bytes.get(&name("n3")), Some(&7));
    assert_eq!(bytes.get(&name("n1")), Some(&u64::MAX));
    assert!(!bytes.contains_key(&name("n4")));
    assert!(moved(&delete().operation, &world.observations).is_empty());
}

#[test]
fn a_delete_leaves_the_catalogue_first_then_every_node() {
    let mut world = delete();
    let decision = world.decide();
    assert_eq!(decision.catalogue.len(), 1);
    world.carry_out(decision);
    assert!(world.catalogue.packages.is_empty());
    let waits = world.decide().awaiting;
    assert_eq!(waits.len(), NAMES.len());
    assert_eq!(waits[0].remaining, Some(world.tunables.silence));
    assert_eq!(waits[0].what, "node \"n1\" to remove the package");
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
    let message = success(&world);
    assert!(
        message.contains("removed from \"n1\", \"n2\", \"n3\""),
        "{message}"
    );
    assert!(message.contains("Not yet from \"n4\""), "{message}");

    for (keepers, code) in [(1, code::CLEANUP_NODE), (2, code::CLEANUP_NODES)] {
        let mut world = delete();
        world.step();
        NAMES[keepers..]
            .iter()
            .for_each(|n| hold(&mut world, n, Vec::new()));
        trouble(&mut world, "n1", code, "the disk is read-only");
        world.run();
        let (failed, message) = failure(&world);
        assert_eq!(failed, code);
        assert!(
            message.contains("Node \"n1\": the disk is read-only."),
            "{message}"
        );
        assert!(message.contains("Removed from"), "{message}");
        assert!(message.contains("\"n4\""), "{message}");
    }
}

#[test]
fn a_delete_that_nobody_says_anything_about_times_out() {
    let mut world = delete();
    world.step();
    for n in &NAMES[1..] {
        hold(&mut world, n, Vec::new());
    }
    world.run();
    let (failed, message) = failure(&world);
    assert_eq!(failed, code::DELETE_TIMED_OUT);
    assert!(message.contains("timed out on \"n1\""), "{message}");
    assert!(message.contains("Removed from"), "{message}");
}

#[test]
fn a_download_that_tries_again_says_what_it_met_and_what_helps() {
    let mut world = World::of(Request::Get {
        node: name("n2"),
        incarnation: uuid::Uuid::from_u128(5),
        source: GetSource::download("http://h/p.tgz", false),
    });
    open_job(&mut world);
    let transfer = Transfer {
        package: None,
        version: None,
        source: TransferSource::Download { host: "h".into() },
        received_bytes: 0,
        total_bytes: None,
        bytes_per_second: 0,
        since: wall(),
        trouble: Some("h cannot be reached; next try in 4 s, 7 tries left".into()),
    };
    world.override_node("n2", |seen| seen.transfers = vec![transfer]);
    let [wait] = <[Awaiting; 1]>::try_from(world.decide().awaiting).unwrap();
    let seen = "0 kB from h; h cannot be reached; next try in 4 s, 7 tries left";
    assert_eq!(wait.seen.as_deref(), Some(seen));
    assert!(
        wait.unblock.contains("\"n2\" can reach http://h/p.tgz"),
        "{}",
        wait.unblock
    );
    world.override_node("n2", |seen| seen.transfers[0].trouble = None);
    assert_eq!(
        world.decide().awaiting[0].unblock,
        "The server that sends it."
    );
}
