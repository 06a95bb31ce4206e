//! First plans: order, refusals, numbering, estimates.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{Estimate, Tunables, estimate, plan};

use crate::world::*;

fn planned(world: &World) -> Result<Plan, Refusal> {
    world.input(|input| plan(input, input.operation.update().unwrap()))
}

fn takeovers(plan: &Plan) -> Vec<&str> {
    let taken = plan.lanes().filter(|lane| !lane.restore.is_empty());
    taken.map(|lane| lane.node.as_str()).collect()
}

#[test]
fn the_coordinators_pair_is_last_and_the_coordinator_last_in_it() {
    let expected = [
        ("n1", ["n3", "n4", "n2", "n1"]),
        ("n2", ["n3", "n4", "n1", "n2"]),
        ("n3", ["n1", "n2", "n4", "n3"]),
        ("n4", ["n1", "n2", "n3", "n4"]),
    ];
    for (me, order) in expected {
        let mut world = World::update();
        world.me = name(me);
        let plan = planned(&world).unwrap();
        assert_eq!(takeovers(&plan), order, "coordinator {me}");
        assert_eq!(plan.steps[0].lanes.len(), 4, "all nodes install at once");
        let rolling = plan.steps[1..].iter().all(|step| step.lanes.len() == 1);
        assert!(rolling, "one node at a time");
    }
}

#[test]
fn every_way_out_has_a_way_back_and_every_task_a_number() {
    let plan = planned(&World::update()).unwrap();
    let ids: BTreeSet<TaskId> = plan.tasks().map(|task| task.id).collect();
    assert_eq!(ids.len(), plan.tasks().count());
    for lane in plan.lanes() {
        let takes_over = lane.tasks.iter().any(|t| t.action == Action::Takeover);
        let gives_back = lane.restore.iter().any(|t| t.action == Action::Giveback);
        assert_eq!(takes_over, gives_back, "{lane:?}");
        for task in lane.tasks.iter().chain(&lane.restore) {
            let by_partner = matches!(task.action, Action::Takeover | Action::Giveback);
            if by_partner {
                let other = name(partner(lane.node.as_str()));
                assert_eq!(task.executor, Executor::Agent(other));
            }
        }
    }
}

#[test]
fn nodes_that_run_the_version_are_left_alone() {
    let mut world = World::update();
    world.override_node("n3", |seen| seen.version = known(new()));
    let plan = planned(&world).unwrap();
    assert_eq!(takeovers(&plan), ["n4", "n2", "n1"]);
    assert_eq!(plan.steps[0].lanes.len(), 3);
    assert_eq!(plan.from[&name("n3")], new());
}

#[test]
fn refusals_have_codes() {
    let code_of = |world: &World| planned(world).unwrap_err().code;
    let mut world = World::update();
    for n in NAMES {
        world.override_node(n, |seen| seen.version = known(new()));
    }
    assert_eq!(code_of(&world), code::ALREADY_AT_VERSION);
    assert_eq!(code::ALREADY_AT_VERSION, 10_551_854);

    let mut world = World::update();
    world.catalogue.packages.clear();
    assert_eq!(code_of(&world), code::NO_PACKAGE);

    let mut world = World::update();
    world.override_node("n4", |seen| seen.version = unknown());
    let refusal = planned(&world).unwrap_err();
    assert_eq!(refusal.code, code::VALIDATION_FAILED);
    assert!(refusal.message.contains("n4"));
}

#[test]
fn estimates_reproduce_the_published_examples() {
    let pair = |minutes| {
        let mut world = World::update_with(|request| request.stabilize_minutes = minutes);
        world.topology.nodes.truncate(2);
        estimate(&planned(&world).unwrap(), &Tunables::default())
    };
    let expected = |updates| Estimate {
        pre_checks: Duration::from_secs(600),
        updates: Duration::from_secs(updates),
        post_checks: Duration::from_secs(600),
    };
    assert_eq!(pair(8), expected(4620));
    assert_eq!(pair(1), expected(780 + 2 * (960 + 120)));
    let four = estimate(&planned(&World::update()).unwrap(), &Tunables::default());
    assert_eq!(four, expected(780 + 4 * (960 + 2 * 60 * 8)));
    let minute = Duration::from_millis(250);
    let lab = Tunables {
        minute,
        ..Tunables::default()
    };
    let short = estimate(&planned(&World::update()).unwrap(), &lab);
    assert_eq!(short.pre_checks, minute * 10);
}
