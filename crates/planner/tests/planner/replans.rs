//! Later revisions: where each node stands, and what is left to do.

use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{NoPlan, replan};

use crate::walks::ended;
use crate::world::*;

fn planned(world: &World) -> Result<Plan, NoPlan> {
    world.input(|input| replan(input, input.operation.update().unwrap()))
}

/// `node action` of every task that is not a restore.
fn tasks(plan: &Plan) -> Vec<String> {
    let tasks = plan.lanes().flat_map(|lane| &lane.tasks);
    tasks
        .map(|t| format!("{} {}", t.node, t.action.name()))
        .collect()
}

/// An update that stopped when `node` failed at `job`.
fn stopped_at(node: &str, job: &'static str) -> World {
    let mut world = World::update();
    let failure = error(TaskErrorKind::Permanent, "a bad day");
    world.failures.push((name(node), job, failure));
    world.run();
    assert_eq!(world.problem().error, "a bad day");
    world
}

fn finishes(mut world: World) -> World {
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert_eq!(world.operation.updated.len(), 4);
    world
}

#[test]
fn a_node_that_we_hold_comes_home_before_anything_new_begins() {
    let world = stopped_at("n3", "do-giveback-job");
    let plan = planned(&world).unwrap();
    assert_eq!(plan.revision, 2);
    let tasks = tasks(&plan);
    assert_eq!(tasks[0], "n3 do-boot-job");
    assert!(!tasks.contains(&"n3 do-failover-job".to_owned()));
    // Every image is in place already.
    assert!(
        !tasks.iter().any(|task| task.contains("download")),
        "{tasks:?}"
    );
    let highest = world
        .operation
        .plan
        .as_ref()
        .unwrap()
        .tasks()
        .map(|t| t.id)
        .max();
    assert!(plan.tasks().all(|task| Some(task.id) > highest));
    finishes(world);
}

#[test]
fn a_slot_without_a_whole_image_is_installed_again() {
    let mut world = stopped_at("n4", "do-download-job");
    let plan = planned(&world).unwrap();
    assert_eq!(tasks(&plan)[0], "n4 do-download-job");
    assert_eq!(plan.steps[0].lanes.len(), 1);
    world.slots("n3", |slots| {
        slots.b.health = SlotHealth::Untried { tries: 0 }
    });
    let plan = planned(&world).unwrap();
    assert_eq!(
        plan.steps[0].lanes.len(),
        2,
        "out of tries: not fit to boot"
    );
    finishes(world);
}

#[test]
fn a_node_that_came_home_by_hand_is_confirmed() {
    let mut world = stopped_at("n3", "do-giveback-job");
    world.give_back("n3");
    let plan = planned(&world).unwrap();
    let of_n3: Vec<String> = tasks(&plan)
        .into_iter()
        .filter(|t| t.starts_with("n3"))
        .collect();
    // Nobody saw its LIFs come home.
    let jobs = ["giveback", "verify", "stabilize-after-giveback", "commit"];
    assert_eq!(of_n3, jobs.map(|job| format!("n3 do-{job}-job")));
    assert_eq!(tasks(&plan)[..4], of_n3, "before anything is taken over");
    let world = finishes(world);
    let row = &world.operation.updated[&name("n3")];
    assert_eq!((&row.from, &row.to), (&old(), &new()));
}

/// It ran the version before the update, by nobody's doing that an update knows of: that its slot is good was never said.
#[test]
fn a_slot_that_was_to_be_called_good_still_is_after_a_pause() {
    let mut world = World::update();
    world.slots("n1", |slots| {
        (slots.booted, slots.default) = (Slot::B, Slot::B);
        slots.b.health = SlotHealth::Untried { tries: 2 };
        let (digest, version) = (new_image(), new());
        slots.b.image = Some(SlotImage { digest, version });
    });
    world.override_node("n1", |seen| seen.version = known(new()));
    let failure = error(TaskErrorKind::Permanent, "a bad day");
    world.failures.push((name("n1"), "do-commit-job", failure));
    world.run();
    assert_eq!(world.problem().error, "a bad day");
    let plan = planned(&world).unwrap();
    let of_n1 = |task: &String| task.starts_with("n1");
    let of_n1: Vec<String> = tasks(&plan).into_iter().filter(of_n1).collect();
    assert_eq!(of_n1.last().map(String::as_str), Some("n1 do-commit-job"));
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    let seen = world.seen();
    let slots = seen[&name("n1")].known().unwrap().slots.known().unwrap();
    assert_eq!(slots.slot(slots.booted).health, SlotHealth::Good);
}

#[test]
fn a_giveback_that_was_seen_to_its_end_is_not_asked_for_again() {
    let mut world = World::update();
    let failure = error(TaskErrorKind::Permanent, "a bad day");
    world.failures.push((name("n3"), "do-commit-job", failure));
    world.run();
    let plan = planned(&world).unwrap();
    assert_eq!(tasks(&plan)[0], "n3 do-verify-job");
    finishes(world);
}

/// The pools are home, and the LIFs could not be seen: whoever goes on, or out, finishes the giveback first.
#[test]
fn a_giveback_that_could_not_be_seen_is_not_done() {
    let mut world = stopped_at("n3", "do-giveback-job");
    world.give_back("n3");
    let mut cancelled = world.clone();
    let before = cancelled.operation.tasks.size();
    cancelled.cancel();
    cancelled.run();
    assert_eq!(*ended(&cancelled), OperationEnd::Canceled);
    let since = cancelled.operation.tasks.values().skip(before);
    let actions: Vec<&str> = since.map(|t| t.task.action.name()).collect();
    assert!(
        actions.contains(&"do-giveback-job") && actions.contains(&"do-verify-job"),
        "{actions:?}"
    );
    world.resume();
    let failure = error(TaskErrorKind::Permanent, "the LIFs are not known");
    world
        .failures
        .push((name("n3"), "do-giveback-job", failure));
    world.run();
    assert_eq!(world.problem().error, "the LIFs are not known");
    assert_eq!(world.operation.updated.len(), 0, "it was not seen at home");
    finishes(world);
}

#[test]
fn a_node_that_fell_back_comes_home_and_is_installed_anew() {
    let mut world = World::update();
    world.bad_image.insert(name("n3"));
    world.failures.push((
        name("n3"),
        "do-giveback-job",
        error(TaskErrorKind::Permanent, "a veto"),
    ));
    world.run();
    // What it was brought home for is not forgotten over why that did not work.
    let problem = world.problem();
    assert!(
        problem
            .error
            .contains("fell back to 9.1; and it is not home: a veto"),
        "{problem}"
    );
    assert!(
        problem.action.contains("Then: See the node's console log"),
        "{problem}"
    );
    world.bad_image.clear();
    let plan = planned(&world).unwrap();
    let of_n3: Vec<String> = tasks(&plan)
        .into_iter()
        .filter(|t| t.starts_with("n3"))
        .collect();
    let expected = [
        "n3 do-giveback-job",
        "n3 do-verify-job",
        "n3 do-download-job",
        "n3 do-activate-job",
        "n3 do-failover-job",
    ];
    assert_eq!(of_n3[..5], expected);
    finishes(world);
}

#[test]
fn a_takeover_by_someone_else_is_trouble() {
    let mut world = stopped_at("n4", "do-download-job");
    world.take_over_by_hand("n1");
    let Err(NoPlan::Trouble(problem)) = planned(&world) else {
        panic!("planned around it")
    };
    assert!(
        problem
            .error
            .contains("\"n1\" was taken over by node \"n2\", not by this update")
    );
    world.resume();
    world.run();
    assert!(world.problem().error.contains("not by this update"));
    world.give_back("n1");
    finishes(world);
}

#[test]
fn a_package_that_is_gone_is_trouble() {
    let mut world = stopped_at("n4", "do-download-job");
    world.catalogue.packages.clear();
    assert!(matches!(planned(&world), Err(NoPlan::Trouble(p)) if p.error.contains("9.2")));
}

#[test]
fn what_is_unknown_is_waited_for_then_it_is_trouble() {
    let mut world = stopped_at("n4", "do-download-job");
    let seen = world.silence("n2", Duration::ZERO);
    assert!(matches!(planned(&world), Err(NoPlan::Unknown(p)) if p.node == Some(name("n2"))));
    world.resume();
    let wait = world.decide().awaiting.remove(0);
    assert_eq!(wait.remaining, Some(world.tunables.silence));
    assert_eq!(wait.node, Some(name("n2")));
    world.run();
    assert!(
        world
            .problem()
            .error
            .contains("version it runs is not known")
    );
    world.observations.insert(name("n2"), seen);
    world.override_ha("n2", MemberHa::Booting);
    let Err(NoPlan::Unknown(problem)) = planned(&world) else {
        panic!("a booting node was planned")
    };
    assert!(problem.error.contains("it is booting"));
    for n in ["n1", "n2"] {
        world.silence(n, Duration::ZERO);
    }
    let Err(NoPlan::Unknown(problem)) = planned(&world) else {
        panic!("an unseen pair was planned")
    };
    assert!(problem.error.contains("state of its HA pair is not known"));
}

#[test]
fn when_all_is_done_only_the_post_checks_are_left() {
    let mut world = World::update();
    world.run_until(|w| w.operation.updated.len() == 4);
    world.override_pair("n1", |pair| pair.enabled = false);
    world.run();
    assert_eq!(planned(&world).unwrap().steps, []);
}
