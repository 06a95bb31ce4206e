//! The daemon is killed at every call that leaves it, before and after the call's effect, and comes up
//! again on the same database and hardware.

use evenkeel_model::*;

use crate::hardware::{Effect, When, name};
use crate::orders::{actions, check_goal, executor, order_for, ready};
use crate::world::{World, error, how};

/// Runs the action with a kill at that call. False: the action ended before it came to the call.
async fn killed_at(action: &Action, call: usize, when: When) -> bool {
    let mut world = World::new();
    ready(&world, action);
    let order = order_for(action);
    let node = executor(&order);
    world.traps[&name(node)].arm(call, when);
    world.start(node, &order).await;
    let sprung = {
        let trap = &world.traps[&name(node)];
        tokio::select! {
            () = trap.sprung.notified() => true,
            _ = world.ended(node, order.key) => false,
        }
    };
    if sprung {
        world.kill_daemon(&name(node));
        world.start_daemon(&name(node));
        let reached = how(world.ended(node, order.key).await);
        assert_ne!(
            reached,
            How::Completed,
            "{action:?} killed {when:?} call {call}"
        );
    }
    check_goal(&world, action);
    check_effects(&world, action, call, when);
    sprung
}

/// Nothing was done twice to harm: a repeated write into a slot that is marked unbootable is none.
fn check_effects(world: &World, action: &Action, call: usize, when: When) {
    let effects = world.hardware.effects();
    for (n, effect) in effects.iter().enumerate() {
        let once = !matches!(effect, Effect::Unbootable(_) | Effect::Install(_));
        let repeated = effects[..n].contains(effect);
        assert!(
            !(once && repeated),
            "{action:?} killed {when:?} call {call}: {effects:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_task_survives_a_kill_at_every_step() {
    for action in actions() {
        let mut kills = 0;
        for call in 0.. {
            let before = killed_at(&action, call, When::Before).await;
            let after = killed_at(&action, call, When::After).await;
            if !before && !after {
                break;
            }
            kills += 1;
        }
        assert!(kills >= 3, "{action:?} was killed {kills} times");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_outlives_too_many_restarts_is_given_up() {
    let mut world = World::new();
    let order = order_for(&Action::Takeover);
    world.traps[&name("b")].arm(0, When::Before);
    world.start("b", &order).await;
    for _ in 0..World::bounds().resumes {
        world.traps[&name("b")].sprung.notified().await;
        world.kill_daemon(&name("b"));
        world.traps[&name("b")].arm(0, When::Before);
        world.start_daemon(&name("b"));
    }
    world.traps[&name("b")].sprung.notified().await;
    world.kill_daemon(&name("b"));
    world.start_daemon(&name("b"));
    let failed = error(world.ended("b", order.key).await);
    assert_eq!(failed.kind, TaskErrorKind::Permanent);
    assert!(failed.message.contains("restarted 6 times"), "{failed:?}");
    assert_eq!(world.hardware.effects(), []);
}
