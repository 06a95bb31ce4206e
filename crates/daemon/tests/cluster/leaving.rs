//! Nodes leave, and machines are replaced: what is left of them is heard by nobody.

use evenkeel_model::MemberHa;
use evenkeel_platform::sim::Fault;
use serde_json::json;

use crate::field::{Field, join_body, name};
use crate::{pair, rest_status};

fn power(field: &Field, node: &str, off: bool) {
    let set = field
        .machine
        .with(|hardware, now| hardware.set_fault(&name(node), Fault::PowerOff, off, now));
    set.unwrap().unwrap();
}

#[test]
fn a_node_is_removed_when_it_serves_nothing_and_notices() {
    let field = Field::new();
    let (n1, n2) = pair(&field);
    let why = n1.refused("/remove", &json!({ "nodes": ["n2"] }));
    assert!(why.contains("it serves"), "{why}");
    let why = n1.refused("/remove", &json!({ "nodes": ["n1"] }));
    assert!(why.contains("does not remove itself"), "{why}");
    let why = n1.refused("/remove", &json!({ "nodes": ["n9"] }));
    assert!(why.contains("no node n9"), "{why}");
    let taken = field
        .machine
        .with(|hardware, now| hardware.take_over_by_hand(&name("n2"), now));
    taken.unwrap().unwrap().unwrap();
    n1.until("the takeover", || {
        (field.ha("n2") == Some(MemberHa::WaitingForGiveback)).then_some(())
    });
    n1.must("/remove", &json!({ "nodes": ["n2"] }));
    n1.sees(1);
    let removed = n2.becomes("removed");
    assert!(
        removed["advice"].as_str().unwrap().contains("was removed"),
        "{removed}"
    );
    assert_eq!(rest_status(&n2), 503);
    assert_eq!(n2.waits_by("boot-good").0, Some(0));
    assert!(
        n2.log().contains("was removed from its cluster"),
        "{}",
        n2.log()
    );
    let why = n2.refused("/token", &json!({}));
    assert!(why.contains("none of the cluster's"), "{why}");
    n1.until("the REST API", || (rest_status(&n1) == 200).then_some(()));
}

#[test]
fn the_coordinator_stays_until_another_node_coordinates() {
    let field = Field::new();
    let (mut n1, n2) = pair(&field);
    let taken = field
        .machine
        .with(|hardware, now| hardware.take_over_by_hand(&name("n1"), now));
    taken.unwrap().unwrap().unwrap();
    n2.until("the takeover", || {
        (field.ha("n1") == Some(MemberHa::WaitingForGiveback)).then_some(())
    });
    let remove = json!({ "nodes": ["n1"] });
    let why = n2.refused("/remove", &remove);
    assert!(why.contains("n1 is the coordinator"), "{why}");
    n1.kill();
    n2.until("its election", || {
        n2.log().contains("elected coordinator").then_some(())
    });
    // Its daemon is silent, and the machine may be alive: somebody must have looked.
    let why = n2.refused("/remove", &remove);
    assert!(why.contains("--yes-it-is-gone"), "{why}");
    n2.must("/remove", &json!({ "nodes": ["n1"], "is_gone": true }));
    n2.sees(1);
    n1.start();
    n1.becomes("removed");
}

#[test]
fn another_machine_takes_the_place_of_a_broken_one() {
    let field = Field::new();
    let (n1, mut old) = pair(&field);
    let replace = json!({ "node": "n2", "replaces": true });
    let why = n1.refused("/token", &replace);
    assert!(why.contains("n2 answers"), "{why}");
    old.kill();
    let why = n1.refused("/token", &replace);
    assert!(why.contains("--yes-it-is-gone"), "{why}");
    power(&field, "n2", true);
    let made = n1.until("proof that it is gone", || {
        let (status, made) = n1.ask("POST", "/token", &replace)?;
        (status == 200).then_some(made)
    });
    let token = made["token"].as_str().unwrap();
    power(&field, "n2", false);
    let new = field.host_in("n2", "n2-new").up();
    new.must("/join", &join_body(token, None));
    new.becomes("member");
    n1.sees(2);
    new.sees(2);
    // The old machine comes back.
    old.start();
    old.becomes("replaced");
    assert_eq!(rest_status(&old), 503);
    let why = old.refused("/token", &json!({}));
    assert!(why.contains("taken this node's place"), "{why}");
    let why = old.refused("/remove", &json!({ "nodes": ["n1"] }));
    assert!(why.contains("taken this node's place"), "{why}");
    assert!(
        old.log().contains("taken this node's place"),
        "{}",
        old.log()
    );
    // With everybody else gone, it does not coordinate.
    drop((n1, new));
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert!(!old.log().contains("elected coordinator"), "{}", old.log());
}
