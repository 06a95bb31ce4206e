//! Clusters of every shape, updates of every kind, and an operator who pauses, resumes and cancels at any
//! moment: no pair ever loses both, and each update ends with everyone at home.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::*;
use proptest::prelude::*;

use crate::random::{JOBS, judge};
use crate::world::*;

#[derive(Clone, Debug)]
enum Act {
    Pause,
    Resume,
    Cancel,
    Elect(usize),
    Fail(usize, usize, TaskErrorKind),
}

#[derive(Clone, Debug)]
struct Shape {
    pairs: usize,
    rolling: bool,
    /// Which pairs are named; none named: all are updated.
    named: Vec<bool>,
    first: Option<usize>,
    me: usize,
    pause_after: PauseAfter,
    /// After so many steps each.
    acts: Vec<(usize, Act)>,
}

fn act() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![
        Just(TaskErrorKind::Transient),
        Just(TaskErrorKind::Permanent),
    ];
    prop_oneof![
        3 => Just(Act::Pause),
        4 => Just(Act::Resume),
        1 => Just(Act::Cancel),
        1 => (0..24_usize).prop_map(Act::Elect),
        2 => (0..24_usize, 0..JOBS.len(), kind).prop_map(|(n, job, k)| Act::Fail(n, job, k)),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let pause_after = prop_oneof![
        4 => Just(PauseAfter::None),
        1 => Just(PauseAfter::TakeoverGiveback),
        1 => Just(PauseAfter::All),
    ];
    (
        1..=12_usize,
        any::<bool>(),
        proptest::collection::vec(proptest::bool::weighted(0.3), 12),
        proptest::option::of(0..24_usize),
        0..24_usize,
        pause_after,
        proptest::collection::vec((0..60_usize, act()), 0..6),
    )
        .prop_map(
            |(pairs, rolling, named, first, me, pause_after, acts)| Shape {
                pairs,
                rolling,
                named,
                first,
                me,
                pause_after,
                acts,
            },
        )
}

fn node(shape: &Shape, number: usize) -> NodeName {
    name(&format!("n{}", number % (2 * shape.pairs) + 1))
}

/// The nodes that are to be updated.
fn due(shape: &Shape) -> BTreeSet<NodeName> {
    let named = |pair: usize| shape.named[pair];
    let any = (0..shape.pairs).any(named);
    let pairs = (0..shape.pairs).filter(|pair| !any || named(*pair));
    let nodes = pairs.flat_map(|pair| [2 * pair, 2 * pair + 1]);
    nodes.map(|number| node(shape, number)).collect()
}

fn world(shape: &Shape) -> World {
    let due = due(shape);
    let all = due.len() == 2 * shape.pairs;
    let first = shape.first.map(|number| node(shape, number));
    let mut world = World::update_of(2 * shape.pairs as u128, |request| {
        request.force_rolling = shape.rolling;
        request.pause_after = shape.pause_after;
        request.first = first.filter(|first| due.contains(first));
        if !all {
            request.nodes = due.iter().cloned().collect();
        }
    });
    world.me = node(shape, shape.me);
    world
}

/// One decision, or time in which nothing happens.
fn go_on(world: &mut World) {
    if !world.step() {
        world.pass(Duration::from_secs(120));
    }
    judge(world);
    let away: Vec<&NodeName> = world
        .topology
        .names()
        .filter(|node| {
            let newest = world.newest(node.as_str());
            newest.is_some_and(|t| t.taken == **node && t.stage != TransitionStage::GivenBack)
        })
        .collect();
    for node in &away {
        let other = world.topology.partner_of(node).unwrap();
        assert!(!away.contains(&other), "{node} and {other} are both away");
    }
}

fn happen(world: &mut World, shape: &Shape, act: &Act) {
    let paused = matches!(world.operation.state, OperationState::Paused { .. });
    match act {
        Act::Pause if world.operation.state == OperationState::Running => world.ask_pause(),
        Act::Resume if paused => world.resume(),
        Act::Cancel if paused => world.cancel(),
        Act::Elect(number) => world.hand_over(node(shape, *number)),
        Act::Fail(number, job, kind) => {
            let failure = error(*kind, "no luck");
            world
                .failures
                .push((node(shape, *number), JOBS[*job], failure));
        }
        Act::Pause | Act::Resume | Act::Cancel => {}
    }
}

/// What every plan of every shape keeps.
fn well_planned(world: &World, shape: &Shape) {
    let plan = world.operation.plan.as_ref().unwrap();
    let mut turns = Vec::new();
    for step in &plan.steps {
        let is_turn = |lane: &&Lane| lane.tasks.iter().any(|t| t.action == Action::Takeover);
        let nodes: BTreeSet<&NodeName> = step
            .lanes
            .iter()
            .filter(is_turn)
            .map(|lane| &lane.node)
            .collect();
        for node in &nodes {
            let other = world.topology.partner_of(node).unwrap();
            assert!(!nodes.contains(other), "{node} and {other} in one step");
        }
        turns.extend(nodes);
    }
    let each: BTreeSet<NodeName> = turns.iter().map(|node| (*node).clone()).collect();
    assert_eq!(turns.len(), each.len(), "a node has two turns");
    assert_eq!(each, due(shape));
    let place = |node: &NodeName| turns.iter().position(|turn| *turn == node);
    let other = world.topology.partner_of(&world.me).unwrap();
    assert!(
        place(&world.me) >= place(other),
        "the coordinator goes first"
    );
    for step in &plan.steps {
        for lane in &step.lanes {
            let takes: u32 = lane.tasks.iter().map(|task| task.estimate_s).sum();
            assert!(takes > 0 && takes < 24 * 3600, "{}: {takes} s", lane.node);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn whatever_the_shape_and_the_operator_nobody_is_lost_and_it_ends(shape in shape()) {
        let mut world = world(&shape);
        while world.operation.plan.is_none() && !world.operation.is_ended() {
            go_on(&mut world);
        }
        prop_assert!(!world.operation.is_ended(), "refused: {:?}", world.operation.state);
        well_planned(&world, &shape);
        for (steps, act) in &shape.acts {
            (0..*steps).for_each(|_| go_on(&mut world));
            happen(&mut world, &shape, act);
            judge(&world);
        }
        world.failures.clear();
        for _ in 0..6_000 {
            match world.operation.state {
                OperationState::Ended { .. } => break,
                OperationState::Paused { .. } => world.resume(),
                _ => go_on(&mut world),
            }
        }
        prop_assert!(world.operation.is_ended(), "{:?}", world.operation.state);
        let end = OperationState::Ended { end: OperationEnd::Completed };
        let updated: BTreeSet<NodeName> = world.operation.updated.keys().cloned().collect();
        prop_assert!(world.operation.state != end || updated == due(&shape));
        for (node, seen) in &world.observations {
            let pair = seen.known().unwrap().pair.known().unwrap().as_ref().unwrap();
            prop_assert_eq!(pair.local.ha, MemberHa::Serving, "{} is not at home", node);
        }
    }
}
