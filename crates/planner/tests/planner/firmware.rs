//! Firmware updates.

use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{Chores, Leisure, chores, queued};

use crate::packages::open_job;
use crate::walks::ended;
use crate::world::*;

fn package() -> Digest {
    Digest([7; 32])
}

/// The package came in on n1, and every node has it.
fn world(kind: FirmwareKind) -> World {
    let mut world = World::of(Request::Firmware {
        digest: package(),
        kind,
        file: "fw.zip".to_owned(),
    });
    add(&mut world.catalogue, 7, kind);
    for n in NAMES {
        hold(&mut world, n);
    }
    open_job(&mut world);
    world
}

fn add(catalogue: &mut Catalogue, n: u8, kind: FirmwareKind) {
    let digest = Digest([n; 32]);
    let firmware = FirmwareRef {
        digest,
        archive_digest: Digest([8; 32]),
        archive_bytes: 1 << 20,
        summary: FirmwareSummary {
            kind,
            name: format!("firmware {n}"),
            build_time: None,
            offers: Vec::new(),
            image_bytes: 1 << 20,
        },
        signed_by: None,
    };
    let (at, firmware, node) = (wall(), Box::new(firmware), name("n1"));
    let added = CatalogueEvent::FirmwareAdded { at, firmware, node };
    let (by, file) = (user(), format!("fw{n}.zip"));
    let asked = CatalogueEvent::FirmwareAsked {
        at,
        by,
        digest,
        file,
    };
    for event in [added, asked] {
        catalogue.apply(&event).unwrap();
    }
}

fn hold(world: &mut World, node: &str) {
    let held = known(vec![old_image(), package()]);
    world.override_node(node, |seen| seen.packages = held);
}

fn outcome(world: &World) -> &JobOutcome {
    &world.operation.jobs[0].end.as_ref().unwrap().1
}

/// What the job failed with.
fn failure(world: &World) -> (u32, &str) {
    match outcome(world) {
        JobOutcome::Failure { code, message } => (*code, message),
        other @ JobOutcome::Success { .. } => panic!("{other:?}"),
    }
}

/// The nodes of each step, in order.
fn steps(world: &World) -> Vec<Vec<String>> {
    let plan = world.operation.plan.as_ref().unwrap();
    let nodes = |step: &Step| {
        let nodes = step.lanes.iter().map(|lane| lane.node.to_string());
        nodes.collect()
    };
    plan.steps.iter().map(nodes).collect()
}

#[test]
fn each_kind_goes_in_its_order() {
    let all = || NAMES.map(str::to_owned).to_vec();
    let some = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    for (kind, order) in [
        (FirmwareKind::Qualification, vec![all()]),
        (FirmwareKind::Disk, vec![some(&["n1"]), all()]),
        (
            FirmwareKind::Shelf,
            vec![some(&["n1", "n3"]), some(&["n2", "n4"])],
        ),
        (
            FirmwareKind::ServiceProcessor,
            vec![some(&["n1", "n3"]), some(&["n2", "n4"])],
        ),
    ] {
        let mut world = world(kind);
        world.run();
        assert_eq!(*ended(&world), OperationEnd::Completed, "{kind}");
        assert_eq!(steps(&world), order, "{kind}");
        let started: Vec<String> = order.concat();
        let began = world.started();
        let began: Vec<&str> = began.iter().filter_map(|it| it.split(' ').next()).collect();
        assert_eq!(began, started, "{kind}");
        let message = "Firmware update completed.".to_owned();
        assert_eq!(*outcome(&world), JobOutcome::Success { message });
    }
}

#[test]
fn the_first_disk_that_fails_keeps_all_others_from_it() {
    let mut world = world(FirmwareKind::Disk);
    let bad = error(TaskErrorKind::Permanent, "disk n1-D7 runs NA01, not NA02");
    world.failures.push((name("n1"), "do-firmware-job", bad));
    world.run();
    assert_eq!(world.started(), ["n1 do-firmware-job"]);
    let (code, message) = failure(&world);
    assert_eq!(code, code::FIRMWARE_OF_NODE_FAILED);
    assert!(message.contains("n1-D7"), "{message}");
}

#[test]
fn a_node_that_fails_keeps_no_other_from_theirs() {
    let mut world = world(FirmwareKind::Shelf);
    let bad = error(TaskErrorKind::Permanent, "shelf n1-S1 refuses the image");
    world.failures.push((name("n1"), "do-firmware-job", bad));
    world.run();
    assert_eq!(world.started().len(), 4);
    assert_eq!(*ended(&world), OperationEnd::Completed);
    let (code, message) = failure(&world);
    assert_eq!(code, code::FIRMWARE_WITH_ERRORS);
    assert!(
        message.contains("\"n1\": shelf n1-S1 refuses the image. Mend it."),
        "{message}"
    );
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_told() {
    let mut world = world(FirmwareKind::ServiceProcessor);
    let busy = || error(TaskErrorKind::Transient, "the processor is busy");
    world.failures.push((name("n2"), "do-firmware-job", busy()));
    world.run();
    assert_eq!(world.started().len(), 5, "one twice");
    assert!(matches!(outcome(&world), JobOutcome::Success { .. }));

    let mut world = self::world(FirmwareKind::Qualification);
    for n in NAMES {
        for _ in 0..world.tunables.attempts {
            world.failures.push((name(n), "do-firmware-job", busy()));
        }
    }
    world.run();
    assert_eq!(failure(&world).0, code::FIRMWARE_OF_NODE_FAILED);
    assert!(matches!(ended(&world), OperationEnd::Failed { .. }));
}

#[test]
fn the_package_is_carried_first_and_nodes_that_do_not_answer_are_named() {
    let mut world = world(FirmwareKind::Disk);
    world.override_node("n3", |seen| seen.packages = known(vec![old_image()]));
    assert!(world.operation.plan.is_none());
    let wait = &world.decide().awaiting[0];
    assert_eq!(wait.what, "package firmware 7 to come to node \"n3\"");
    hold(&mut world, "n3");
    world.silence("n4", Duration::from_secs(1));
    world.run();
    assert_eq!(steps(&world)[1], ["n1", "n2", "n3"]);
    let (code, message) = failure(&world);
    assert_eq!(code, code::FIRMWARE_WITH_ERRORS);
    assert!(message.contains("Not begun on \"n4\""), "{message}");
}

#[test]
fn a_package_that_is_gone_or_with_nobody_is_told() {
    let mut gone = world(FirmwareKind::Shelf);
    gone.catalogue.firmware.clear();
    gone.run();
    assert_eq!(failure(&gone).0, code::FIRMWARE_ABSENT);

    let mut nowhere = world(FirmwareKind::Shelf);
    for node in NAMES {
        nowhere.override_node(node, |seen| seen.packages = known(vec![old_image()]));
    }
    nowhere.run();
    let (code, message) = failure(&nowhere);
    assert_eq!(code, code::FIRMWARE_NOT_STAGED);
    assert!(message.contains("on no node that answers"), "{message}");
    assert!(nowhere.started().is_empty());
}

/// Whoever served a node's disks while its turn came passed them over.
#[test]
fn a_device_that_was_passed_over_is_told() {
    let mut world = world(FirmwareKind::Disk);
    let offer = FirmwareOffer {
        model: Some("X1".parse().unwrap()),
        revision: "AA01".parse().unwrap(),
    };
    let entry = world.catalogue.firmware.get_mut(&package()).unwrap();
    entry.firmware.summary.offers = vec![offer.clone()];
    let device = DeviceFirmware {
        device: "D7".to_owned(),
        kind: FirmwareKind::Disk,
        model: offer.model,
        revision: Some("AA00".parse().unwrap()),
        spare: false,
    };
    let status = FirmwareStatus {
        devices: vec![device],
        ..FirmwareStatus::default()
    };
    world.override_node("n3", |seen| seen.firmware = known(status));
    world.run();
    let (code, message) = failure(&world);
    assert_eq!(code, code::FIRMWARE_WITH_ERRORS);
    assert!(
        message.contains("Node \"n3\": D7 still runs AA00, not "),
        "{message}"
    );
}

#[test]
fn nothing_is_written_while_a_partner_serves_for_two() {
    let mut world = world(FirmwareKind::Disk);
    world.take_over_by_hand("n2");
    let decision = world.decide();
    assert!(decision.events.is_empty());
    let wait = &decision.awaiting[0];
    assert!(
        wait.what.contains("\"n2\" to be given back"),
        "{}",
        wait.what
    );
    assert!(wait.remaining.is_some_and(|left| !left.is_zero()));
    world.run();
    assert_eq!(failure(&world).0, code::FIRMWARE_NOT_STARTED);
}

#[test]
fn a_node_that_is_lost_in_the_middle_is_waited_for() {
    let mut world = world(FirmwareKind::ServiceProcessor);
    world.run_until(|world| {
        world
            .running_tasks()
            .iter()
            .any(|task| task.node == name("n1"))
    });
    let back = world.silence("n1", Duration::from_secs(600));
    let wait = world.decide();
    assert!(wait.events.is_empty(), "{:?}", wait.events);
    let lost = wait.awaiting.iter().find(|it| it.node == Some(name("n1")));
    assert!(lost.unwrap().remaining.unwrap() > Duration::from_secs(600));
    world.silent.clear();
    world.observations.insert(name("n1"), back);
    world.run();
    assert!(matches!(outcome(&world), JobOutcome::Success { .. }));
}

#[test]
fn a_cancel_begins_nothing_more_and_lets_what_runs_end() {
    let mut world = world(FirmwareKind::Shelf);
    world.run_until(|world| !world.running_tasks().is_empty());
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    assert!(world.running_tasks().is_empty());
    assert!(world.started().len() <= 2, "{:?}", world.started());

    let mut world = self::world(FirmwareKind::Shelf);
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    assert!(world.started().is_empty());
}

fn idle(world: &World) -> Chores {
    chores(&Leisure {
        topology: &world.topology,
        control: &world.control,
        catalogue: &world.catalogue,
        observations: &world.observations,
        held_off: &Default::default(),
        rested: Duration::ZERO,
        tunables: world.tunables,
    })
}

/// A cluster of which every daemon said what it is.
fn told(mut world: World) -> World {
    world.control.topology = Some(world.topology.clone());
    for (n, node) in (1..).zip(NAMES) {
        let event = ControlEvent::NodeBooted {
            at: wall(),
            node: name(node),
            boot_id: boot(n),
            version: Some(old()),
            daemon: "0.2.0".to_owned(),
            machine: MachineId::default(),
        };
        world.control.apply(&event).unwrap();
    }
    world
}

#[test]
fn what_is_asked_for_begins_when_nothing_stands_against_it_the_qualification_first() {
    let mut world = told(world(FirmwareKind::Disk));
    add(&mut world.catalogue, 9, FirmwareKind::Qualification);
    match idle(&world).start {
        Some(Request::Firmware { digest, file, .. }) => {
            assert_eq!((digest, file.as_str()), (Digest([9; 32]), "fw9.zip"));
        }
        other => panic!("{other:?}"),
    }
    let begun = CatalogueEvent::FirmwareBegun {
        at: wall(),
        digest: Digest([9; 32]),
        operation: world.operation.id,
    };
    world.catalogue.apply(&begun).unwrap();
    let next = idle(&world).start;
    assert!(matches!(next, Some(Request::Firmware { digest, .. }) if digest == package()));
}

#[test]
fn what_stands_against_it_is_told() {
    let mut world = told(world(FirmwareKind::Disk));
    world.take_over_by_hand("n4");
    let waits = idle(&world);
    assert!(!matches!(waits.start, Some(Request::Firmware { .. })));
    let wait = waits.awaiting.iter().find(|it| it.what.contains("fw7.zip"));
    assert!(wait.unwrap().unblock.contains("Give node \"n4\" back."));
}

#[test]
fn it_excludes_updates_and_validations_and_they_it() {
    let id = |n| OperationId(uuid::Uuid::from_u128(n));
    let start = |control: &mut Control, n, kind| {
        let (at, operation) = (wall(), id(n));
        control.apply(&ControlEvent::OperationStarted {
            at,
            operation,
            kind,
        })
    };
    for kind in [OperationKind::Update, OperationKind::Validation] {
        let mut control = Control::default();
        start(&mut control, 1, OperationKind::Firmware).unwrap();
        let refusal = control.admits(kind).unwrap_err();
        assert_eq!(refusal.code, code::UPDATE_IN_PROGRESS);
        assert!(refusal.message.contains("firmware update"), "{refusal}");
        assert!(control.admits(OperationKind::PackageGet).is_ok());

        let mut control = Control::default();
        start(&mut control, 1, kind).unwrap();
        assert!(control.admits(OperationKind::Firmware).is_err());
    }
}

/// A node that was cut off in a firmware update goes on writing when that update is long over.
#[test]
fn a_takeover_waits_for_firmware_that_is_being_written() {
    for writer in ["n3", "n4"] {
        let mut world = World::update();
        let firmware = FirmwareStatus {
            work: vec!["disk D1: writing, 40 of 100".to_owned()],
            ..FirmwareStatus::default()
        };
        world.run_until(|world| {
            let begun = world.running_tasks();
            begun.iter().any(|task| task.node == name("n3"))
        });
        world.override_node(writer, |seen| seen.firmware = known(firmware));
        world.run_until(|world| {
            let awaited = world.decide().awaiting;
            awaited
                .iter()
                .any(|it| it.seen.iter().any(|seen| seen.contains("writes firmware")))
        });
        let taken = |world: &World| {
            let of_pair = [name("n3"), name("n4")];
            let begun = world.operation.tasks.values();
            let takeovers = begun.filter(|it| it.task.action == Action::Takeover);
            takeovers
                .filter(|it| of_pair.contains(&it.task.node))
                .count()
        };
        assert_eq!(taken(&world), 0);
        let wait = world.decide().awaiting;
        let said = wait.iter().filter_map(|it| it.seen.as_deref());
        let said: Vec<&str> = said.filter(|it| it.contains("writes firmware")).collect();
        assert!(said[0].contains("disk D1: writing, 40 of 100"), "{said:?}");
        world.override_node(writer, |seen| {
            seen.firmware = known(FirmwareStatus::default())
        });
        world.run();
        assert_eq!(*ended(&world), OperationEnd::Completed);
    }
}

#[test]
fn firmware_takes_the_place_of_what_came_before_for_the_same_devices() {
    let mut catalogue = Catalogue::default();
    for n in [1, 2] {
        add(&mut catalogue, n, FirmwareKind::Disk);
        add(&mut catalogue, n + 10, FirmwareKind::Shelf);
    }
    let digest = |n: u8| Digest([n; 32]);
    // What is asked for stays: it has its turn.
    assert_eq!(catalogue.superseded_by(digest(2)), []);
    let begun = CatalogueEvent::FirmwareBegun {
        at: wall(),
        digest: digest(1),
        operation: OperationId(uuid::Uuid::from_u128(1)),
    };
    catalogue.apply(&begun).unwrap();
    assert_eq!(catalogue.superseded_by(digest(2)), [digest(1)]);
    assert_eq!(catalogue.superseded_by(digest(9)), []);
}

/// What was asked for beside something else says what it waits for, in its order, until it is withdrawn.
#[test]
fn what_waits_behind_something_is_told() {
    let mut world = told(world(FirmwareKind::Disk));
    add(&mut world.catalogue, 9, FirmwareKind::Qualification);
    let none = std::iter::empty();
    let seen = queued(none, &world.catalogue).remove(0).seen.unwrap();
    assert!(seen.contains("the coordinator says why"), "{seen}");
    let behind = |catalogue| queued(std::iter::once(&world.operation), catalogue);
    let waits = behind(&world.catalogue);
    let what: Vec<&str> = waits.iter().map(|wait| wait.what.as_str()).collect();
    let begins = |file: &str| format!("the firmware update with {file} to begin");
    assert_eq!(what, [begins("fw9.zip"), begins("fw7.zip")]);
    let seen = waits[0].seen.as_ref().unwrap();
    assert_eq!(seen, "the firmware update with fw.zip is under way");
    assert!(
        waits[0]
            .unblock
            .contains("evenkeel firmware cancel fw9.zip")
    );
    let (at, by, digest) = (wall(), user(), Digest([9; 32]));
    let withdrawn = CatalogueEvent::FirmwareWithdrawn { at, by, digest };
    let mut left = world.catalogue.clone();
    left.apply(&withdrawn).unwrap();
    assert_eq!(behind(&left).len(), 1);
    assert!(left.firmware.contains_key(&digest), "it stays");
}

#[test]
fn disks_that_hold_data_are_left_out_where_that_is_set() {
    let orders = |kind| {
        let mut world = world(kind);
        let (at, by, on) = (wall(), user(), false);
        let off = ControlEvent::BackgroundFirmwareSet { at, by, on };
        world.control.apply(&off).unwrap();
        world.run();
        let tasks = world.operation.tasks.values();
        let spares_only = tasks.filter(|task| {
            matches!(
                task.task.action,
                Action::Firmware {
                    spares_only: true,
                    ..
                }
            )
        });
        (spares_only.count(), outcome(&world).clone())
    };
    let (disks, said) = orders(FirmwareKind::Disk);
    assert_eq!(disks, NAMES.len() + 1);
    match said {
        JobOutcome::Success { message } => {
            assert!(
                message.contains("disks that hold data were left"),
                "{message}"
            );
        }
        JobOutcome::Failure { .. } => panic!("{said:?}"),
    }
    assert_eq!(orders(FirmwareKind::Shelf).0, 0);
}
