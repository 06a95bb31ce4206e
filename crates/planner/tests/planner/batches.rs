//! Big clusters, parts of clusters, clusters of one node: what is planned, and how it goes.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{chosen, plan};

use crate::walks::ended;
use crate::world::*;

fn planned(world: &World) -> Result<Plan, Refusal> {
    world.input(|input| plan(input, input.operation.update().unwrap()))
}

/// The nodes of each step, installs not among them.
fn turns(plan: &Plan) -> Vec<Vec<&str>> {
    let is_turn = |step: &&Step| !step.lanes[0].tasks[0].action.is_install();
    let steps = plan.steps.iter().filter(is_turn);
    let of = steps.map(|step| step.lanes.iter().map(|lane| lane.node.as_str()).collect());
    of.collect()
}

fn nodes(world: &mut World, names: &[&str]) {
    let Request::Update(request) = &mut world.operation.request else {
        panic!("an update")
    };
    request.nodes = names.iter().map(|n| name(n)).collect();
}

fn batch() -> World {
    World::update_of(8, |_| {})
}

/// Nodes that are with their partner by a takeover.
fn away(world: &World) -> Vec<String> {
    let names = world.topology.names();
    names
        .filter(|node| {
            let newest = world.newest(node.as_str());
            newest.is_some_and(|t| t.taken == **node && t.stage != TransitionStage::GivenBack)
        })
        .map(ToString::to_string)
        .collect()
}

#[test]
fn from_eight_nodes_on_whole_pairs_go_in_two_batches() {
    let world = batch();
    let plan = planned(&world).unwrap();
    assert_eq!(plan.mode, PlanMode::Batch);
    assert_eq!(plan.steps[0].lanes.len(), 8, "all install at once");
    let expected = [["n3", "n5"], ["n4", "n6"], ["n7", "n2"], ["n8", "n1"]];
    assert_eq!(turns(&plan), expected);

    let mut rolling = World::update_of(8, |request| request.force_rolling = true);
    rolling.me = name("n8");
    let plan = planned(&rolling).unwrap();
    assert_eq!((plan.mode, turns(&plan).len()), (PlanMode::Rolling, 8));
    assert_eq!(turns(&plan)[6..], [["n7"], ["n8"]]);
    assert_eq!(
        planned(&World::update_of(6, |_| {})).unwrap().mode,
        PlanMode::Rolling
    );
}

#[test]
fn the_first_pair_is_the_operators_to_name() {
    let world = World::update_of(8, |request| request.first = Some(name("n8")));
    let plan = planned(&world).unwrap();
    assert_eq!(turns(&plan)[0], ["n7", "n3"]);
    let world = World::update_with(|request| request.first = Some(name("n1")));
    let plan = planned(&world).unwrap();
    // The coordinator last in its pair all the same.
    assert_eq!(turns(&plan), [["n2"], ["n1"], ["n3"], ["n4"]]);
}

#[test]
fn only_the_nodes_named_are_updated() {
    let mut world = batch();
    nodes(&mut world, &["n6", "n5"]);
    let plan = planned(&world).unwrap();
    assert_eq!(turns(&plan), [["n5"], ["n6"]]);
    assert_eq!(plan.from.len(), 2);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert_eq!(world.operation.updated.len(), 2);

    let refusal = |names: &[&str]| {
        let mut world = batch();
        nodes(&mut world, names);
        let request = world.operation.update().unwrap();
        let told_at_once = chosen(&world.topology, request).unwrap_err();
        assert_eq!(planned(&world), Err(told_at_once.clone()));
        told_at_once
    };
    let half = refusal(&["n3", "n4", "n5"]);
    assert_eq!(half.code, 10_551_368);
    assert!(half.message.contains("\"n5\"") && half.message.contains("\"n6\""));
    let unknown = refusal(&["n3", "n4", "n9"]);
    assert_eq!(unknown.code, 262_197);
    assert!(unknown.message.contains("\"n9\""));

    // One that is there already is left out.
    let mut world = batch();
    world.override_node("n5", |seen| seen.version = known(new()));
    nodes(&mut world, &["n5", "n6"]);
    assert_eq!(turns(&planned(&world).unwrap()), [["n6"]]);
}

#[test]
fn a_cluster_of_several_sites_is_not_planned_for() {
    let mut world = batch();
    world.topology.nodes[0].site = Some("north".to_owned());
    let refusal = planned(&world).unwrap_err();
    assert_eq!(refusal.code, 10_551_558);
    assert!(refusal.message.contains("north"));
}

#[test]
fn what_the_record_does_not_survive_is_not_planned() {
    let world = batch();
    let few = |down: &[NodeName]| match down.len() {
        0 | 1 => Ok(()),
        _more => Err("four voters are needed".to_owned()),
    };
    let plan = world.input(|input| {
        let mut input = *input;
        input.survives_without = &few;
        plan(&input, input.operation.update().unwrap()).unwrap()
    });
    assert_eq!(plan.mode, PlanMode::Rolling);
    let remark = plan.remark.unwrap();
    assert!(
        remark.contains("\"n3\", \"n5\"") && remark.contains("four voters"),
        "{remark}"
    );
}

#[test]
fn a_takeover_waits_while_the_record_needs_who_is_left() {
    let mut world = batch();
    world.run_until(|w| away(w).len() == 2);
    assert_eq!(away(&world), ["n3", "n5"]);
    // The next two would go now, with nothing else away.
    world.run_until(|w| away(w).is_empty() && w.operation.updated.len() == 2);
    let one = |down: &[NodeName]| match down.len() {
        0 | 1 => Ok(()),
        _more => Err("four voters are needed".to_owned()),
    };
    let mut guarded = world.clone();
    for _ in 0..40 {
        let decision = guarded.input(|input| {
            let mut input = *input;
            input.survives_without = &one;
            evenkeel_planner::next(&input)
        });
        if !guarded.carry_out(decision) {
            guarded.pass(Duration::from_secs(20));
        }
        assert!(away(&guarded).len() <= 1, "{:?}", away(&guarded));
    }
}

#[test]
fn a_batch_walks_to_its_end_and_no_pair_is_ever_down() {
    let mut world = batch();
    let mut most = 0;
    for _ in 0..2_000 {
        if world.is_at_rest() {
            break;
        }
        if !world.step() {
            world.pass(Duration::from_secs(20));
        }
        let away: BTreeSet<String> = away(&world).into_iter().collect();
        most = most.max(away.len());
        assert!(
            away.iter().all(|node| !away.contains(partner(node))),
            "{away:?}"
        );
    }
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert_eq!((most, world.operation.updated.len()), (2, 8));
    assert_ne!(world.me, name("n1"), "it handed over");
}

#[test]
fn a_slow_boot_holds_nobody_up() {
    let mut world = batch();
    world.run_until(|w| away(w).len() == 2);
    // One of them does not come up; the other goes on until it is done.
    world.override_ha("n3", MemberHa::Booting);
    let seen = world.silence("n3", Duration::ZERO);
    world.run_until(|w| w.operation.updated.contains_key(&name("n5")));
    assert_eq!(away(&world), ["n3"]);
    assert!(!world.operation.updated.contains_key(&name("n3")));
    assert!(!world.is_at_rest());
    world.observations.insert(name("n3"), seen);
    world.silent.clear();
    world.override_ha("n3", MemberHa::WaitingForGiveback);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn trouble_with_one_lets_the_others_come_home_then_pauses() {
    let mut world = batch();
    let failure = error(TaskErrorKind::Permanent, "a veto");
    world
        .failures
        .push((name("n3"), "do-failover-job", failure));
    world.run_until(|w| {
        let failed = |t: &TaskProgress| matches!(t.state, TaskState::Failed { .. });
        w.operation.tasks.values().any(|t| failed(t)) && w.decide().events.is_empty()
    });
    let waits = world.decide().awaiting;
    assert!(waits.iter().all(|wait| wait.remaining.is_some()));
    assert_eq!(waits.last().unwrap().seen.as_deref(), Some("a veto"));
    world.run();
    assert_eq!(world.problem().error, "a veto");
    assert_eq!(away(&world), [""; 0]);
    let updated: Vec<&str> = world
        .operation
        .updated
        .keys()
        .map(NodeName::as_str)
        .collect();
    assert_eq!(updated, ["n5"], "nothing new was begun");
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    assert_eq!(world.operation.updated.len(), 8);
    // What is left is planned in batches again.
    let plan = world.operation.plan.as_ref().unwrap();
    assert_eq!(
        turns(plan),
        [
            vec!["n3", "n6"],
            vec!["n4"],
            vec!["n7", "n2"],
            vec!["n8", "n1"]
        ]
    );
}

#[test]
fn several_that_are_away_come_home_side_by_side() {
    let mut world = batch();
    for node in ["n3", "n5"] {
        let failure = error(TaskErrorKind::Permanent, "a veto");
        world
            .failures
            .push((name(node), "do-giveback-job", failure));
    }
    world.run();
    assert_eq!(away(&world), ["n3", "n5"]);
    world.resume();
    world.step();
    let plan = world.operation.plan.as_ref().unwrap();
    assert_eq!(turns(plan)[0], ["n3", "n5"]);
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn one_that_falls_back_does_not_keep_the_other_from_the_new_version() {
    let mut world = batch();
    world.bad_image.insert(name("n3"));
    world.run();
    assert!(world.problem().error.contains("fell back"));
    assert_eq!(away(&world), [""; 0]);
    assert!(world.operation.updated.contains_key(&name("n5")));
    world.bad_image.clear();
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn a_pause_lets_every_lane_reach_its_point() {
    let mut world = batch();
    world.run_until(|w| away(w).len() == 2);
    world.ask_pause();
    world.run();
    assert_eq!(world.point(), PausePoint::Takeover);
    assert_eq!(away(&world), ["n3", "n5"]);
    assert!(world.running_tasks().is_empty());
    world.resume();
    world.ask_pause();
    world.run();
    // Resumed and asked again before anything was done: it stands where it stood.
    assert_eq!(world.point(), PausePoint::Takeover);
    world.resume();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
}

#[test]
fn pauses_come_once_for_a_step_not_once_for_a_lane() {
    use PausePoint::{Giveback, Install, Takeover, Validation};
    let mut world = World::update_of(8, |request| request.pause_after = PauseAfter::All);
    let mut points = Vec::new();
    world.run();
    while !world.operation.is_ended() {
        points.push(world.point());
        world.resume();
        world.run();
    }
    let all = [&[Validation, Install][..], &[Takeover, Giveback].repeat(4)].concat();
    assert_eq!(points, all);
}

#[test]
fn a_cancel_brings_all_of_a_batch_home() {
    let mut world = batch();
    world.run_until(|w| away(w).len() == 2);
    world.ask_pause();
    world.run();
    assert_eq!(away(&world), ["n3", "n5"]);
    // One giveback takes its time; the other node does not wait for it.
    let failure = error(TaskErrorKind::Transient, "a veto that passes");
    world
        .failures
        .push((name("n3"), "do-giveback-job", failure));
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    assert_eq!(away(&world), [""; 0]);
    let started = world.started();
    let commits = ["n3", "n5"].map(|node| format!("{node} do-commit-job"));
    assert!(
        commits.iter().all(|commit| started.contains(commit)),
        "{started:?}"
    );
    assert!(
        world.operation.updated.len() == 2,
        "both stay on the new version"
    );
}

#[test]
fn gates_come_before_every_turn_but_the_first() {
    let gates = Gates {
        conditions: vec![GateCondition::LifsHome, GateCondition::Script],
        hold_minutes: 2,
        longest_minutes: 30,
    };
    let mut world = batch();
    world.control.gates = gates.clone();
    let plan = planned(&world).unwrap();
    for step in &plan.steps[2..] {
        for lane in &step.lanes {
            assert_eq!(
                lane.tasks[0].action,
                Action::Gate {
                    gates: gates.clone()
                }
            );
            let longest_minutes = 30;
            assert_eq!(lane.tasks[1].action, Action::GateScript { longest_minutes });
        }
    }
    for lane in &plan.steps[1].lanes {
        assert_eq!(lane.tasks[0].action.name(), "do-activate-job");
    }
}

#[test]
fn a_single_node_is_updated_by_a_reboot_and_the_warning_says_so() {
    let mut world = World::update_alone();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Completed);
    let warned = world.operation.findings.as_ref().unwrap();
    assert!(warned[0].issue.contains("data is not served"), "{warned:?}");
    let jobs = ["download", "activate", "reboot", "boot", "verify", "commit"];
    let expected = jobs.map(|job| format!("n1 do-{job}-job"));
    assert_eq!(world.started(), expected);
    assert_eq!(
        world.operation.plan.as_ref().unwrap().mode,
        PlanMode::SingleNode
    );

    let mut world = World::update_alone();
    world.bad_image.insert(name("n1"));
    world.run();
    assert!(world.problem().error.contains("fell back"));
    world.cancel();
    world.run();
    assert_eq!(*ended(&world), OperationEnd::Canceled);
    assert_eq!(world.started().last().unwrap(), "n1 do-deactivate-job");
}

#[test]
fn a_plan_in_parts_is_refused_while_a_daemon_may_not_read_them() {
    for (nodes, told) in [(4, false), (512, true)] {
        let mut world = World::update_of(nodes, |_| {});
        // Nobody has said which release runs.
        world.control.topology = Some(world.topology.clone());
        assert!(world.control.mixed_daemons());
        assert!(world.step(), "validated");
        let events = world.decide().events;
        let refused = events.iter().any(|event| match event {
            OperationEvent::Ended { end, .. } => {
                matches!(end, OperationEnd::Failed { message, .. } if message.contains("different releases"))
            }
            _ => false,
        });
        assert_eq!(refused, told, "{nodes} nodes");
    }
}

#[test]
fn a_plan_too_big_for_one_event_is_cut_and_folds_to_the_same() {
    let mut world = World::update_of(512, |_| {});
    let whole = planned(&world).unwrap();
    assert!(world.step(), "validated");
    let events = world.decide().events;
    assert!(events.len() > 10);
    for event in &events {
        let bytes = Event::Operation(event.clone()).encode().len();
        assert!(bytes <= 48 * 1024, "{bytes}");
    }
    world.append(events);
    assert_eq!(world.operation.plan.as_deref(), Some(&whole));
    for task in whole.tasks() {
        assert_eq!(whole.task(task.id), Some(task));
    }
    // Nor is any later decision longer than the record takes.
    let intents = world.decide().events;
    assert_eq!(intents.len(), 512);
}
