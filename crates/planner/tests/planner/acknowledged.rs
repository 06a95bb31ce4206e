//! Acknowledged warnings do not block, and stay in sight.

use std::collections::BTreeSet;

use evenkeel_model::*;

use crate::world::*;

const ALERTS: &str = "Platform Health Monitor check";
const NFS: &str = "NFS mounts";

fn alert(world: &mut World, node: &str, text: &str) {
    let text = text.to_owned();
    world.override_node(node, |seen| match &mut seen.alerts {
        Observed::Known { value, .. } => value.push(text),
        Observed::Unknown { .. } => panic!("unknown"),
    });
}

/// The newest findings, after one more step of a validation or an update.
fn validated(world: &mut World) -> Vec<Finding> {
    let decision = world.decide();
    world.append(decision.events);
    world.operation.findings.clone().unwrap()
}

fn acknowledge(world: &mut World, check: &str, about: &BTreeSet<String>) {
    let event = ControlEvent::WarningAcknowledged {
        at: wall(),
        by: user(),
        check: check.to_owned(),
        reason: "a spare fan is ordered".to_owned(),
        about: about.clone(),
    };
    world.control.apply(&event).unwrap();
}

fn again(world: &World) -> World {
    let mut next = World::update();
    next.observations.clone_from(&world.observations);
    next.control.clone_from(&world.control);
    next
}

fn refusal(world: &mut World) -> Option<String> {
    let decision = world.decide();
    world.append(decision.events);
    match &world.operation.state {
        OperationState::Ended {
            end: OperationEnd::Failed { code, message },
            ..
        } => {
            assert_eq!(*code, code::VALIDATION_WARNINGS);
            Some(message.clone())
        }
        _ => None,
    }
}

#[test]
fn a_warning_that_is_acknowledged_stays_in_sight_and_lets_the_update_go_on() {
    let mut world = World::update();
    alert(&mut world, "n2", "fan 2 has failed");
    let found = validated(&mut world);
    let refused = refusal(&mut world).expect("an unacknowledged warning blocks");
    let command = format!("evenkeel image acknowledge \"{ALERTS}\" --reason");
    assert!(refused.contains(&command), "{refused}");

    acknowledge(&mut world, ALERTS, &found[0].about);
    let mut world = again(&world);
    let found = validated(&mut world);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
    let by = found[0].acknowledged.as_ref().unwrap();
    assert_eq!(
        (&by.by, by.reason.as_str()),
        (&user(), "a spare fan is ordered")
    );
    let said = "Acknowledged by admin at 2023-11-14T22:13:20Z: a spare fan is ordered.";
    assert!(found[0].action.contains(said), "{}", found[0].action);
    assert_eq!(refusal(&mut world), None);
}

#[test]
fn it_holds_for_less_and_blocks_again_for_more() {
    let mut world = World::update();
    alert(&mut world, "n2", "fan 2 has failed");
    alert(&mut world, "n4", "fan 1 has failed");
    let about = validated(&mut world)[0].about.clone();
    acknowledge(&mut world, ALERTS, &about);

    let mut less = World::update();
    less.control.clone_from(&world.control);
    alert(&mut less, "n4", "fan 1 has failed");
    validated(&mut less);
    assert_eq!(refusal(&mut less), None);

    let mut more = again(&world);
    alert(&mut more, "n3", "a battery is weak");
    let found = validated(&mut more);
    assert_eq!(found[0].acknowledged, None);
    let said = "changed since it was acknowledged by admin";
    assert!(found[0].issue.contains(said), "{}", found[0].issue);
    assert!(found[0].issue.ends_with("new is n3 a battery is weak."));
    assert!(refusal(&mut more).is_some());
}

#[test]
fn other_warnings_and_errors_are_not_covered() {
    let mut world = World::update();
    alert(&mut world, "n2", "fan 2 has failed");
    let about = validated(&mut world)[0].about.clone();
    acknowledge(&mut world, ALERTS, &about);
    let mut other = again(&world);
    other.override_node("n1", |seen| {
        seen.client_hazards = known(vec!["a soft mount".to_owned()])
    });
    validated(&mut other);
    let refused = refusal(&mut other).unwrap();
    assert!(
        refused.contains(NFS) && !refused.contains(ALERTS),
        "{refused}"
    );

    let mut blind = again(&world);
    blind.override_node("n1", |seen| seen.alerts = unknown());
    let found = validated(&mut blind);
    let error = found
        .iter()
        .find(|f| f.severity == Severity::Error)
        .unwrap();
    assert_eq!(error.acknowledged, None);

    let event = ControlEvent::AcknowledgementWithdrawn {
        at: wall(),
        by: user(),
        check: ALERTS.to_owned(),
    };
    world.control.apply(&event).unwrap();
    let mut world = again(&world);
    assert_eq!(validated(&mut world)[0].acknowledged, None);
    assert!(refusal(&mut world).is_some());
}
