//! Whoever is killed while a cluster begins, or while a node joins: the same command again ends well.

use std::path::PathBuf;
use std::time::Duration;

use crate::field::{Field, Host, ask, init_body, join_body};

/// When a daemon is killed: as soon as a file is there, and so much later.
#[derive(Clone, Copy, Debug)]
struct Moment(&'static str, u64);

/// Everything that `init` makes, in its order, and what comes between.
const INIT: [Moment; 8] = [
    Moment("data", 0),
    Moment("data/pki.partial", 0),
    Moment("data/pki.partial/node.key", 0),
    Moment("data/pki.partial/ca.key", 0),
    Moment("data/pki.partial/node.pem", 0),
    Moment("data/pki.partial/founding.json", 0),
    Moment("data/pki.partial/founding.json", 3),
    Moment("data/pki", 0),
];

/// The same of `join`.
const JOIN: [Moment; 7] = [
    Moment("data/pki.partial/node.key", 0),
    Moment("data/pki.partial/node.key", 5),
    Moment("data/pki.partial/node.key", 15),
    Moment("data/pki.partial/ca.key", 0),
    Moment("data/pki.partial/node.pem", 0),
    Moment("data/pki.partial/joined.json", 0),
    Moment("data/pki", 0),
];

/// Asks in the background; returns when the moment has come. On a busy machine it may be over before it is seen: then it
/// is the last of all moments, when the folder has its place.
fn ask_until(host: &Host, call: &'static str, body: serde_json::Value, moment: Moment) {
    let socket = host.dir.join("data/local.sock");
    std::thread::spawn(move || ask(&socket, "POST", call, &body));
    let file: PathBuf = host.dir.join(moment.0);
    let place = host.dir.join("data/pki");
    for _ in 0..200_000 {
        if file.exists() || place.exists() {
            std::thread::sleep(Duration::from_millis(moment.1));
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!("{moment:?} did not come\n{}", host.log());
}

fn restart(host: &mut Host) {
    host.kill();
    host.start();
    host.shown();
}

#[test]
fn a_beginning_that_was_cut_off_goes_on() {
    for moment in INIT {
        let field = Field::new();
        let mut n1 = field.host("n1").up();
        ask_until(&n1, "/init", init_body(), moment);
        restart(&mut n1);
        let shown = n1.init();
        assert_eq!(shown["name"], "prod", "{moment:?}: {shown}");
        assert_eq!(
            shown["nodes"].as_array().unwrap().len(),
            1,
            "{moment:?}: {shown}"
        );
    }
}

#[test]
fn a_beginning_that_was_cut_off_goes_on_as_it_was_begun_and_not_otherwise() {
    let field = Field::new();
    let mut n1 = field.host("n1").up();
    n1.init();
    n1.kill();
    // As it is when the power went after the append.
    std::fs::rename(n1.dir.join("data/pki"), n1.dir.join("data/pki.partial")).unwrap();
    n1.start();
    n1.shown();
    for (what, other) in [("name", "other"), ("user", "somebody")] {
        let mut body = init_body();
        body[what] = other.into();
        let why = n1.refused("/init", &body);
        assert!(
            why.contains("\"prod\" already, with the user admin"),
            "{why}"
        );
        assert_eq!(n1.shown()["state"], "none");
    }
    n1.init();
    let mut body = init_body();
    body["user"] = "somebody".into();
    let why = n1.refused("/init", &body);
    assert!(why.contains("with the user admin"), "{why}");
}

#[test]
fn a_node_that_was_killed_while_it_joined_joins() {
    for moment in JOIN {
        let field = Field::new();
        let (n1, mut n2) = (field.host("n1").up(), field.host("n2").up());
        n1.init();
        let body = join_body(&n1.token(), None);
        ask_until(&n2, "/join", body.clone(), moment);
        restart(&mut n2);
        n2.must("/join", &body);
        n2.becomes("member");
        n1.sees(2);
        n2.sees(2);
    }
}

#[test]
fn a_member_that_was_killed_while_it_let_a_node_in_lets_it_in() {
    for later in [0, 5, 15, 40] {
        let field = Field::new();
        let (mut n1, n2) = (field.host("n1").up(), field.host("n2").up());
        n1.init();
        let body = join_body(&n1.token(), None);
        ask_until(
            &n2,
            "/join",
            body.clone(),
            Moment("data/pki.partial/node.key", later),
        );
        restart(&mut n1);
        n1.becomes("member");
        // The first try may still be waiting for its answer, or have got it: then this is the same again.
        n2.until("the way in", || {
            (n2.ask("POST", "/join", &body)?.0 == 200).then_some(())
        });
        n2.becomes("member");
        n1.sees(2);
        n2.sees(2);
    }
}
