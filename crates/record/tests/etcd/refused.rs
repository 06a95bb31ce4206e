//! Settings that cannot work say what is wrong, and with which of them.

use std::fs;

use evenkeel_record::Record;

use crate::cluster::{Cluster, Setup};
use crate::support::{node, one, open, refused, single, stream, three_secured};

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn what_etcd_does_not_accept_is_told_by_its_setting() {
    let cluster = three_secured();
    let good = || cluster.options("refused");

    let mut options = good();
    options.tls.as_mut().unwrap().ca = cluster.path("stranger.crt");
    holds(
        &refused(options).await,
        &["TLS", "record.ca", "UnknownIssuer"],
    );

    let mut options = good();
    options.tls.as_mut().unwrap().client = None;
    holds(
        &refused(options).await,
        &[&cluster.url(0), "etcd does not accept record.certificate"],
    );

    let mut options = good();
    options.tls.as_mut().unwrap().ca = cluster.path("absent.crt");
    holds(
        &refused(options).await,
        &["record.ca", "absent.crt cannot be read"],
    );

    let mut options = good();
    options.tls.as_mut().unwrap().ca = cluster.path("password");
    holds(
        &refused(options).await,
        &["record.ca", "holds no certificate"],
    );

    fs::write(cluster.path("wrong"), "wrong\n").unwrap();
    let mut options = good();
    options.user.as_mut().unwrap().password_file = cluster.path("wrong");
    holds(
        &refused(options).await,
        &["record.password_file", "evenkeel", "wrong"],
    );

    let mut options = good();
    options.user = None;
    holds(
        &refused(options).await,
        &["permission denied", "record.user"],
    );

    let mut options = good();
    options.prefix = "/elsewhere/".to_owned();
    holds(
        &refused(options).await,
        &["record.user needs a role", "record.prefix"],
    );

    let mut options = good();
    options
        .members
        .insert(node("n0"), "https://192.0.2.1:2379".to_owned());
    holds(
        &refused(options).await,
        &["record.members.n0", "none of record.endpoints"],
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn an_etcd_that_cannot_carry_the_record_is_refused() {
    let plain = single();
    let mut options = plain.options("refused");
    options.user = Some(evenkeel_record::EtcdUser {
        name: "evenkeel".to_owned(),
        password_file: plain.path("password"),
    });
    fs::write(plain.path("password"), "x").unwrap();
    holds(&refused(options).await, &["authentication is not enabled"]);

    // A second cluster behind one of the endpoints.
    let other = single();
    let mut options = plain.options("refused");
    options.endpoints.extend(other.urls());
    let record = crate::support::open(options).await;
    plain.kill(0);
    let why = evenkeel_record::Record::generation(&*record)
        .await
        .unwrap_err()
        .why;
    holds(&why, &["belongs to another etcd cluster", &other.url(0)]);

    for (argument, parts) in [
        (
            "--max-request-bytes=1000000",
            ["1.25 MiB", "--max-request-bytes=1572864"],
        ),
        ("--max-txn-ops=64", ["105 operations", "--max-txn-ops=128"]),
        (
            "--enable-grpc-gateway=false",
            ["JSON gateway", "--enable-grpc-gateway"],
        ),
    ] {
        let low = Cluster::start(Setup {
            members: 1,
            is_secured: false,
            arguments: vec![argument.to_owned()],
        });
        holds(&refused(low.options("refused")).await, &parts);
    }
}

/// The token that etcd gave is unknown after its members started anew, and nobody notices.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn a_token_is_renewed_when_etcd_forgets_it() {
    let cluster = three_secured();
    let record = crate::support::open(cluster.options("token")).await;
    for index in 0..3 {
        cluster.kill(index);
    }
    for index in 0..3 {
        cluster.launch(index);
    }
    cluster.wait_ready();
    let append = crate::support::one(crate::support::stream(), 0, "{}");
    crate::support::settle(&*record, &append, std::time::Duration::from_secs(5)).await;
    // A change of users makes every token old.
    cluster.etcdctl(&["user", "add", "another:x"]);
    let append = crate::support::one(crate::support::stream(), 0, "{}");
    crate::support::settle(&*record, &append, std::time::Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn a_record_among_the_keys_of_another_is_refused() {
    let cluster = single();
    let at = |prefix: &str| {
        let mut options = cluster.options("nested");
        options.prefix = prefix.to_owned();
        options
    };
    let first = open(at("/first/")).await;
    let own = stream();
    first.append(one(own, 0, "1")).await.unwrap();
    let parts = ["\"/first/event/\"", "at \"/first/\""];
    holds(&refused(at("/first/event/")).await, &parts);
    // One beside it, and one around others.
    let beside = open(at("/first/second/")).await;
    beside.append(one(stream(), 0, "1")).await.unwrap();
    let within = open(at("/late/event/")).await;
    within.append(one(stream(), 0, "1")).await.unwrap();
    holds(&refused(at("/late/")).await, &["at \"/late/event/\""]);
    drop(first);
    let first = open(at("/first/")).await;
    first.append(one(own, 1, "2")).await.unwrap();
}
