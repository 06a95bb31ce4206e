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
    let mut body = init_body();
    body["password"] = "another horse".into();
    let why = n1.refused("/init", &body);
    assert!(why.contains("with another password for admin"), "{why}");
    n1.must("/init", &init_body());
}

#[test]
fn of_two_who_begin_at_once_one_is_told_that_its_password_does_not_count() {
    let field = Field::new();
    let n1 = field.host("n1").up();
    let mut other = init_body();
    other["password"] = "another horse".into();
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(|| n1.ask("POST", "/init", &other));
        (n1.ask("POST", "/init", &init_body()), other.join().unwrap())
    });
    let succeeded = |answer: &Option<(u16, serde_json::Value)>| {
        answer.as_ref().is_some_and(|(status, _)| *status == 200)
    };
    assert!(succeeded(&one) != succeeded(&two), "{one:?} {two:?}");
    n1.becomes("member");
}

#[test]
fn who_may_have_begun_a_cluster_joins_none_and_keeps_its_ca_while_the_record_cannot_be_read() {
    let field = Field::new();
    let mut n1 = field.host("n1").up();
    n1.init();
    let token = n1.token();
    n1.kill();
    let partial = n1.dir.join("data/pki.partial");
    std::fs::rename(n1.dir.join("data/pki"), &partial).unwrap();
    let key = std::fs::read(partial.join("ca.key")).unwrap();
    let record = field.dir.join("record");
    let away = field.dir.join("away");
    std::fs::rename(&record, &away).unwrap();
    n1.start();
    n1.shown();
    let why = n1.refused("/join", &join_body(&token, None));
    assert!(why.contains("may have begun the cluster \"prod\""), "{why}");
    assert_eq!(std::fs::read(partial.join("ca.key")).unwrap(), key);
    n1.kill();
    let _ = std::fs::remove_dir_all(&record);
    std::fs::rename(&away, &record).unwrap();
    restart(&mut n1);
    n1.init();
    assert_eq!(std::fs::read(n1.pki("ca.key")).unwrap(), key);
}

#[test]
fn a_cluster_begins_with_a_ca_of_its_own_where_a_join_was_cut_off() {
    let field = Field::new();
    let n1 = field.host("n1").up();
    let partial = n1.dir.join("data/pki.partial");
    std::fs::create_dir_all(&partial).unwrap();
    let files = (partial.join("ca.pem"), partial.join("ca.key"));
    evenkeel_identity::Ca::open_or_make("other", &files.0, &files.1, None).unwrap();
    std::fs::write(partial.join("joined.json"), "0").unwrap();
    let theirs = std::fs::read(&files.1).unwrap();
    n1.init();
    assert_ne!(std::fs::read(n1.pki("ca.key")).unwrap(), theirs);
    assert!(!n1.pki("joined.json").exists());
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
