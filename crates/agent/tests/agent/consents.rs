//! The pair's last guard.

use std::time::Duration;

use evenkeel_agent::Side;
use evenkeel_interconnect::{
    AgentClient, AgentRequest, AgentResponse, ConsentRequest, LocalNetwork, Loss,
};
use evenkeel_model::*;

use crate::hardware::{Effect, NEW, When, boot, name};
use crate::world::{FIRST, World, again, error, how, mirrored, order, transition};

fn takeovers(world: &World) -> usize {
    let effects = world.hardware.effects();
    effects
        .iter()
        .filter(|e| matches!(e, Effect::TakeOver(_)))
        .count()
}

fn given(world: &World, node: &str) -> usize {
    world.dbs[&name(node)].consents(Side::Given).unwrap().len()
}

fn request(order: &TaskOrder) -> ConsentRequest {
    ConsentRequest {
        transition: order.transition.unwrap(),
        key: order.key,
        generation: order.generation,
        by: order.partner.clone().unwrap(),
        by_boot: order.before.partner_boot.unwrap(),
        node_boot: order.before.node_boot.unwrap(),
    }
}

async fn ask_consent(network: &LocalNetwork, by: &str, request: &ConsentRequest) -> AgentResponse {
    let of = name(if by == "a" { "b" } else { "a" });
    let ask = AgentRequest::Consent {
        request: request.clone(),
    };
    network.client(name(by)).call(&of, ask).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn of_takeovers_in_both_directions_at_most_one_proceeds() {
    let delays = [0, 1, 3, 7, 30];
    let each = || delays.iter().copied();
    let cases = each().flat_map(|a| each().flat_map(move |b| each().map(move |c| (a, b, c))));
    for (there_ms, back_ms, head_start_ms) in cases {
        let world = World::new();
        world.hardware.state().latency = Duration::from_millis(2);
        let path = |delay_ms| Link {
            cut: false,
            delay_ms,
        };
        world
            .network
            .set_path(&name("a"), &name("b"), path(there_ms));
        world
            .network
            .set_path(&name("b"), &name("a"), path(back_ms));
        let of_a = order(1, Action::Takeover);
        let mut of_b = mirrored(of_a.clone());
        of_b.key.task = TaskId(2);
        let second = async {
            tokio::time::sleep(Duration::from_millis(head_start_ms)).await;
            world.start("a", &of_b).await
        };
        tokio::join!(world.start("b", &of_a), second);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(
            takeovers(&world) <= 1,
            "{there_ms} {back_ms} {head_start_ms}"
        );
        if takeovers(&world) == 0 {
            // Both gave way: nothing is left in the way of the next attempt.
            how(world.run("b", &again(&of_a)).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn consent_is_given_only_to_the_partner_for_what_is_so() {
    let world = World::new();
    let fit = request(&order(1, Action::Takeover));
    let spoiled = |spoil: fn(&mut ConsentRequest)| {
        let mut request = fit.clone();
        spoil(&mut request);
        request
    };
    for unfit in [
        spoiled(|r| r.node_boot = boot(8)),
        spoiled(|r| r.by_boot = boot(8)),
        spoiled(|r| r.by = name("c")),
    ] {
        let answer = ask_consent(&world.network, "b", &unfit).await;
        assert!(
            matches!(answer, AgentResponse::Refused { stale: None, .. }),
            "{answer:?}"
        );
    }
    let generation = Generation(3);
    world
        .ask(
            "a",
            AgentRequest::Install {
                generation,
                coordinator: name("b"),
            },
        )
        .await;
    let answer = ask_consent(&world.network, "b", &fit).await;
    assert!(
        matches!(
            answer,
            AgentResponse::Refused {
                stale: Some(Generation(3)),
                ..
            }
        ),
        "{answer:?}"
    );
    world.hardware.state().a.ha = MemberHa::WaitingForGiveback;
    let newer = spoiled(|r| r.generation = Generation(3));
    let answer = ask_consent(&world.network, "b", &newer).await;
    assert!(
        matches!(answer, AgentResponse::Refused { stale: None, .. }),
        "{answer:?}"
    );
    assert_eq!(given(&world, "a"), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_consented_starts_nothing_until_released() {
    let mut world = World::new();
    let takeover = order(1, Action::Takeover);
    // `b` has `a`'s consent and is stopped before it acts.
    world.traps[&name("b")].arm(5, When::Before);
    world.start("b", &takeover).await;
    world.traps[&name("b")].sprung.notified().await;
    assert_eq!((given(&world, "a"), takeovers(&world)), (1, 0));

    let mut against = mirrored(order(2, Action::Takeover));
    against.key.task = TaskId(3);
    for refused in [order(2, Action::Install { package: NEW }), against] {
        let answer = world.start("a", &refused).await;
        let AgentResponse::Refused { reason, .. } = answer else {
            panic!("{answer:?}")
        };
        assert!(
            reason.contains("has consented to be taken over by b"),
            "{reason}"
        );
    }
    // The promise outlives the daemon that gave it.
    world.kill_daemon(&name("a"));
    world.start_daemon(&name("a"));
    assert_eq!(given(&world, "a"), 1);
    let transition = transition(FIRST);
    let release = AgentRequest::Release {
        transition,
        generation: Generation(1),
    };
    let by = world.network.client(name("b"));
    assert_eq!(by.call(&name("a"), release).await, Ok(AgentResponse::Ok));
    let install = order(2, Action::Install { package: NEW });
    how(world.run("a", &install).await);
}

#[tokio::test(start_paused = true)]
async fn an_orphaned_consent_ends_by_observation_but_one_in_use_does_not() {
    let mut world = World::new();
    let takeover = order(1, Action::Takeover);
    world.traps[&name("b")].arm(5, When::Before);
    world.start("b", &takeover).await;
    world.traps[&name("b")].sprung.notified().await;

    // A new coordinator at `a` cannot end it while `b` may still act.
    let generation = Generation(2);
    let coordinator = name("a");
    world
        .ask(
            "a",
            AgentRequest::Install {
                generation,
                coordinator,
            },
        )
        .await;
    let release = AgentRequest::Release {
        transition: transition(FIRST),
        generation,
    };
    let answer = world.ask("a", release.clone()).await;
    assert!(
        matches!(answer, AgentResponse::Refused { .. }),
        "{answer:?}"
    );
    // Nor while it cannot be known whether `b` may.
    world.kill_daemon(&name("b"));
    let answer = world.ask("a", release.clone()).await;
    assert!(
        matches!(answer, AgentResponse::Refused { .. }),
        "{answer:?}"
    );
    assert_eq!(given(&world, "a"), 1);

    // `b`'s journal is gone: nothing will come of the order.
    world.lose_db("b");
    world.start_daemon(&name("b"));
    let mut install = order(2, Action::Install { package: NEW });
    install.generation = generation;
    how(world.run("a", &install).await);
    assert_eq!(given(&world, "a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_consent_ends_with_the_boot_that_it_names() {
    let mut world = World::new();
    ask_consent(&world.network, "b", &request(&order(1, Action::Takeover))).await;
    assert_eq!(given(&world, "a"), 1);
    world.kill_daemon(&name("b"));
    world.hardware.state().b.boot = boot(77);
    world.agent("a").guard();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(given(&world, "a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_costs_an_attempt_and_leaves_no_promise() {
    let world = World::new();
    let takeover = order(1, Action::Takeover);
    let loss = Loss {
        requests: 0,
        answers: 1,
    };
    world.network.lose(&name("b"), &name("a"), loss);
    let failed = error(world.run("b", &takeover).await);
    assert_eq!(failed.kind, TaskErrorKind::Transient);
    assert_eq!((given(&world, "a"), takeovers(&world)), (0, 0));
    how(world.run("b", &again(&takeover)).await);
}

#[tokio::test(start_paused = true)]
async fn a_lost_release_is_made_good_by_observation() {
    let world = World::new();
    how(world.run("b", &order(1, Action::Takeover)).await);
    let mut giveback = order(2, Action::Giveback);
    giveback.before = Before::default();
    world.hardware.state().step_until_waiting();
    let loss = Loss {
        requests: 1,
        answers: 0,
    };
    world.network.lose(&name("b"), &name("a"), loss);
    how(world.run("b", &giveback).await);
    assert_eq!(given(&world, "a"), 1);
    let mut install = order(3, Action::Install { package: NEW });
    install.before = Before::default();
    how(world.run("a", &install).await);
    assert_eq!(given(&world, "a"), 0);
}
