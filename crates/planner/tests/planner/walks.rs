//! Whole updates in an ideal world.

use std::time::Duration;

use evenkeel_model::*;

use crate::packages::open_job;
use crate::world::*;

const LANE: [&str; 8] = [
    "do-activate-job",
    "do-failover-job",
    "do-boot-job",
    "do-stabilize-after-failover-job",
    "do-giveback-job",
    "do-verify-job",
    "do-stabilize-after-giveback-job",
    "do-commit-job",
];

pub(crate) fn ended(world: &World) -> &OperationEnd {
    match &world.operation.state {
        OperationState::Ended { end } => end,
        other => panic!("not ended: {other:?}\n{:?}", world.decide().awaiting),
    }
}

fn all_new(world: &World) -> bool {
    let seen = |n: &str| world.observations[&name(n)].known().unwrap().clone();
    NAMES.iter().all(|n| {
        let seen = seen(n);
        let slots = seen.slots.known().unwrap();
        let good = slots.slot(slots.booted).health == SlotHealth::Good;
        seen.version.known() == Some(&new()) && good
    })
}

#[test]
fn an_update_walks_to_its_end() {
    let mut world = World::update();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert!(all_new(&world));
    let mut expected: Vec<String> = ["n3", "n4", "n2", "n1"]
        .iter()
        .map(|n| format!("{n} do-download-job"))
        .collect();
    for n in ["n3", "n4", "n2", "n1"] {
        expected.extend(LANE.map(|job| format!("{n} {job}")));
    }
    assert_eq!(world.started(), expected);
    assert_eq!(world.operation.updated.len(), 4);
    assert_ne!(
        world.me,
        name("n1"),
        "the coordinator handed over before its own takeover"
    );
    assert_eq!(world.operation.post_checks.as_deref(), Some(&[][..]));
}

#[test]
fn the_recorded_events_fold_to_the_same_state() {
    let mut world = World::update();
    world.run();
    let mut replayed = Operation::begin(world.operation.id, &world.events[0]).unwrap();
    for event in &world.events[1..] {
        replayed.apply(event).unwrap();
    }
    assert_eq!(replayed, world.operation);
}

#[test]
fn a_stabilize_takes_its_minutes_and_starts_anew_on_another_clock() {
    let mut world = World::update();
    let stabilizing = |w: &World| {
        let tasks = w.running_tasks();
        tasks
            .iter()
            .any(|t| matches!(t.action, Action::Stabilize { .. }))
    };
    world.run_until(stabilizing);
    world.pass(Duration::from_secs(8 * 60 - 1));
    assert!(world.decide().events.is_empty());
    assert!(
        world.decide().awaiting[0]
            .seen
            .as_ref()
            .unwrap()
            .contains("1.0 s to go")
    );
    world.hand_over(name("n2"));
    let events = world.decide().events;
    assert!(matches!(
        &events[..],
        [OperationEvent::TaskEnded { end: TaskEnd::Failed { error }, .. }]
            if error.kind == TaskErrorKind::Transient
    ));
    // However often coordinators change, that alone never pauses the update.
    for n in ["n1", "n2", "n1", "n2", "n1"] {
        world.step();
        world.run_until(stabilizing);
        world.hand_over(name(n));
    }
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn the_coordinator_hands_over_to_an_updated_node_before_its_own_takeover() {
    let mut world = World::update();
    world.run_until(|w| w.decide().hand_over.is_some());
    assert_eq!(world.decide().hand_over, Some(name("n3")));
    // Nobody else can: it waits, for no longer than the gate.
    for n in ["n2", "n3", "n4"] {
        world.override_ha(n, MemberHa::Booting);
        world.override_ha("n1", MemberHa::Serving);
    }
    let decision = world.decide();
    assert_eq!(decision.hand_over, None);
    assert!(
        decision.awaiting[0]
            .seen
            .as_ref()
            .unwrap()
            .contains("it is booting")
    );
    world.idle = world.tunables.gate() + Duration::from_secs(1);
    world.step();
    assert!(world.problem().error.contains("it is booting"));
}

#[test]
fn the_partner_is_heir_only_when_no_one_else_can_be() {
    let mut world = World::update();
    world.run_until(|w| w.decide().hand_over.is_some());
    world.silence("n3", Duration::from_secs(9));
    assert_eq!(world.decide().hand_over, Some(name("n4")));
    world.silence("n4", Duration::from_secs(9));
    assert_eq!(world.decide().hand_over, Some(name("n2")));
}

#[test]
fn a_pause_takes_effect_at_the_next_pause_point_only() {
    let mut world = World::update();
    let in_takeover = |w: &World| {
        let tasks = w.running_tasks();
        tasks.iter().any(|t| t.action == Action::Takeover)
    };
    world.run_until(in_takeover);
    world.ask_pause();
    world.run();
    assert_eq!(world.point(), PausePoint::Takeover);
    let last = world.started().pop().unwrap();
    assert_eq!(last, "n3 do-stabilize-after-failover-job");
    // It stands still: only a person ends that.
    assert!(!world.step());
    assert_eq!(world.decide().awaiting[0].remaining, None);
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

/// One that is asked for while the update is validated takes effect before anything is done; only once.
#[test]
fn a_pause_while_it_is_validated_takes_effect_after_the_validation() {
    for steps in [0, 1] {
        let mut world = World::update();
        for _ in 0..steps {
            world.step();
        }
        world.ask_pause();
        let (at, by) = (wall(), user());
        let again = world
            .operation
            .apply(&OperationEvent::PauseRequested { at, by });
        assert!(again.is_err(), "it is pending already");
        world.run();
        assert_eq!(world.point(), PausePoint::Validation);
        assert_eq!(world.started(), [""; 0]);
        world.resume();
        world.run();
        assert_eq!(*ended(&world), OperationEnd::Completed);
    }
}

fn points(world: &mut World) -> Vec<PausePoint> {
    let mut points = Vec::new();
    world.run();
    while !world.operation.is_ended() {
        points.push(world.point());
        world.resume();
        world.run();
        assert!(points.len() < 20, "pauses for ever: {points:?}");
    }
    points
}

#[test]
fn pause_after_pauses_once_at_each_of_its_points() {
    use PausePoint::{Giveback, Install, Takeover, Validation};
    let with = |pause_after| World::update_with(|request| request.pause_after = pause_after);
    let each = [Takeover, Giveback].repeat(4);
    assert_eq!(points(&mut with(PauseAfter::None)), []);
    assert_eq!(points(&mut with(PauseAfter::TakeoverGiveback)), each);
    let all = [&[Validation, Install][..], &each].concat();
    assert_eq!(points(&mut with(PauseAfter::All)), all);
}

#[test]
fn a_failed_attempt_after_a_resume_does_not_pause_at_the_same_point_again() {
    use PausePoint::{Giveback, Install, Takeover, Validation};
    let mut world = World::update_with(|request| request.pause_after = PauseAfter::All);
    for job in ["do-download-job", "do-activate-job", "do-giveback-job"] {
        let failure = error(TaskErrorKind::Transient, "a hiccup");
        world.failures.push((name("n3"), job, failure));
    }
    let all = [&[Validation, Install][..], &[Takeover, Giveback].repeat(4)].concat();
    assert_eq!(points(&mut world), all);
    assert!(world.failures.is_empty());
}

#[test]
fn an_update_is_refused_before_any_effect() {
    let refused = |world: &mut World| {
        world.run();
        assert!(world.operation.tasks.is_empty());
        match ended(world) {
            OperationEnd::Failed { code, message } => (*code, message.clone()),
            other => panic!("{other:?}"),
        }
    };
    let mut world = World::update();
    world.override_pair("n1", |pair| pair.enabled = false);
    let (code, message) = refused(&mut world);
    assert_eq!(code, code::VALIDATION_FAILED);
    assert!(message.contains("High Availability status"));

    let warn = |world: &mut World| {
        world.override_package(|package| package.manual_steps.push("read".to_owned()));
    };
    let mut world = World::update();
    warn(&mut world);
    assert_eq!(refused(&mut world).0, code::VALIDATION_WARNINGS);
    let mut world = World::update_with(|request| request.skip_warnings = true);
    warn(&mut world);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

/// Clients watch the job first and the update's state then: they must not read the end of an earlier update
/// as the end of this one, nor wait for the job while nodes reboot.
#[test]
fn the_job_of_an_update_succeeds_when_it_is_in_progress_and_before_its_first_task() {
    let mut world = World::update();
    open_job(&mut world);
    let end = |world: &World| world.operation.jobs[0].end.clone();
    while end(&world).is_none() {
        assert!(world.operation.tasks.is_empty(), "the job is quick");
        world.step();
    }
    assert_eq!(world.operation.state, OperationState::Running);
    let (_, outcome) = end(&world).unwrap();
    assert!(matches!(outcome, JobOutcome::Success { .. }), "{outcome:?}");
    let mut events = world.events.iter();
    let closed = |event: &&OperationEvent| matches!(event, OperationEvent::JobClosed { .. });
    let after = events.by_ref().skip_while(|event| !closed(event)).count();
    assert_eq!(after, 1, "nothing of the plan comes after it in one append");
}

/// A refused update fails its job; a validation's errors do not: they are in its results.
#[test]
fn findings_fail_the_job_of_an_update_and_not_of_a_validation() {
    let outcome = |mut world: World| {
        open_job(&mut world);
        world.override_pair("n1", |pair| pair.enabled = false);
        world.run();
        let failed = matches!(ended(&world), OperationEnd::Failed { .. });
        assert!(failed, "so the state is failed either way");
        world.operation.jobs[0].end.clone().unwrap().1
    };
    let JobOutcome::Failure { code, message } = outcome(World::update()) else {
        panic!("an update that cannot be");
    };
    assert_eq!(code, code::VALIDATION_FAILED);
    assert!(message.contains("High Availability status"), "{message}");
    let validation = outcome(World::of(Request::Validate { version: new() }));
    assert!(
        matches!(validation, JobOutcome::Success { .. }),
        "{validation:?}"
    );
}

#[test]
fn a_validation_ends_with_its_findings() {
    let validate = || World::of(Request::Validate { version: new() });
    let mut world = validate();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    let mut world = validate();
    world.override_node("n2", |seen| seen.disks = unknown());
    world.run();
    let failed = matches!(ended(&world), OperationEnd::Failed { code, .. } if *code == code::VALIDATION_FAILED);
    assert!(failed);
    assert!(!world.operation.findings.unwrap().is_empty());
}

/// Clients are told by the record who runs what.
#[test]
fn it_ends_when_the_record_tells_of_each_nodes_new_boot() {
    let mut world = World::update();
    let booted = |boot_id| Booted {
        at: wall(),
        boot_id,
        version: None,
        daemon: String::new(),
        machine: MachineId::default(),
    };
    let seen = |world: &World| world.observations[&name("n1")].known().unwrap().boot_id;
    let before = booted(seen(&world));
    world.control.booted.insert(name("n1"), before);
    world.run_until(|world| {
        let decision = world.decide();
        decision
            .awaiting
            .iter()
            .any(|wait| wait.what.contains("to be recorded"))
    });
    let wait = world.decide().awaiting.remove(0);
    assert_eq!(wait.what, "what node \"n1\" now runs to be recorded");
    assert!(wait.remaining.is_some());
    let now = booted(seen(&world));
    world.control.booted.insert(name("n1"), now);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn the_update_goes_on_after_post_checks_that_were_red() {
    let mut world = World::update();
    let last = |w: &World| w.operation.updated.len() == 4;
    world.run_until(last);
    world.override_pair("n2", |pair| pair.enabled = false);
    let wait = world.decide().awaiting.remove(0);
    assert!(wait.seen.unwrap().contains("not enabled on node \"n2\""));
    assert_eq!(wait.remaining, Some(world.tunables.settle()));
    world.run();
    assert!(world.problem().error.contains("HA Health Status"));
    assert_eq!(world.operation.post_checks.as_ref().unwrap().len(), 1);
    world.override_pair("n2", |pair| pair.enabled = true);
    world.resume();
    assert_eq!(world.operation.post_checks, None);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}
