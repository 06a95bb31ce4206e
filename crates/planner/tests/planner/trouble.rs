//! What goes wrong on the way, and how it ends.

use std::time::Duration;

use evenkeel_model::*;

use crate::walks::ended;
use crate::world::*;

const SECOND: Duration = Duration::from_secs(1);

fn runs(world: &World, node: &str, action: &str) -> bool {
    let tasks = world.running_tasks();
    tasks
        .iter()
        .any(|t| t.node == name(node) && t.action.name() == action)
}

/// The update up to the intent of a task.
pub(crate) fn up_to(node: &'static str, action: &'static str) -> World {
    let mut world = World::update();
    world.run_until(|w| runs(w, node, action));
    assert!(runs(&world, node, action));
    world
}

fn fails(world: &mut World, node: &str, action: &'static str, kind: TaskErrorKind, times: usize) {
    for _ in 0..times {
        world
            .failures
            .push((name(node), action, error(kind, "no luck")));
    }
}

#[test]
fn transient_failures_are_tried_again_within_the_bound() {
    let mut world = World::update();
    fails(
        &mut world,
        "n3",
        "do-failover-job",
        TaskErrorKind::Transient,
        2,
    );
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);

    let mut world = World::update();
    fails(
        &mut world,
        "n3",
        "do-failover-job",
        TaskErrorKind::Transient,
        9,
    );
    world.run();
    assert_eq!(world.problem().error, "no luck");
    assert_eq!(world.failures.len(), 6, "three attempts");
    // A person who resumes allows three more.
    world.resume();
    world.run();
    assert_eq!(world.failures.len(), 3);
    world.failures.clear();
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn a_takeover_is_the_same_takeover_in_every_attempt() {
    let mut world = World::update();
    fails(
        &mut world,
        "n3",
        "do-failover-job",
        TaskErrorKind::Transient,
        1,
    );
    world.run();
    let ids: Vec<Option<TransitionId>> = world
        .events
        .iter()
        .filter_map(|event| match event {
            OperationEvent::TaskStarted {
                task, transition, ..
            } => {
                let task = &world.operation.tasks[task].task;
                let of_n3 = task.action == Action::Takeover && task.node == name("n3");
                of_n3.then_some(*transition)
            }
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids[0].is_some() && ids[0] == ids[1]);
}

#[test]
fn a_permanent_failure_waits_for_what_runs_beside_it() {
    let mut world = up_to("n1", "do-download-job");
    let tasks = world.running_tasks();
    assert_eq!(tasks.len(), 4);
    let end = TaskEnd::Failed {
        error: error(TaskErrorKind::Permanent, "disk full"),
    };
    world.report(tasks[0].id, ReportState::Ended { end });
    let events = world.decide().events;
    assert_eq!(events.len(), 1);
    world.append(events);
    let decision = world.decide();
    assert!(decision.events.is_empty(), "three still install");
    assert_eq!(decision.orders.len(), 3);
    let last = decision.awaiting.last().unwrap();
    assert!(last.what.contains("before the update pauses"), "{last:?}");
    assert_eq!(last.seen.as_deref(), Some("disk full"));
    world.run();
    assert_eq!(world.problem().error, "disk full");
    assert!(world.running_tasks().is_empty());
    assert_eq!(world.operation.done_tasks(), 3);
}

#[test]
fn what_failed_in_passing_is_given_a_moment() {
    let mut world = World::update();
    let kind = TaskErrorKind::Transient;
    fails(&mut world, "n3", "do-giveback-job", kind, 1);
    world.run_until(|world| world.events.iter().any(is_passing));
    let decision = world.decide();
    assert!(decision.events.is_empty(), "{:?}", decision.events);
    let wait = &decision.awaiting[0];
    assert!(wait.what.contains("another try to give back"), "{wait:?}");
    assert_eq!(wait.seen.as_deref(), Some("no luck"));
    assert_eq!(wait.remaining, Some(world.tunables.another_try()));
    world.pass(world.tunables.another_try());
    assert!(world.step(), "the second try");
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

fn is_passing(event: &OperationEvent) -> bool {
    matches!(event, OperationEvent::TaskEnded {
        end: TaskEnd::Failed { error }, ..
    } if error.kind == TaskErrorKind::Transient)
}

#[test]
fn who_is_away_while_an_update_stands_still_is_told() {
    let mut world =
        World::update_with(|request| request.pause_after = PauseAfter::TakeoverGiveback);
    world.run();
    assert_eq!(world.point(), PausePoint::Takeover);
    let seen = |world: &World| world.decide().awaiting[0].seen.clone().unwrap_or_default();
    let ours = "node \"n4\" serves for node \"n3\", by this update's doing";
    assert_eq!(seen(&world), ours);
    world.take_over_by_hand("n1");
    let told = seen(&world);
    let other = "node \"n2\" serves for node \"n1\", by another hand's doing";
    assert!(told.contains(ours) && told.contains(other), "{told}");
}

#[test]
fn a_node_that_falls_back_is_given_back_then_the_update_pauses() {
    let mut world = World::update();
    world.bad_image.insert(name("n3"));
    world.run();
    let problem = world.problem().clone();
    assert_eq!(problem.node, Some(name("n3")));
    assert!(
        problem
            .error
            .contains("did not come up on 9.2 and fell back to 9.1")
    );
    assert!(problem.action.contains("resume"));
    let started = world.started();
    assert_eq!(
        started[started.len() - 2..],
        ["n3 do-giveback-job", "n3 do-verify-job"]
    );
    assert!(
        !started
            .iter()
            .any(|task| task.starts_with("n4 do-failover"))
    );
    world.bad_image.clear();
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert_eq!(world.operation.updated.len(), 4);
}

#[test]
fn a_task_without_a_way_back_that_reports_a_fallback_needs_a_person() {
    for action in ["do-download-job", "do-activate-job"] {
        let mut world = World::update();
        fails(&mut world, "n3", action, TaskErrorKind::FellBack, 1);
        world.run();
        assert_eq!(world.problem().error, "no luck", "{action}");
    }
}

#[test]
fn an_agent_that_is_silent_or_stuck_is_given_up() {
    let mut world = up_to("n3", "do-failover-job");
    // Its executor is the partner.
    world.silence("n4", world.tunables.silence);
    assert!(world.decide().events.is_empty());
    world.pass(SECOND);
    world.run();
    assert!(
        world
            .problem()
            .error
            .contains("\"n4\" has not answered for 121 s")
    );

    let mut world = up_to("n3", "do-activate-job");
    let id = world.running_tasks()[0].id;
    let progress = Progress::default();
    world.report(id, ReportState::Running { progress });
    let bound = world.tunables.no_progress(&world.running_tasks()[0].action);
    assert_eq!(world.decide().awaiting[0].remaining, Some(bound));
    world.pass(bound + SECOND);
    world.run();
    assert!(world.problem().error.contains("made no progress for 121 s"));
}

#[test]
fn an_order_carries_the_bound_that_operators_are_shown() {
    for action in [
        "do-download-job",
        "do-activate-job",
        "do-failover-job",
        "do-giveback-job",
    ] {
        let world = up_to("n3", action);
        let decision = world.decide();
        let order = decision
            .orders
            .iter()
            .find(|o| o.task.node == name("n3"))
            .unwrap();
        let mut waits = decision.awaiting.iter();
        let wait = waits.find(|wait| wait.node == Some(name("n3"))).unwrap();
        let bound = Duration::from_millis(order.no_progress_ms.unwrap());
        assert_eq!(wait.remaining, Some(bound), "{action}");
        assert!(bound > SECOND);
    }
}

#[test]
fn an_order_that_its_agent_never_accepts_is_given_up() {
    let mut world = up_to("n3", "do-activate-job");
    let wait = world.decide().awaiting.remove(0);
    assert!(wait.seen.unwrap().contains("has not accepted it yet"));
    let bound = wait.remaining.unwrap();
    world.pass(bound + SECOND);
    world.step();
    world.step();
    assert!(world.problem().error.contains("made no progress"));
}

#[test]
fn an_agent_that_is_away_is_named_with_the_time_it_has_left() {
    let mut world = up_to("n3", "do-activate-job");
    world.silence("n3", SECOND);
    let wait = world.decide().awaiting.remove(0);
    assert!(wait.seen.unwrap().contains("\"n3\" does not answer"));
    assert_eq!(wait.remaining, Some(world.tunables.silence - SECOND));
}

#[test]
fn a_takeover_waits_for_a_fit_pair_within_the_gate() {
    type Unfit = fn(&mut World);
    let unfit: [(&str, Unfit); 7] = [
        ("it is booting", |w| w.override_ha("n4", MemberHa::Booting)),
        ("does not answer: the probe", |w| {
            drop(w.silence("n4", SECOND))
        }),
        // Only the partner's engine knows of it yet.
        ("taken over by node", |w| {
            let mut elsewhere = w.clone();
            elsewhere.take_over_by_hand("n3");
            let newest = elsewhere.newest("n3");
            w.override_pair("n4", |pair| pair.transition = newest);
        }),
        ("node \"n4\" knows of no HA partner", |w| {
            w.override_node("n4", |seen| seen.pair = known(None))
        }),
        ("pools of node \"n3\" are not known", |w| {
            w.override_node("n3", |seen| seen.pools = unknown())
        }),
        ("LIFs of node \"n3\" are not known", |w| {
            w.override_node("n3", |seen| seen.lifs = unknown())
        }),
        ("only n3 keeps it", |w| {
            w.indispensable.insert(name("n3"));
        }),
    ];
    for (why, breaks) in unfit {
        let mut world = up_to("n3", "do-activate-job");
        world.step();
        world.step();
        breaks(&mut world);
        let decision = world.decide();
        assert!(decision.events.is_empty(), "{why}: {:?}", decision.events);
        let wait = &decision.awaiting[0];
        assert!(wait.seen.as_ref().unwrap().contains(why), "{why}: {wait:?}");
        assert_eq!(wait.remaining, Some(world.tunables.gate()));
        world.idle = world.tunables.gate() + SECOND;
        world.step();
        assert!(world.problem().error.contains(why));
    }
}

#[test]
fn a_takeover_by_someone_else_stops_the_update_before_its_own() {
    let mut world = up_to("n3", "do-activate-job");
    world.step();
    world.take_over_by_hand("n3");
    world.run();
    let error = &world.problem().error;
    assert!(error.contains("not by this update"), "{error}");
    assert!(!world.started().contains(&"n3 do-failover-job".to_owned()));
}

#[test]
fn a_takeover_by_someone_else_stops_the_update_before_the_turn_of_its_node() {
    let mut world = up_to("n3", "do-commit-job");
    world.take_over_by_hand("n4");
    world.run();
    let error = &world.problem().error;
    assert!(error.contains("not by this update"), "{error}");
    assert!(!world.started().contains(&"n4 do-activate-job".to_owned()));
}

#[test]
fn a_takeover_by_someone_else_stops_the_update_wherever_it_stands() {
    for action in [
        "do-boot-job",
        "do-stabilize-after-failover-job",
        "do-verify-job",
    ] {
        let mut world = up_to("n3", action);
        world.take_over_by_hand("n3");
        world.run();
        let error = &world.problem().error;
        assert!(error.contains("not by this update"), "{action}: {error}");
        assert!(!world.started().contains(&"n4 do-failover-job".to_owned()));
    }
}

#[test]
fn a_node_whose_takeover_the_engine_has_undone_says_why() {
    for action in ["do-boot-job", "do-stabilize-after-failover-job"] {
        let mut world = up_to("n3", action);
        world.give_back("n3");
        let mut newest = world.newest("n3").unwrap();
        newest.trouble = Some("no disk".to_owned());
        world.override_transition("n3", Some(newest));
        world.run();
        assert_eq!(
            world.problem().error,
            "node \"n3\" serves again, since the HA engine has undone its takeover: no disk",
            "{action}"
        );
    }
}

#[test]
fn a_node_given_back_by_someone_else_is_noticed() {
    let mut world = up_to("n3", "do-boot-job");
    world.give_back("n3");
    world.run();
    assert!(
        world
            .problem()
            .error
            .contains("this update did not give it back")
    );
    let mut world = up_to("n3", "do-stabilize-after-failover-job");
    world.give_back("n3");
    world.run();
    assert!(world.problem().error.contains("serves again"));
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn a_node_that_never_comes_up_is_named_by_what_its_partner_sees() {
    let mut world = up_to("n3", "do-boot-job");
    world.override_ha("n3", MemberHa::Down);
    world.silence("n3", SECOND);
    world.run();
    let error = &world.problem().error;
    assert!(error.contains("\"n3\" is not in \"waiting for giveback\" state: it is down"));
}

#[test]
fn a_node_that_answers_from_its_old_boot_has_not_booted() {
    let mut world = up_to("n3", "do-boot-job");
    world.override_node("n3", |seen| seen.boot_id = boot(3));
    let seen = world.decide().awaiting.remove(0).seen.unwrap();
    assert!(seen.contains("has not rebooted yet"), "{seen}");
}

#[test]
fn canceled_before_any_takeover_it_just_ends() {
    let mut world = World::update_with(|request| request.pause_after = PauseAfter::All);
    world.run();
    // Even though a pair that it never touched is in someone else's hands, or silent.
    world.take_over_by_hand("n1");
    for n in ["n3", "n4"] {
        world.silence(n, SECOND);
    }
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
}

/// A takeover that is refused for good leaves the new slot active: the next boot must not carry the
/// cancelled update out. That a boot medium refuses does not hold the cancel up.
#[test]
fn canceled_after_a_refused_takeover_the_running_slot_is_the_default_again() {
    for refusals in [0, 1] {
        let mut world = World::update();
        let permanent = TaskErrorKind::Permanent;
        fails(&mut world, "n3", "do-failover-job", permanent, 1);
        fails(&mut world, "n3", "do-deactivate-job", permanent, refusals);
        world.run();
        let is_kept = |world: &World| {
            let seen = world.observations[&name("n3")].known().unwrap();
            let slots = seen.slots.known().unwrap();
            slots.default == slots.booted
        };
        assert!(!is_kept(&world), "the new slot was activated");
        world.cancel();
        world.run();
        assert_eq!(*ended(&world), OperationEnd::Canceled);
        assert_eq!(is_kept(&world), refusals == 0);
        let left = world.operation.left.clone().unwrap();
        let said =
            left.contains("The next boot of node \"n3\" brings 9.2: the boot loader could not");
        assert_eq!(said, refusals == 1, "{left}");
    }
}

#[test]
fn canceled_with_a_node_taken_over_it_brings_the_node_home() {
    let mut world = World::update_with(|r| r.pause_after = PauseAfter::TakeoverGiveback);
    world.run();
    assert_eq!(world.point(), PausePoint::Takeover);
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    let pair = world.observations[&name("n3")]
        .known()
        .unwrap()
        .pair
        .known()
        .unwrap();
    assert_eq!(pair.as_ref().unwrap().local.ha, MemberHa::Serving);
    // It stays on the new version, so its slot is good, and history has a row.
    let slots = world.observations[&name("n3")]
        .known()
        .unwrap()
        .slots
        .known()
        .unwrap();
    assert_eq!(slots.slot(slots.booted).health, SlotHealth::Good);
    assert_eq!(world.operation.updated.len(), 1);
    assert!(!world.started().contains(&"n4 do-failover-job".to_owned()));
}

#[test]
fn canceled_after_trouble_at_home_the_new_slot_is_good() {
    let mut world = World::update();
    fails(
        &mut world,
        "n3",
        "do-commit-job",
        TaskErrorKind::Permanent,
        1,
    );
    world.run();
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    assert_eq!(world.operation.updated.len(), 1);

    // A boot medium that refuses does not hold the cancel up.
    let mut world = World::update();
    fails(
        &mut world,
        "n3",
        "do-commit-job",
        TaskErrorKind::Permanent,
        2,
    );
    world.run();
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    assert_eq!(world.operation.updated.len(), 0);
}

#[test]
fn a_cancel_that_meets_trouble_pauses_and_can_be_asked_for_again() {
    let mut world = World::update_with(|r| r.pause_after = PauseAfter::TakeoverGiveback);
    world.run();
    fails(
        &mut world,
        "n3",
        "do-giveback-job",
        TaskErrorKind::Permanent,
        1,
    );
    world.cancel();
    world.run();
    assert_eq!(world.problem().error, "no luck");
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
}

#[test]
fn a_cancel_waits_for_a_silent_pair_within_the_bound() {
    let mut world = World::update_with(|r| r.pause_after = PauseAfter::TakeoverGiveback);
    world.run();
    let seen = ["n3", "n4"].map(|n| world.silence(n, SECOND));
    world.cancel();
    let wait = world.decide().awaiting.remove(0);
    assert_eq!(wait.remaining, Some(world.tunables.silence));
    world.run();
    assert!(world.problem().error.contains("is not known"));
    for (n, seen) in ["n3", "n4"].into_iter().zip(seen) {
        world.observations.insert(name(n), seen);
        world.silent.clear();
    }
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
}

#[test]
fn canceled_while_a_fallen_back_node_is_home_it_ends_on_the_old_version() {
    let mut world = World::update();
    world.bad_image.insert(name("n3"));
    world.run();
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    assert!(world.operation.updated.is_empty());
}
