//! Each task once, twice, and in an attempt that follows.

use std::time::Duration;

use evenkeel_agent::Side;
use evenkeel_interconnect::{AgentRequest, AgentResponse};
use evenkeel_model::*;

use crate::hardware::{Effect, NEW, Silence, image, name};
use crate::world::{FIRST, World, again, error, how, order, transition};

/// The world just before the action makes sense.
pub(crate) fn ready(world: &World, action: &Action) {
    let mut state = world.hardware.state();
    match action {
        Action::Activate { .. } | Action::Takeover => state.a.slots.b.image = Some(image(NEW)),
        Action::Deactivate => {
            state.a.slots.b.image = Some(image(NEW));
            state.a.slots.default = Slot::B;
        }
        Action::MarkGood => {
            let slots = &mut state.a.slots;
            slots.b.image = Some(image(NEW));
            slots.b.health = SlotHealth::Untried { tries: 2 };
            (slots.booted, slots.default) = (Slot::B, Slot::B);
        }
        Action::Giveback => {
            drop(state);
            world.hardware.taken("a", "b", Some(transition(FIRST)));
        }
        _ => {}
    }
}

pub(crate) fn actions() -> Vec<Action> {
    vec![
        Action::Install { package: NEW },
        Action::Activate { package: NEW },
        Action::Deactivate,
        Action::Takeover,
        Action::Giveback,
        Action::MarkGood,
    ]
}

pub(crate) fn order_for(action: &Action) -> TaskOrder {
    let mut order = order(1, action.clone());
    if *action == Action::Giveback {
        // `a` waits for giveback on its second boot.
        order.before = Before::default();
    }
    order
}

pub(crate) fn executor(order: &TaskOrder) -> &'static str {
    if order.task.executor == Executor::Agent(name("a")) {
        "a"
    } else {
        "b"
    }
}

pub(crate) fn check_goal(world: &World, action: &Action) {
    let state = world.hardware.state();
    let home = |node: &str| {
        state
            .pools
            .iter()
            .all(|p| p.home != name(node) || p.owner == Some(name(node)))
    };
    match action {
        Action::Install { .. } => assert_eq!(state.a.slots.b.image, Some(image(NEW))),
        Action::Activate { .. } => assert_eq!(state.a.slots.default, Slot::B),
        Action::Deactivate => assert_eq!(state.a.slots.default, Slot::A),
        Action::MarkGood => assert_eq!(state.a.slots.b.health, SlotHealth::Good),
        Action::Takeover => {
            let transition_now = state.transition.as_ref().unwrap();
            assert_eq!(transition_now.id, Some(transition(FIRST)));
            assert_eq!(transition_now.stage, TransitionStage::TakenOver);
            assert!(state.pools.iter().all(|p| p.owner == Some(name("b"))));
        }
        Action::Giveback => {
            assert!(home("a") && home("b"));
            assert!(
                state
                    .lifs
                    .iter()
                    .all(|l| l.current.as_ref() == Some(&l.home) || l.home == name("b"))
            );
            assert_eq!(
                state.transition.as_ref().unwrap().stage,
                TransitionStage::GivenBack
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_task_acts_once_however_often_it_is_ordered() {
    for action in actions() {
        let world = World::new();
        ready(&world, &action);
        let order = order_for(&action);
        let node = executor(&order);
        assert_eq!(
            how(world.run(node, &order).await),
            How::Completed,
            "{action:?}"
        );
        check_goal(&world, &action);
        let effects = world.hardware.effects();
        assert_eq!(
            how(world.run(node, &order).await),
            How::Completed,
            "the same order's report"
        );
        let next = again(&order);
        assert_eq!(
            how(world.run(node, &next).await),
            How::AlreadyDone,
            "{action:?}"
        );
        assert_eq!(world.hardware.effects(), effects, "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_root_pool_goes_home_first_and_the_consent_ends_with_the_giveback() {
    let world = World::new();
    how(world.run("b", &order(1, Action::Takeover)).await);
    let given = |node| world.dbs[&name(node)].consents(Side::Given).unwrap();
    assert_eq!(given("a").len(), 1);
    let mut giveback = order(2, Action::Giveback);
    giveback.before = Before::default();
    world.hardware.state().step_until_waiting();
    assert_eq!(how(world.run("b", &giveback).await), How::Completed);
    let given_back: Vec<_> = world.hardware.effects().split_off(1);
    let pool = |n| Effect::GiveBack(PoolName::new(n).unwrap());
    let lif = Effect::SendHome(LifName::new("lif_a").unwrap());
    assert_eq!(given_back, [pool("root_a"), pool("data_a"), lif]);
    assert!(given("a").is_empty());
    assert!(
        world.dbs[&name("b")]
            .consents(Side::Held)
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_without_pools_is_given_back_too() {
    let world = World::new();
    let mine = |pool: &PoolState| pool.home == name("a");
    world.hardware.state().pools.retain(|pool| !mine(pool));
    how(world.run("b", &order(1, Action::Takeover)).await);
    let mut giveback = order(2, Action::Giveback);
    giveback.before = Before::default();
    world.hardware.state().step_until_waiting();
    assert_eq!(how(world.run("b", &giveback).await), How::Completed);
    let given_back: Vec<_> = world.hardware.effects().split_off(1);
    let lif = Effect::SendHome(LifName::new("lif_a").unwrap());
    assert_eq!(given_back, [Effect::EndTakeover, lif]);
}

#[tokio::test(start_paused = true)]
async fn pools_go_home_though_nobody_knows_how_they_are() {
    let world = World::new();
    world.hardware.taken("a", "b", Some(transition(FIRST)));
    for pool in &mut world.hardware.state().pools {
        (pool.health, pool.unseen) = (PoolHealth::Offline, true);
    }
    let mut giveback = order(1, Action::Giveback);
    giveback.before = Before::default();
    assert_eq!(how(world.run("b", &giveback).await), How::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_package_that_is_not_here_is_pulled_first() {
    let world = World::new();
    world.hardware.state().held.clear();
    how(world
        .run("a", &order(1, Action::Install { package: NEW }))
        .await);
    assert_eq!(world.hardware.state().held, [NEW]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_acts_but_does_not_answer_is_observed() {
    for action in [Action::Takeover, Action::Giveback] {
        let world = World::new();
        ready(&world, &action);
        world.hardware.state().silent = vec![Silence::Acts];
        let order = order_for(&action);
        how(world.run("b", &order).await);
        check_goal(&world, &action);
        let takeovers = world.hardware.effects();
        assert!(
            takeovers
                .iter()
                .filter(|e| matches!(e, Effect::TakeOver(_)))
                .count()
                <= 1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_deaf_for_a_while_is_asked_again_but_not_for_ever() {
    for action in [Action::Takeover, Action::Giveback] {
        let world = World::new();
        ready(&world, &action);
        let order = order_for(&action);
        world.hardware.state().silent = vec![Silence::Ignores; 50];
        let failed = error(world.run("b", &order).await);
        assert_eq!(failed.kind, TaskErrorKind::Transient, "{failed:?}");
        world.hardware.state().silent = vec![Silence::Ignores; 2];
        how(world.run("b", &again(&order)).await);
        check_goal(&world, &action);
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_stands_still_ends_with_a_reason() {
    let world = World::new();
    world.hardware.state().stuck = true;
    let failed = error(world.run("b", &order(1, Action::Takeover)).await);
    assert_eq!(failed.kind, TaskErrorKind::Permanent);
    assert!(failed.message.contains("stood still for 30s"), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_engine_is_gone_in_mid_takeover_says_so_and_ends_with_that_reason() {
    let world = World::new();
    let takeover = order(1, Action::Takeover);
    world.hardware.state().stuck = true;
    world.start("b", &takeover).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let unseen = "b cannot see the HA pair: ";
    for (is_blind, begins) in [
        (true, format!("the takeover of a: {unseen}")),
        (
            false,
            "taking over a: no disk; pools on this node".to_owned(),
        ),
        (true, format!("the takeover of a: {unseen}")),
    ] {
        {
            let mut state = world.hardware.state();
            state.blind = is_blind;
            state.transition.as_mut().unwrap().trouble = Some("no disk".to_owned());
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let said = progress(&world, takeover.key).await.text;
        assert!(said.starts_with(&begins), "{said}");
    }
    let failed = error(world.ended("b", takeover.key).await);
    let begins = format!("the takeover of a has stood still for 30s: {unseen}");
    assert!(
        failed.message.starts_with(&begins) && failed.message.ends_with("; seen before: no disk"),
        "{failed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_engine_is_gone_while_its_partner_is_to_serve_says_so() {
    let world = World::new();
    ready(&world, &Action::Giveback);
    let giveback = order_for(&Action::Giveback);
    {
        let mut state = world.hardware.state();
        state.transition.as_mut().unwrap().stage = TransitionStage::GivingBack;
        let home = |pool: &mut PoolState| pool.owner = Some(pool.home.clone());
        state.pools.iter_mut().for_each(home);
        state.stuck = true;
    }
    world.start("b", &giveback).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let said = progress(&world, giveback.key).await.text;
    assert_eq!(said, "waiting for a to serve");
    world.hardware.state().blind = true;
    let failed = error(world.ended("b", giveback.key).await);
    let begins = "the giveback to a has stood still for 30s: b cannot see the HA pair: ";
    assert!(failed.message.starts_with(begins), "{failed:?}");
}

/// The coordinator shows operators how long it waits: the agent does not give up before, nor long after.
#[tokio::test(start_paused = true)]
async fn what_stands_still_is_given_up_when_the_order_says() {
    let world = World::new();
    world.hardware.state().stuck = true;
    let mut order = order(1, Action::Takeover);
    order.no_progress_ms = Some(300_000);
    let begin = tokio::time::Instant::now();
    let failed = error(world.run("b", &order).await);
    let waited = begin.elapsed().as_secs();
    assert!((300..305).contains(&waited), "{waited} s");
    assert!(
        failed.message.contains("stood still for 300s"),
        "{failed:?}"
    );
}

/// A coordinator of an older release does not say how long; an agent of an older release does not ask.
#[test]
fn orders_are_read_with_and_without_their_bound() {
    let mut order = order(1, Action::Takeover);
    let without = serde_json::to_value(&order).unwrap();
    assert_eq!(without.get("no_progress_ms"), None);
    assert_eq!(serde_json::from_value::<TaskOrder>(without).unwrap(), order);
    order.no_progress_ms = Some(5);
    let with = serde_json::to_string(&order).unwrap();
    assert_eq!(serde_json::from_str::<TaskOrder>(&with).unwrap(), order);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_the_engine_breaks_off_can_be_tried_again() {
    let world = World::new();
    let takeover = order(1, Action::Takeover);
    world.hardware.state().stuck = true;
    world.start("b", &takeover).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.hardware.state().transition = None;
    let failed = error(world.ended("b", takeover.key).await);
    assert_eq!(failed.kind, TaskErrorKind::Transient);
    assert!(
        failed.message.contains("broke the takeover of a off"),
        "{failed:?}"
    );
    assert!(
        world.dbs[&name("a")]
            .consents(Side::Given)
            .unwrap()
            .is_empty()
    );
    world.hardware.state().stuck = false;
    how(world.run("b", &again(&takeover)).await);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_the_engine_undoes_says_why_once_the_node_serves_again() {
    let world = World::new();
    let takeover = order(1, Action::Takeover);
    world.hardware.state().stuck = true;
    world.start("b", &takeover).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let reach = |stage| {
        let mut state = world.hardware.state();
        state.a.ha = MemberHa::Booting;
        let transition = state.transition.as_mut().unwrap();
        transition.stage = stage;
        transition.trouble = Some("no disk".to_owned());
    };
    for stage in [
        TransitionStage::TakingOver,
        TransitionStage::TakenOver,
        TransitionStage::GivingBack,
    ] {
        reach(stage);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let said = progress(&world, takeover.key).await.text;
        let begins = match stage {
            TransitionStage::GivingBack => "the HA engine undoes the takeover of a",
            _ => "taking over a",
        };
        assert_eq!(said, format!("{begins}: no disk; pools on this node"));
    }
    reach(TransitionStage::GivenBack);
    let failed = error(world.ended("b", takeover.key).await);
    assert_eq!(failed.kind, TaskErrorKind::Permanent);
    assert_eq!(
        failed.message,
        "the HA engine has undone the takeover of a: no disk"
    );
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_the_engine_cannot_undo_wholly_ends_with_a_reason() {
    let world = World::new();
    let takeover = order(1, Action::Takeover);
    world.hardware.state().stuck = true;
    world.start("b", &takeover).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    {
        let mut state = world.hardware.state();
        let transition = state.transition.as_mut().unwrap();
        transition.stage = TransitionStage::GivingBack;
        transition.trouble = Some("no disk".to_owned());
    }
    let failed = error(world.ended("b", takeover.key).await);
    assert_eq!(
        failed.message,
        "the HA engine has undone the takeover of a, and not everything is home: no disk"
    );
}

/// The engine gives back by itself what it has taken back: the giveback ends that, whatever boot the node is in.
#[tokio::test(start_paused = true)]
async fn a_giveback_that_the_engine_has_begun_in_the_old_boot_is_ended() {
    let world = World::new();
    ready(&world, &Action::Giveback);
    let same_boot = |stage| {
        let mut state = world.hardware.state();
        let boot = state.a.boot;
        let transition = state.transition.as_mut().unwrap();
        (transition.boot_before, transition.stage) = (Some(boot), stage);
    };
    same_boot(TransitionStage::TakenOver);
    let giveback = order_for(&Action::Giveback);
    let failed = error(world.run("b", &giveback).await);
    assert_eq!(failed.message, "a has not booted since it was taken over");
    same_boot(TransitionStage::GivingBack);
    how(world.run("b", &again(&giveback)).await);
    check_goal(&world, &Action::Giveback);
}

/// What `b` reports of an order that runs.
async fn progress(world: &World, key: TaskKey) -> Progress {
    let answer = world.ask("b", AgentRequest::Reports { keys: vec![key] });
    let answer = answer.await;
    let AgentResponse::Journal { reports } = answer else {
        panic!("{answer:?}")
    };
    let ReportState::Running { progress } = &reports[0].state else {
        panic!("{reports:?}")
    };
    progress.clone()
}

#[tokio::test(start_paused = true)]
async fn progress_is_in_the_report_of_an_order_that_runs() {
    let world = World::new();
    world.hardware.state().stuck = true;
    let takeover = order(1, Action::Takeover);
    world.start("b", &takeover).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let progress = progress(&world, takeover.key).await;
    assert_eq!(progress.text, "taking over a: pools on this node");
    assert_eq!(progress.done, 2);
}
