//! Real daemons, freshly installed, become a cluster: `init`, `join`, kills in between, renewal, removal, replacement.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "../common/address.rs"]
mod address;
mod field;
mod killed;
mod leaving;
mod refusals;
mod renewal;

use field::{Field, Host, PASSWORD, init_body, join_body};
use serde_json::{Value, json};

/// A cluster of n1 and n2.
fn pair(field: &Field) -> (Host, Host) {
    let (n1, n2) = (field.host("n1").up(), field.host("n2").up());
    n1.init();
    n1.until("its election", || {
        n1.log().contains("elected coordinator").then_some(())
    });
    n2.must("/join", &join_body(&n1.token(), None));
    n2.becomes("member");
    n1.sees(2);
    n2.sees(2);
    (n1, n2)
}

fn rest_status(host: &Host) -> u16 {
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(tls)
        .build()
        .new_agent();
    let url = format!("https://{}/api/cluster", host.rest);
    let asked = agent
        .get(url)
        .header("authorization", format!("Basic {credentials}"))
        .call();
    asked.map_or(0, |answer| answer.status().as_u16())
}

#[test]
fn a_cluster_begins_and_a_second_node_joins() {
    let field = Field::new();
    let (n1, n2) = (field.host("n1").up(), field.host("n2").up());
    let shown = n1.shown();
    assert_eq!(shown["state"], "none");
    assert!(
        shown["advice"]
            .as_str()
            .unwrap()
            .contains("evenkeel cluster init"),
        "{shown}"
    );
    assert_eq!(
        rest_status(&n1),
        0,
        "nothing is served before there is a cluster"
    );
    let why = n1.refused("/token", &json!({}));
    assert!(why.contains("belongs to no cluster"), "{why}");

    n1.init();
    n1.must("/init", &init_body());
    let mut other = init_body();
    other["name"] = "other".into();
    let why = n1.refused("/init", &other);
    assert!(why.contains("\"prod\" already"), "{why}");
    let why = n2.refused("/init", &other);
    assert!(why.contains("holds the cluster \"prod\""), "{why}");
    n1.until("the REST API", || (rest_status(&n1) == 200).then_some(()));

    let token = n1.token();
    let why = n2.refused("/join", &join_body(&token[..token.len() - 1], None));
    assert!(why.contains("not whole"), "{why}");
    let why = n2.refused("/join", &join_body(&token, Some("n7")));
    assert!(why.contains("no node n7"), "{why}");
    n2.must("/join", &join_body(&token, Some("n1")));
    n2.becomes("member");
    n2.must("/join", &join_body(&token, Some("n1")));
    n1.sees(2);
    n2.sees(2);
    let nodes = &n2.shown()["nodes"];
    assert_eq!(
        (&nodes[0]["partner"], &nodes[1]["partner"]),
        (&"n2".into(), &"n1".into())
    );
    n2.until("the REST API", || (rest_status(&n2) == 200).then_some(()));
    // Either may let others in.
    n2.token();

    let n3 = field.host("n3").up();
    let why = n3.refused("/join", &join_body(&token, None));
    assert!(why.contains("used by n2"), "{why}");
}

/// What a node's audit log has of what was asked over its local socket.
fn audited(host: &Host) -> String {
    let files = std::fs::read_dir(host.dir.join("data/audit")).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    texts.collect()
}

#[test]
fn what_root_asks_for_over_the_local_socket_is_in_the_audit_log() {
    let field = Field::new();
    let (n1, n2) = (field.host("n1").up(), field.host("n2").up());
    n1.init();
    let token = n1.token();
    let refused = n1.refused("/remove", &json!({ "nodes": ["n7"] }));
    n2.must("/join", &join_body(&token, Some("n1")));
    n1.must("/renew", &Value::Null);
    let (first, second) = (audited(&n1), audited(&n2));
    for call in ["init", "token", "remove", "renew"] {
        let path = format!("/evenkeel/v1/local/cluster/{call}\"");
        assert!(first.contains(&path), "{call}: {first}");
    }
    assert!(
        second.contains("/evenkeel/v1/local/cluster/join\""),
        "{second}"
    );
    assert!(first.contains("\"nodes\":\"n7\""), "{refused} {first}");
    for log in [&first, &second] {
        assert!(
            log.contains("local-root") && log.contains("local socket"),
            "{log}"
        );
        assert!(log.contains("\"status\":200"), "{log}");
        assert!(!log.contains(PASSWORD) && !log.contains(&token), "{log}");
    }
}

#[test]
fn a_second_pair_waits_until_it_is_whole() {
    let field = Field::new();
    let (n1, n2) = pair(&field);
    let (n3, n4) = (field.host("n3").up(), field.host("n4").up());
    let for_n3 = n1.must("/token", &json!({ "node": "n3" }));
    let for_n3 = for_n3["token"].as_str().unwrap();
    let why = n4.refused("/join", &join_body(for_n3, None));
    assert!(why.contains("for n3, not for n4"), "{why}");
    n3.must("/join", &join_body(for_n3, Some("n4")));
    let waiting = n3.becomes("candidate");
    assert!(
        waiting["advice"].as_str().unwrap().contains("waits for n4"),
        "{waiting}"
    );
    let nodes = waiting["nodes"].as_array().unwrap();
    let asks = nodes.iter().any(|it| it["answers"].is_boolean());
    assert!(!asks, "members hear no candidate: {waiting}");
    assert_eq!(rest_status(&n3), 503, "it has no duties yet");
    // The record names none of its boots, and nobody waits for that.
    for command in ["boot-good", "pacemaker-gate", "may-restart"] {
        assert_eq!(n3.waits_by(command).0, Some(0), "{command}");
    }
    n1.sees_only_members(2);
    n4.must("/join", &join_body(&n2.token(), None));
    for host in [&n1, &n2, &n3, &n4] {
        host.becomes("member");
        host.sees(4);
    }
}

#[test]
fn of_two_that_come_with_one_token_one_gets_in() {
    let field = Field::new();
    let (n1, n2, n3) = (
        field.host("n1").up(),
        field.host("n2").up(),
        field.host("n3").up(),
    );
    n1.init();
    let body = join_body(&n1.token(), None);
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let asked = [&n2, &n3].map(|host| scope.spawn(|| host.post("/join", &body)));
        asked.map(|it| it.join().unwrap()).into()
    });
    let let_in = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(let_in, 1, "{answers:?}");
    n1.sees(2);
}

#[test]
fn a_stranger_is_not_heard_and_an_impostor_not_believed() {
    let field = Field::new();
    let (n1, n2) = (field.host("n1").up(), field.host("n2").up());
    n1.init();
    let token: evenkeel_identity::Token = n1.token().parse().unwrap();
    // As one that sits in between: the right address, another key.
    let pin = evenkeel_model::Digest([9; 32]);
    let impostor = evenkeel_identity::Token::make(token.address.clone(), pin).unwrap();
    let why = n2.refused("/join", &join_body(&impostor.to_string(), None));
    assert!(
        why.contains("is not the node that made this token"),
        "{why}"
    );
    // The right fingerprint, and no token that anybody gave out.
    let guessed = evenkeel_identity::Token::make(token.address, token.pin).unwrap();
    let why = n2.refused("/join", &join_body(&guessed.to_string(), None));
    assert!(why.contains("not known here"), "{why}");
    assert_eq!(n2.shown()["state"], "none");
}

#[test]
fn a_node_of_no_cluster_holds_nothing_up() {
    let field = Field::new();
    let n1 = field.host("n1").up();
    for command in ["boot-good", "pacemaker-gate", "may-restart"] {
        let (code, said) = n1.waits_by(command);
        assert_eq!(code, Some(0), "{command}: {said}");
        assert!(!said.contains("another release"), "{command}: {said}");
    }
    // Its daemon guards the pair all the same.
    field.take_over("n1");
    let said = n1.until("the takeover", || match n1.waits_by("may-restart") {
        (Some(75), said) => Some(said),
        (_, _) => None,
    });
    assert!(said.contains("takeover to be over: n1"), "{said}");
    assert_eq!(n1.waits_by("boot-good").0, Some(0));
}
