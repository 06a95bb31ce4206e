//! Random troubles at random moments: the planner stays legal, safe and never silent, and once all is well
//! an operator who resumes gets the update done.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::*;
use proptest::prelude::*;

use crate::world::*;

#[derive(Clone, Debug)]
enum Event {
    /// One decision is carried out.
    Step,
    /// The next order of a kind on a node comes to this.
    Fail(usize, usize, TaskErrorKind),
    Pass(u64),
    Mask(usize, Mask),
    Ha(usize, MemberHa),
    TakeOverByHand(usize),
    GiveBackByHand(usize),
    BadImage(usize),
    Indispensable(usize),
    /// Another node coordinates.
    Elect(usize),
    Heal,
    Pause,
    Resume,
    Cancel,
}

pub(crate) const JOBS: [&str; 5] = [
    "do-download-job",
    "do-activate-job",
    "do-failover-job",
    "do-giveback-job",
    "do-commit-job",
];

fn event() -> impl Strategy<Value = Event> {
    let node = 0..4_usize;
    let kind = prop_oneof![
        Just(TaskErrorKind::Transient),
        Just(TaskErrorKind::Permanent),
        Just(TaskErrorKind::FellBack),
    ];
    let mask = prop_oneof![
        Just(Mask::Everything),
        Just(Mask::Pair),
        Just(Mask::Pools),
        Just(Mask::Lifs),
        Just(Mask::Disks),
        Just(Mask::Version),
        Just(Mask::Slots),
    ];
    let ha = prop_oneof![
        Just(MemberHa::Serving),
        Just(MemberHa::WaitingForGiveback),
        Just(MemberHa::PartialGiveback),
        Just(MemberHa::Booting),
        Just(MemberHa::Down),
        Just(MemberHa::Fenced),
    ];
    prop_oneof![
        60 => Just(Event::Step),
        4 => (node.clone(), 0..JOBS.len(), kind).prop_map(|(n, job, k)| Event::Fail(n, job, k)),
        20 => (1..600_u64).prop_map(Event::Pass),
        2 => (1..6_000_u64).prop_map(Event::Pass),
        3 => (node.clone(), mask).prop_map(|(n, mask)| Event::Mask(n, mask)),
        2 => (node.clone(), ha).prop_map(|(n, ha)| Event::Ha(n, ha)),
        1 => node.clone().prop_map(Event::TakeOverByHand),
        1 => node.clone().prop_map(Event::GiveBackByHand),
        1 => node.clone().prop_map(Event::BadImage),
        1 => node.clone().prop_map(Event::Indispensable),
        2 => node.prop_map(Event::Elect),
        6 => Just(Event::Heal),
        2 => Just(Event::Pause),
        8 => Just(Event::Resume),
        1 => Just(Event::Cancel),
    ]
}

fn happen(world: &mut World, event: &Event) {
    let state = &world.operation.state;
    match event {
        Event::Step => {
            if !world.step() {
                world.pass(Duration::from_secs(30));
            }
        }
        Event::Fail(node, job, kind) => {
            let failure = error(*kind, "no luck");
            world
                .failures
                .push((name(NAMES[*node]), JOBS[*job], failure));
        }
        Event::Pass(seconds) => world.pass(Duration::from_secs(*seconds)),
        Event::Mask(node, mask) => {
            let node = name(NAMES[*node]);
            world.masks.insert(node.clone(), *mask);
            world.silent.remove(&node);
            if *mask == Mask::Everything {
                world.silent.insert(node, Duration::ZERO);
            }
        }
        Event::Ha(node, ha) => world.override_ha(NAMES[*node], *ha),
        Event::TakeOverByHand(node) => {
            let newest = world.newest(NAMES[*node]);
            if newest.is_none_or(|t| t.stage == TransitionStage::GivenBack) {
                world.take_over_by_hand(NAMES[*node]);
            }
        }
        Event::GiveBackByHand(node) => world.give_back(NAMES[*node]),
        Event::BadImage(node) => drop(world.bad_image.insert(name(NAMES[*node]))),
        Event::Indispensable(node) => drop(world.indispensable.insert(name(NAMES[*node]))),
        Event::Elect(node) => world.hand_over(name(NAMES[*node])),
        Event::Heal => heal(world),
        Event::Pause if *state == OperationState::Running => world.ask_pause(),
        Event::Resume if matches!(state, OperationState::Paused { .. }) => world.resume(),
        Event::Cancel if matches!(state, OperationState::Paused { .. }) => world.cancel(),
        Event::Pause | Event::Resume | Event::Cancel => {}
    }
}

/// All trouble ends; what this update holds stays held, what others took goes home.
fn heal(world: &mut World) {
    world.masks.clear();
    world.silent.clear();
    world.indispensable.clear();
    world.bad_image.clear();
    world.failures.clear();
    for (low, high) in [("n1", "n2"), ("n3", "n4")] {
        let stands = world
            .newest(low)
            .filter(|t| t.stage != TransitionStage::GivenBack);
        for node in [low, high] {
            world.override_ha(node, MemberHa::Serving);
        }
        match stands {
            Some(t) if t.id.is_some() => {
                world.override_ha(t.taken.as_str(), MemberHa::WaitingForGiveback);
            }
            Some(t) => world.give_back(t.taken.as_str()),
            None => {}
        }
    }
}

/// What must hold of every decision, whatever went before.
pub(crate) fn judge(world: &World) {
    let decision = world.decide();
    let mut after = world.clone();
    for event in &decision.events {
        after.guard(event);
        if let Err(illegal) = after.operation.apply(event) {
            panic!("{illegal}");
        }
    }
    let mut pairs = BTreeSet::new();
    for task in after.running_tasks() {
        if task.action == Action::Takeover {
            let other = partner(task.node.as_str());
            let pair = task.node.as_str().min(other).to_owned();
            assert!(
                pairs.insert(pair),
                "two takeovers in the pair of {}",
                task.node
            );
        }
    }
    let acts = !decision.events.is_empty()
        || !decision.catalogue.is_empty()
        || !decision.orders.is_empty()
        || decision.hand_over.is_some();
    let ended = world.operation.is_ended();
    assert!(
        ended || acts || !decision.awaiting.is_empty(),
        "silence: {:?}",
        world.operation
    );
    let person = matches!(world.operation.state, OperationState::Paused { .. });
    for wait in &decision.awaiting {
        assert!(
            !wait.what.is_empty() && !wait.unblock.is_empty(),
            "{wait:?}"
        );
        assert!(
            person || wait.remaining.is_some(),
            "without a bound: {wait:?}"
        );
    }
}

fn chaos(world: &mut World, events: &[Event]) {
    for event in events {
        happen(world, event);
        judge(world);
    }
}

fn pause_after() -> impl Strategy<Value = PauseAfter> {
    prop_oneof![
        4 => Just(PauseAfter::None),
        1 => Just(PauseAfter::TakeoverGiveback),
        1 => Just(PauseAfter::All),
    ]
}

/// An update that was let in: trouble before that ends in a refusal, which says little.
fn admitted(pause_after: PauseAfter) -> World {
    let mut world = World::update_with(|request| request.pause_after = pause_after);
    world.step();
    world.step();
    assert_eq!(world.operation.state, OperationState::Running);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn decisions_are_legal_safe_and_never_silent(
        pause_after in pause_after(),
        events in proptest::collection::vec(event(), 1..160),
    ) {
        let mut world = admitted(pause_after);
        chaos(&mut world, &events);
        let mut replayed = Operation::begin(world.operation.id, &world.events[0]).unwrap();
        for event in &world.events[1..] {
            replayed.apply(event).unwrap();
        }
        prop_assert_eq!(replayed, world.operation);
    }

    #[test]
    fn once_all_is_well_an_operator_who_resumes_gets_it_done(
        pause_after in pause_after(),
        events in proptest::collection::vec(event(), 1..160),
    ) {
        let mut world = admitted(pause_after);
        chaos(&mut world, &events);
        for _ in 0..30 {
            heal(&mut world);
            world.run();
            if !world.operation.is_ended() {
                world.resume();
            }
        }
        prop_assert!(world.operation.is_ended(), "{:?}", world.operation.state);
        let completed = matches!(
            world.operation.state,
            OperationState::Ended { end: OperationEnd::Completed }
        );
        let held = world.observations.values().any(|observed| {
            let pair = observed.known().unwrap().pair.known().unwrap().as_ref().unwrap();
            pair.local.ha != MemberHa::Serving
        });
        prop_assert!(!held, "ended with a node taken over");
        prop_assert!(!completed || world.operation.updated.len() == 4);
    }
}
