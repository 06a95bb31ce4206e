//! Orders that must not be carried out, and tasks that must not act.

use evenkeel_agent::{PackagesError, Side};
use evenkeel_interconnect::{AgentRequest, AgentResponse};
use evenkeel_model::*;

use crate::hardware::{Hardware, NEW, OLD, When, boot, image, name};
use crate::world::{FIRST, World, again, error, how, mirrored, order, transition};

fn reason(answer: AgentResponse) -> (String, Option<Generation>) {
    match answer {
        AgentResponse::Refused { reason, stale } => (reason, stale),
        other => panic!("{other:?}"),
    }
}

async fn introduce(world: &World, node: &str, generation: u64) -> AgentResponse {
    let generation = Generation(generation);
    let coordinator = name("a");
    world
        .ask(
            node,
            AgentRequest::Install {
                generation,
                coordinator,
            },
        )
        .await
}

#[tokio::test(start_paused = true)]
async fn a_stale_coordinator_commands_nobody() {
    let mut world = World::new();
    assert!(matches!(
        introduce(&world, "a", 5).await,
        AgentResponse::Journal { .. }
    ));
    let (_, stale) = reason(introduce(&world, "a", 4).await);
    assert_eq!(stale, Some(Generation(5)));
    let install = order(1, Action::Install { package: NEW });
    let (_, stale) = reason(world.start("a", &install).await);
    assert_eq!(stale, Some(Generation(5)));
    // Also after a restart.
    world.kill_daemon(&name("a"));
    world.start_daemon(&name("a"));
    let (_, stale) = reason(world.start("a", &install).await);
    assert_eq!(stale, Some(Generation(5)));
    assert_eq!(world.hardware.effects(), []);
}

#[tokio::test(start_paused = true)]
async fn orders_for_others_and_second_orders_are_refused() {
    let world = World::new();
    let install = order(1, Action::Install { package: NEW });
    let (why, _) = reason(world.start("b", &install).await);
    assert_eq!(why, "this order is for a, this is b");
    let mut judged = order(2, Action::VerifyHome { version: None });
    judged.task.executor = Executor::Agent(name("a"));
    assert!(
        reason(world.start("a", &judged).await)
            .0
            .contains("coordinator")
    );
    let mut own = order(3, Action::Takeover);
    own.task.executor = Executor::Agent(name("a"));
    assert!(reason(world.start("a", &own).await).0.contains("partner"));

    world.hardware.state().stuck = true;
    world.start("b", &order(4, Action::Takeover)).await;
    let (why, _) = reason(world.start("b", &mirrored(install)).await);
    assert_eq!(
        why,
        "this node works on do-failover-job of a (task 4, attempt 1)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_coordinator_learns_what_is_open_and_an_order_not_begun_is_dropped() {
    let mut world = World::new();
    let takeover = order(1, Action::Takeover);
    // Stopped before its last look at the generation.
    world.traps[&name("b")].arm(2, When::Before);
    world.start("b", &takeover).await;
    world.traps[&name("b")].sprung.notified().await;
    let answer = introduce(&world, "b", 2).await;
    let AgentResponse::Journal { reports } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].key, takeover.key);
    world.kill_daemon(&name("b"));
    world.start_daemon(&name("b"));
    let failed = error(world.ended("b", takeover.key).await);
    assert_eq!(failed.kind, TaskErrorKind::Transient, "{failed:?}");
    assert_eq!(world.hardware.effects(), []);
    for (node, side) in [("a", Side::Given), ("b", Side::Held)] {
        assert!(world.dbs[&name(node)].consents(side).unwrap().is_empty());
    }
    // The new coordinator's own attempt goes through.
    let mut next = again(&takeover);
    next.generation = Generation(2);
    how(world.run("b", &next).await);
}

/// Lets `spoil` change the world, orders the takeover, and sees that nothing was done or promised.
async fn takeover_fails(spoil: impl FnOnce(&World)) -> TaskError {
    let world = World::new();
    spoil(&world);
    let failed = error(world.run("b", &order(1, Action::Takeover)).await);
    assert_eq!(world.hardware.effects(), []);
    assert!(
        world.dbs[&name("a")]
            .consents(Side::Given)
            .unwrap()
            .is_empty(),
        "{failed:?}"
    );
    assert!(
        world.dbs[&name("b")]
            .consents(Side::Held)
            .unwrap()
            .is_empty(),
        "{failed:?}"
    );
    failed
}

type Spoil = Box<dyn FnOnce(&World)>;

fn change(spoil: impl FnOnce(&mut crate::hardware::State)) -> impl FnOnce(&World) {
    move |world: &World| spoil(&mut world.hardware.state())
}

#[tokio::test(start_paused = true)]
async fn a_takeover_does_not_begin_unless_everything_is_as_expected() {
    use TaskErrorKind::{Permanent, Transient};
    let veto = takeover_fails(change(|s| s.takeover_veto = Some("coredump".to_owned()))).await;
    assert_eq!(veto.kind, Permanent);
    assert_eq!(veto.message, "b does not take a over: coredump");
    let refusal = takeover_fails(change(|s| s.refuse_takeover = Some("locks".to_owned()))).await;
    assert_eq!(refusal.kind, Permanent);
    assert_eq!(refusal.message, "b does not take a over: locks");

    let cases: Vec<(TaskErrorKind, &str, Spoil)> = vec![
        (
            Permanent,
            "disabled",
            Box::new(change(|s| s.enabled = false)),
        ),
        (
            Transient,
            "booted",
            Box::new(change(|s| s.a.boot = boot(50))),
        ),
        (
            Transient,
            "both must serve",
            Box::new(change(|s| s.a.ha = MemberHa::Down)),
        ),
        (
            Transient,
            "both must serve",
            Box::new(change(|s| s.b.ha = MemberHa::WaitingForGiveback)),
        ),
        (
            Permanent,
            "its own pool",
            Box::new(change(|s| s.pools[2].owner = Some(name("a")))),
        ),
        (
            Permanent,
            "its own pool",
            Box::new(change(|s| s.pools[3].health = PoolHealth::Offline)),
        ),
        (
            Transient,
            "cannot see how its own pool",
            Box::new(change(|s| {
                (s.pools[3].health, s.pools[3].unseen) = (PoolHealth::Offline, true);
            })),
        ),
        (
            Transient,
            "cannot see the HA pair",
            Box::new(change(|s| s.blind = true)),
        ),
        (
            Transient,
            "does not consent",
            Box::new(|w: &World| w.network.detach(&name("a"))),
        ),
        (
            Permanent,
            "by hand or after a panic",
            Box::new(|w: &World| w.hardware.taken("a", "b", None)),
        ),
        (
            Permanent,
            "which is not of this task",
            Box::new(|w: &World| w.hardware.taken("a", "b", Some(transition(9)))),
        ),
    ];
    for (kind, words, spoil) in cases {
        let failed = takeover_fails(spoil).await;
        assert_eq!(failed.kind, kind, "{failed:?}");
        assert!(failed.message.contains(words), "{failed:?}");
        assert!(!failed.action.is_empty());
    }
}

/// Orders the giveback of a takeover, and sees that no pool moved.
async fn giveback_fails(spoil: impl FnOnce(&Hardware)) -> TaskError {
    let world = World::new();
    world.hardware.taken("a", "b", Some(transition(FIRST)));
    spoil(&world.hardware);
    let mut giveback = order(1, Action::Giveback);
    giveback.before = Before::default();
    let failed = error(world.run("b", &giveback).await);
    assert_eq!(world.hardware.effects(), []);
    failed
}

#[tokio::test(start_paused = true)]
async fn we_never_give_back_what_we_did_not_take_nor_against_a_veto() {
    let by_hand = giveback_fails(|h| h.state().transition.as_mut().unwrap().id = None).await;
    assert_eq!(by_hand.kind, TaskErrorKind::Permanent);
    assert!(by_hand.message.contains("by hand"), "{by_hand:?}");
    let none = giveback_fails(|h| h.state().transition = None).await;
    assert_eq!(none.kind, TaskErrorKind::Permanent);
    let veto = giveback_fails(|h| h.state().giveback_veto = Some("disk check".to_owned())).await;
    assert_eq!(veto.kind, TaskErrorKind::Permanent);
    assert!(veto.message.contains("disk check"), "{veto:?}");
    let down = giveback_fails(|h| h.state().a.ha = MemberHa::Down).await;
    assert_eq!(down.kind, TaskErrorKind::Transient);
    assert!(down.message.contains("waiting for giveback"), "{down:?}");
    let same_boot = giveback_fails(|h| h.state().a.boot = boot(1)).await;
    assert!(
        same_boot.message.contains("has not booted"),
        "{same_boot:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn slots_are_changed_only_as_expected() {
    let world = World::new();
    let mut install = order(1, Action::Install { package: NEW });
    install.before.node_boot = Some(boot(9));
    let failed = error(world.run("a", &install).await);
    assert_eq!(failed.kind, TaskErrorKind::Transient);

    world.hardware.state().a.slots.writable = false;
    let failed = error(
        world
            .run("a", &order(2, Action::Install { package: NEW }))
            .await,
    );
    assert_eq!(failed.kind, TaskErrorKind::Permanent);
    world.hardware.state().a.slots.writable = true;

    let pull = Err(PackagesError::Unavailable("nobody answers".to_owned()));
    (world.hardware.state().held, world.hardware.state().pull) = (vec![], pull);
    let failed = error(
        world
            .run("a", &order(3, Action::Install { package: NEW }))
            .await,
    );
    assert_eq!(failed.kind, TaskErrorKind::Transient);
    assert!(failed.message.contains("nobody answers"), "{failed:?}");

    let failed = error(
        world
            .run("a", &order(4, Action::Activate { package: NEW }))
            .await,
    );
    assert!(failed.message.contains("no whole image"), "{failed:?}");
    world.hardware.state().a.slots.b.image = Some(image(OLD));
    let failed = error(
        world
            .run("a", &order(5, Action::Activate { package: NEW }))
            .await,
    );
    assert!(
        failed.message.contains("holds version 1.0, not 2.0"),
        "{failed:?}"
    );

    let failed = error(world.run("a", &order(6, Action::MarkGood)).await);
    assert_eq!(failed.message, "a runs version 1.0, not 2.0");
    assert_eq!(world.hardware.effects(), []);
}
