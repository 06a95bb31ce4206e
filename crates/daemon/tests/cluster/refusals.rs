//! Newcomers that do not fit, and moments at which nobody may come: the reason is said, and nothing is changed.

use std::sync::Arc;

use evenkeel_identity::{NodeKey, Sealed, Token};
use evenkeel_interconnect::{JoinAnswer, JoinStatement, PROTOCOL, ask_to_join};
use evenkeel_model::*;
use evenkeel_record::{Fence, Record, SqliteOptions, SqliteRecord, Write, Writer};
use evenkeel_seam::{Clock, RandomIds, SystemClock};
use serde_json::json;

use crate::field::{Field, Host, init_body, join_body};
use crate::pair;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new(BootId(uuid::Uuid::from_u128(5))))
}

/// What a newcomer n2 of this release says that sees the cluster's record.
fn statement(n1: &Host, key: &NodeKey) -> JoinStatement {
    let shown = n1.shown();
    let id: uuid::Uuid = shown["uuid"].as_str().unwrap().parse().unwrap();
    JoinStatement {
        protocol: PROTOCOL,
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
        node: NodeConfig {
            id: NodeId(uuid::Uuid::from_u128(2)),
            name: "n2".parse().unwrap(),
            partner: None,
            interconnect: "127.0.0.1:1".to_owned(),
            rest: "127.0.0.1:2".to_owned(),
            platform: "lab-x86_64".parse().unwrap(),
            variant: None,
            features: Vec::new(),
            site: None,
            lifs: Vec::new(),
        },
        public_key: key.public().to_hex(),
        wall: clock().wall(),
        record: "sqlite".to_owned(),
        cluster: Some(ClusterId(id)),
    }
}

fn asked(field: &Field, token: &Token, statement: &JoinStatement, key: &NodeKey) -> JoinAnswer {
    let text = serde_json::to_string(statement).unwrap();
    let asked = ask_to_join(&token.address, token.pin, |channel| {
        Sealed::seal(text, channel, token, key)
    });
    field.runtime.block_on(asked).unwrap()
}

/// Why this one is not let in.
fn refused(field: &Field, token: &Token, statement: &JoinStatement, key: &NodeKey) -> String {
    match asked(field, token, statement, key) {
        JoinAnswer::Refused { refusal } => refusal.message,
        JoinAnswer::Welcome { .. } => panic!("{statement:?} was let in"),
    }
}

#[test]
fn a_newcomer_that_does_not_fit_is_told_why_and_the_token_stays_good() {
    let field = Field::new();
    let (n1, n2) = (field.host("n1").up(), field.host("n2").up());
    n1.init();
    let text = n1.token();
    let token: Token = text.parse().unwrap();
    let key = NodeKey::open_or_make(&field.dir.join("newcomer.key")).unwrap();
    let other = NodeKey::open_or_make(&field.dir.join("other.key")).unwrap();
    let good = statement(&n1, &key);
    type Change = fn(&mut JoinStatement);
    let cases: [(&str, Change); 7] = [
        ("protocol 99", |it| it.protocol = 99),
        ("runs evenkeeld 9.9.9", |it| it.daemon = "9.9.9".to_owned()),
        ("s apart", |it| {
            it.wall = WallTime::from_unix_seconds(1_000_000_000)
        }),
        ("of the kind etcd", |it| it.record = "etcd".to_owned()),
        ("holds no cluster", |it| it.cluster = None),
        ("holds another cluster", |it| {
            it.cluster = Some(ClusterId(uuid::Uuid::from_u128(9)));
        }),
        ("has a node n1 already", |it| {
            it.node.name = "n1".parse().unwrap()
        }),
    ];
    for (expected, change) in cases {
        let mut changed = good.clone();
        change(&mut changed);
        let why = refused(&field, &token, &changed, &key);
        assert!(why.contains(expected), "{why}");
    }
    // A certificate for a key that it does not hold.
    let why = refused(&field, &token, &good, &other);
    assert!(why.contains("does not hold the key"), "{why}");
    n1.sees(1);
    n2.must("/join", &join_body(&text, None));
    n1.sees(2);
}

/// Records an event of the control stream.
fn record(field: &Field, event: &ControlEvent) {
    let record = SqliteRecord::open(
        &field.dir.join("record/record.db"),
        SqliteOptions::new(clock()).unwrap(),
    );
    let record: Arc<dyn Record> = Arc::new(record.unwrap());
    let writer = Writer::new(Arc::clone(&record), Arc::new(RandomIds));
    field.runtime.block_on(async {
        // Others write to it, too.
        for _ in 0..20 {
            let known = record.read(StreamId::Control, Seq(0), 1000).await.unwrap();
            let write = Write {
                stream: StreamId::Control,
                expected: Seq(known.len() as u64),
                events: vec![Event::Control(event.clone())],
            };
            if writer.append(Fence::None, vec![write]).await.is_ok() {
                return;
            }
        }
        panic!("the record took nothing");
    });
}

#[test]
fn a_cluster_begins_with_a_user_who_could_be_made_later() {
    let field = Field::new();
    let n1 = field.host("n1").up();
    let long = "x".repeat(5000);
    let cases = [
        ("password", "x", "fewer than"),
        ("password", &long, "more than"),
        ("user", "local-root", "stands for"),
        ("user", "evenkeel", "stands for"),
    ];
    for (what, value, expected) in cases {
        let mut body = init_body();
        body[what] = value.into();
        let why = n1.refused("/init", &body);
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(n1.shown()["state"], "none");
    n1.init();
    let why = n1.refused("/token", &json!({ "node": "e7", "replaces": true }));
    assert!(why.contains("no node e7"), "{why}");
}

#[test]
fn nobody_comes_or_leaves_while_an_update_is_open() {
    let field = Field::new();
    let (n1, _n2) = pair(&field);
    let token = n1.token();
    let n3 = field.host("n3").up();
    let started = ControlEvent::OperationStarted {
        at: clock().wall(),
        operation: OperationId(uuid::Uuid::from_u128(77)),
        kind: OperationKind::Update,
    };
    record(&field, &started);
    n1.until("the update", || {
        let (status, answer) = n1.ask("POST", "/token", &json!({}))?;
        (status != 200).then(|| {
            let why = answer["error"]["message"].as_str().unwrap();
            assert!(
                why.contains("update") && why.contains("must end first"),
                "{why}"
            );
        })
    });
    let why = n3.refused("/join", &join_body(&token, None));
    assert!(why.contains("must end first"), "{why}");
    assert_eq!(n3.shown()["state"], "none");
}

#[test]
fn nobody_comes_or_leaves_between_two_releases() {
    let field = Field::new();
    let (n1, _n2) = pair(&field);
    let older = ControlEvent::NodeBooted {
        at: clock().wall(),
        node: "n2".parse().unwrap(),
        boot_id: BootId(uuid::Uuid::from_u128(2)),
        version: None,
        daemon: "0.1.0".to_owned(),
        machine: MachineId::default(),
    };
    let why = n1.until("the older release", || {
        // Its own report may come later, and counts then.
        record(&field, &older);
        let (status, answer) = n1.ask("POST", "/token", &json!({}))?;
        (status != 200).then(|| answer["error"]["message"].to_string())
    });
    assert!(
        why.contains("between two releases") && why.contains("0.1.0"),
        "{why}"
    );
}

#[test]
fn a_record_of_one_controller_takes_no_second_one() {
    let field = Field::new();
    let n1 = field.host("n1");
    let config = n1.dir.join("evenkeeld.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let (real, _) = text.split_once("[lab]").unwrap();
    std::fs::write(config, real).unwrap();
    let n1 = n1.up();
    n1.init();
    let why = n1.refused("/token", &json!({}));
    assert!(why.contains("record.db") && why.contains("etcd"), "{why}");
}

/// A machine whose record is on the pool that it shares with `partner`, and that has the seat.
fn on_a_pool(field: &Field, node: &str, partner: &str) -> Host {
    let host = field.host(node);
    let (config, pool) = (host.dir.join("evenkeeld.toml"), host.dir.join("pool"));
    std::fs::create_dir(&pool).unwrap();
    let (record, seat) = (pool.join("record.db"), host.dir.join("record-seat"));
    let text = std::fs::read_to_string(&config).unwrap();
    let (before, after) = text.split_once("[record]").unwrap();
    let (_, after) = after.split_once("[platform]").unwrap();
    let section = format!(
        "[record]\nbackend = \"shared_pool\"\npath = \"{}\"\nseat = \"{}\"\npartner = \"{partner}\"\n\
         partner_address = \"127.0.0.1:1\"\nmust_be_mounted = false\n",
        record.display(),
        seat.display()
    );
    std::fs::write(config, format!("{before}{section}[platform]{after}")).unwrap();
    std::fs::write(seat, format!("{}\n", record.display())).unwrap();
    host
}

#[test]
fn a_record_on_a_pairs_pool_takes_the_other_half_of_the_pair_and_nobody_else() {
    let field = Field::new();
    let n1 = on_a_pool(&field, "n1", "n2").up();
    n1.init();
    let why = n1.refused("/token", &json!({ "node": "n3" }));
    assert!(
        why.contains("pool of n1 and n2") && why.contains("etcd"),
        "{why}"
    );
    let token: Token = n1.token().parse().unwrap();
    let key = NodeKey::open_or_make(&field.dir.join("newcomer.key")).unwrap();
    let mut newcomer = statement(&n1, &key);
    newcomer.record = "shared_pool".to_owned();
    newcomer.node.name = "n9".parse().unwrap();
    // On a pool of its own, and by whatever it says on this one.
    for cluster in [None, newcomer.cluster] {
        newcomer.cluster = cluster;
        let why = refused(&field, &token, &newcomer, &key);
        assert!(why.contains("n9 cannot have the cluster's record"), "{why}");
    }
    n1.sees_only_members(1);
    newcomer.node.name = "n2".parse().unwrap();
    newcomer.cluster = None;
    match asked(&field, &token, &newcomer, &key) {
        JoinAnswer::Welcome { welcome } => assert_eq!(welcome.partner, Some("n1".parse().unwrap())),
        JoinAnswer::Refused { refusal } => panic!("{refusal}"),
    }
    n1.until("its partner", || {
        (n1.shown()["nodes"].as_array()?.len() == 2).then_some(())
    });
}
