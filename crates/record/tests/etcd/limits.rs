//! Appends and records that are big, and an etcd that is full.

use std::time::Duration;

use evenkeel_model::{Position, Seq};
use evenkeel_record::{AppendError, MAX_EVENT_BYTES, MAX_EVENTS_PER_APPEND, Record, Survival};

use crate::cluster::{Cluster, Setup};
use crate::support::{many, one, open, settle, single, stream, until};

fn keys_below(cluster: &Cluster, prefix: &str) -> usize {
    let keys = cluster.etcdctl(&["get", "--prefix", "--keys-only", prefix]);
    keys.lines().filter(|line| !line.is_empty()).count()
}

/// With quotation marks, which are longer in JSON, and in etcd's defaults.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn the_biggest_append_there_can_be_is_one_append() {
    let cluster = single();
    let record = open(cluster.options("big")).await;
    let stream = stream();
    settle(&*record, &one(stream, 0, "{}"), Duration::ZERO).await;
    let body = "\"".repeat(MAX_EVENT_BYTES);
    let append = many(stream, 1, &vec![body.clone(); MAX_EVENTS_PER_APPEND]);
    let begun = tokio::time::Instant::now();
    let position = record.append(append.clone()).await.unwrap();
    println!("128 MiB in {:?}", begun.elapsed());
    assert_eq!(position, Position(MAX_EVENTS_PER_APPEND as u64 + 1));
    assert_eq!(record.append(append).await, Ok(position), "a retry");
    let other = open(cluster.options("big")).await;
    let page = other.read_since(Position(500), 3).await.unwrap();
    let seqs: Vec<_> = page
        .iter()
        .map(|entry| (entry.position.0, entry.seq.0))
        .collect();
    assert_eq!(seqs, [(501, 501), (502, 502), (503, 503)]);
    assert!(page.iter().all(|entry| entry.body == body));
    let last = other.read(stream, Seq(1024), 9).await.unwrap();
    assert_eq!((last.len(), last[0].position), (1, position));
}

/// Two at once, of which one cannot be: its parts are gone, the other's are not.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn an_append_that_fails_leaves_no_parts() {
    let cluster = single();
    let (mine, other) = (
        open(cluster.options("parts")).await,
        open(cluster.options("parts")).await,
    );
    let stream = stream();
    let bodies = vec!["x".repeat(MAX_EVENT_BYTES); 24];
    let (one, two) = (many(stream, 0, &bodies), many(stream, 0, &bodies));
    let outcomes = tokio::join!(mine.append(one), other.append(two));
    let won = [&outcomes.0, &outcomes.1]
        .into_iter()
        .filter(|it| it.is_ok());
    assert_eq!(won.count(), 1, "{outcomes:?}");
    assert_eq!(keys_below(&cluster, "/evenkeel/parts/part/"), 3);
    let read = other.read(stream, Seq(0), usize::MAX).await.unwrap();
    assert!(read.iter().map(|entry| &entry.body).eq(bodies.iter()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn many_appends_come_in_pages() {
    let cluster = single();
    let record = open(cluster.options("pages")).await;
    let (stream, other_stream) = (stream(), crate::support::stream());
    for number in 0..100 {
        settle(
            &*record,
            &one(stream, number, &number.to_string()),
            Duration::ZERO,
        )
        .await;
        settle(
            &*record,
            &one(other_stream, number, "other"),
            Duration::ZERO,
        )
        .await;
    }
    let late = open(cluster.options("pages")).await;
    assert_eq!(
        late.read_since(Position(0), usize::MAX)
            .await
            .unwrap()
            .len(),
        200
    );
    let middle = late.read(stream, Seq(40), 45).await.unwrap();
    let bodies: Vec<_> = middle.iter().map(|entry| entry.body.clone()).collect();
    assert_eq!(
        bodies,
        (40..85)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    );
}

/// The alarm, its advice, and that the advice helps.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn an_etcd_without_room_says_what_to_do() {
    let cluster = Cluster::start(Setup {
        members: 1,
        is_secured: false,
        arguments: vec!["--quota-backend-bytes=25165824".to_owned()],
    });
    let record = open(cluster.options("full")).await;
    let stream = stream();
    settle(&*record, &one(stream, 0, "before"), Duration::ZERO).await;
    let junk = "x".repeat(100_000);
    for _ in 0..1000 {
        if cluster.try_etcdctl(&["put", "junk", &junk]).is_err() {
            break;
        }
    }
    let append = one(stream, 1, "after");
    let refused = record.append(append.clone()).await.unwrap_err();
    println!("{refused}");
    let is_clear = |why: &str| why.contains("NOSPACE") && why.contains("etcdctl alarm disarm");
    assert!(
        matches!(&refused, AppendError::Unavailable(why) if is_clear(&why.why)),
        "{refused:?}"
    );
    until(
        "it is said to be lost",
        async || matches!(record.survives_without(&[]), Survival::Lost { why } if is_clear(&why)),
    )
    .await;
    assert_eq!(crate::support::bodies(&*record, stream).await, ["before"]);

    let status = cluster.etcdctl(&["endpoint", "status", "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let revision = status[0]["Status"]["header"]["revision"].to_string();
    cluster.etcdctl(&["compact", &revision]);
    cluster.etcdctl(&["defrag"]);
    cluster.etcdctl(&["alarm", "disarm"]);
    settle(&*record, &append, Duration::ZERO).await;
    assert_eq!(
        crate::support::bodies(&*record, stream).await,
        ["before", "after"]
    );
    until("it is said to survive", async || {
        record.survives_without(&[]) == Survival::Survives
    })
    .await;
}
