//! Plans that are looked at before anything runs, and estimates.

use evenkeel_model::*;
use evenkeel_planner::{learn, plan_estimate, preview};

use crate::world::*;

fn alone(estimate: &PlanEstimate) -> Vec<(u32, String)> {
    let of = |moment: &Moment| {
        let alone = moment.alone.first()?;
        Some((
            moment.start_s,
            format!("{} for {}", alone.serving, alone.away),
        ))
    };
    estimate.moments.iter().filter_map(of).collect()
}

#[test]
fn a_preview_shows_durations_and_who_stands_alone_when() {
    let mut world = World::update();
    world.topology = pair();
    for gone in ["n3", "n4"] {
        world.observations.remove(&name(gone));
    }
    let shown = world.input(|input| preview(input, &update_request()));
    let (plan, estimate) = shown.plan.unwrap();
    assert_eq!(shown.blocked, None);
    assert_eq!((estimate.pre_checks_s, estimate.updates_s), (600, 4620));
    assert_eq!(estimate.updates_p90_s, 4620, "nothing is known yet");
    assert!(!estimate.disruptive);
    assert_eq!(estimate.moments[0].nodes.len(), 2, "both install at once");
    let first = plan.steps[1].lanes[0].node.clone();
    let away: Vec<String> = alone(&estimate).into_iter().map(|(_, who)| who).collect();
    let turn = |node: &NodeName| vec![format!("{} for {node}", partner(node.as_str())); 3];
    let second = name(partner(first.as_str()));
    assert_eq!(away, [turn(&first), turn(&second)].concat());
    // The moments follow each other without a gap, to the end.
    let end = estimate.moments.iter().skip(1).fold(780, |at, moment| {
        assert_eq!(moment.start_s, at, "{}", moment.what);
        at + moment.seconds
    });
    assert_eq!(end, estimate.updates_s);
}

fn pair() -> Topology {
    let world = World::update();
    let nodes = world.topology.nodes.iter().take(2).cloned().collect();
    Topology::new(world.topology.id, "pair".to_owned(), nodes).unwrap()
}

#[test]
fn red_checks_do_not_keep_a_plan_from_being_shown() {
    let mut world = World::update();
    world.override_node("n2", |seen| {
        seen.alerts = known(vec!["a fan is dead".to_owned()])
    });
    let shown = world.input(|input| preview(input, &update_request()));
    assert!(shown.plan.is_ok());
    assert!(!shown.findings.is_empty());
    assert_eq!(shown.blocked.unwrap().code, code::VALIDATION_WARNINGS);
    world.catalogue.packages.clear();
    let shown = world.input(|input| preview(input, &update_request()));
    assert_eq!(shown.plan.unwrap_err().code, code::NO_PACKAGE);
}

#[test]
fn an_estimate_says_how_long_ends_and_touches_nothing() {
    let mut world = World::of(Request::Estimate(update_request()));
    let job = JobId(uuid::Uuid::from_u128(77));
    world.append(vec![OperationEvent::JobOpened {
        at: wall(),
        job,
        description: "PATCH".to_owned(),
    }]);
    let decision = world.decide();
    assert!(decision.orders.is_empty());
    world.append(decision.events);
    assert!(world.operation.is_ended());
    let estimate = world.operation.estimate.clone().unwrap();
    assert_eq!(estimate.updates_s, 780 + 4 * 1920);
    assert_eq!(
        world.operation.findings, None,
        "a validation is another thing"
    );
    let Some((_, JobOutcome::Success { message })) = &world.operation.jobs[0].end else {
        panic!("{:?}", world.operation.jobs[0])
    };
    assert!(message.contains("estimated to take 2:31:00"), "{message}");
}

#[test]
fn an_estimate_without_a_plan_fails_its_job() {
    let mut world = World::of(Request::Estimate(UpdateRequest {
        nodes: vec![name("n1")],
        ..update_request()
    }));
    let decision = world.decide();
    world.append(decision.events);
    let end = OperationState::Ended {
        end: OperationEnd::Failed {
            code: code::NOT_HA_PAIRS,
            message:
                "Nodes are updated as HA pairs: node \"n1\" is named, its partner \"n2\" is not."
                    .to_owned(),
        },
    };
    assert_eq!(world.operation.state, end);
    assert_eq!(world.operation.estimate, None);
}

#[test]
fn what_was_slow_before_is_in_the_slow_case() {
    let world = World::update();
    let planned = world
        .input(|input| evenkeel_planner::plan(input, &update_request()))
        .unwrap();
    let learned = learn(std::iter::empty(), world.tunables.minute);
    let estimate = plan_estimate(&planned, &learned, &world.topology);
    assert_eq!(estimate.updates_p90_s, estimate.updates_s);
    assert!(estimate.moments.iter().all(|m| m.p90_s >= m.seconds));
}
