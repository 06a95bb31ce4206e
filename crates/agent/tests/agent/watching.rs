//! Observation, and what a node does by itself.

use std::time::Duration;

use evenkeel_interconnect::{AgentRequest, AgentResponse, Look};
use evenkeel_model::*;

use crate::hardware::{Effect, OLD, name};
use crate::world::{FIRST, World, transition};

async fn observe(world: &World, node: &str) -> NodeObservation {
    match world
        .ask(node, AgentRequest::Observe { look: Look::Around })
        .await
    {
        AgentResponse::Observation { observation } => *observation,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_look_fails_by_itself_and_dates_its_ignorance() {
    let world = World::new();
    let first = observe(&world, "a").await;
    assert_eq!(first.version.known().unwrap().as_str(), "1.0");
    assert_eq!(
        first.pair.known().unwrap().as_ref().unwrap().partner.node,
        name("b")
    );
    assert!(first.packages.known().unwrap().contains(&OLD));
    assert!(first.quorum.known().unwrap().silent.is_empty());
    // A look that hangs is bounded; one that fails says so.
    assert_eq!(
        first.disks.as_result(),
        Err("unavailable: no answer within 5s")
    );
    let Observed::Unknown {
        since: first_since, ..
    } = first.time_sync
    else {
        panic!()
    };

    world.hardware.state().a.slots.a.image = None;
    world.network.detach(&name("b"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let second = observe(&world, "a").await;
    let Observed::Unknown { since, .. } = second.time_sync else {
        panic!()
    };
    assert_eq!(
        since, first_since,
        "unknown since the first failure in a row"
    );
    assert!(
        second
            .version
            .as_result()
            .unwrap_err()
            .contains("no readable manifest")
    );
    assert_eq!(second.quorum.known().unwrap().silent, [name("b")]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_may_not_serve_alone_says_why_and_asks_on() {
    let world = World::new();
    world.hardware.taken("a", "b", Some(transition(FIRST)));
    world.network.detach(&name("b"));
    world.hardware.state().b.ha = MemberHa::Fenced;
    world.hardware.state().refuse_alone = Some("somebody's standby".to_owned());
    world.agent("a").guard();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.hardware.effects(), []);
    let alerts = observe(&world, "a").await.alerts;
    let [alert] = alerts.known().unwrap().as_slice() else {
        panic!("{alerts:?}")
    };
    assert!(
        alert.contains("serves alone if it can: the HA engine: refused: somebody's standby"),
        "{alert}"
    );
    world.hardware.state().refuse_alone = None;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.hardware.effects(), [Effect::ServeAlone(name("a"))]);
}

#[tokio::test(start_paused = true)]
async fn a_node_serves_alone_only_when_its_partner_is_proven_dead() {
    let world = World::new();
    world.hardware.taken("a", "b", Some(transition(FIRST)));
    world.network.detach(&name("b"));
    world.hardware.state().b.ha = MemberHa::Down;
    world.agent("a").guard();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.hardware.effects(), []);

    world.hardware.state().b.ha = MemberHa::Fenced;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.hardware.effects(), [Effect::ServeAlone(name("a"))]);
    let alerts = observe(&world, "a").await.alerts;
    let [alert] = alerts.known().unwrap().as_slice() else {
        panic!("{alerts:?}")
    };
    assert!(
        alert.contains("b was fenced") && alert.contains("serves alone"),
        "{alert}"
    );

    world.hardware.state().b.ha = MemberHa::Serving;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(
        observe(&world, "a")
            .await
            .alerts
            .known()
            .unwrap()
            .is_empty()
    );
}
