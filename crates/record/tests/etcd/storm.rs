//! Members that die, and ways that are cut, in the middle of appends: nothing is lost, nothing is there twice.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{Position, StreamId};
use evenkeel_record::{AppendError, EtcdRecord, Record};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::support::{bodies, node, one, open, settle, single, stream, three, three_secured};

const WRITERS: u64 = 4;
/// Long enough that what happens meanwhile happens in mid-storm.
const STORM: Duration = Duration::from_secs(10);

/// What a writer did.
struct Written {
    stream: StreamId,
    count: u64,
    longest_gap: Duration,
}

/// Appends one event after the other, and retries each until it is settled.
async fn write(record: Arc<EtcdRecord>, storm: Duration) -> Written {
    let (stream, begun) = (stream(), Instant::now());
    let (mut count, mut longest_gap, mut last) = (0, Duration::ZERO, Instant::now());
    while begun.elapsed() < storm {
        let append = one(stream, count, &format!("{count}"));
        settle(&*record, &append, Duration::from_secs(60)).await;
        longest_gap = longest_gap.max(last.elapsed());
        last = Instant::now();
        count += 1;
    }
    Written {
        stream,
        count,
        longest_gap,
    }
}

/// Every event once, in order, and as many in all as by stream.
async fn check(record: &EtcdRecord, written: &[Written]) {
    let mut total = 0;
    for Written { stream, count, .. } in written {
        let expected: Vec<_> = (0..*count).map(|number| number.to_string()).collect();
        assert_eq!(bodies(record, *stream).await, expected);
        total += count;
    }
    let all = record.read_since(Position(0), usize::MAX).await.unwrap();
    let positions: Vec<_> = all.iter().map(|entry| entry.position.0).collect();
    assert_eq!(positions, (1..=total).collect::<Vec<_>>());
}

async fn begin(cluster: &Cluster) -> JoinSet<Written> {
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let record = open(cluster.options("storm")).await;
        writers.spawn(write(record, STORM));
    }
    writers
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn the_leader_is_killed_in_mid_append() {
    let cluster = three_secured();
    let writers = begin(&cluster).await;
    sleep(Duration::from_secs(2)).await;
    let first = cluster.leader();
    cluster.kill(first);
    sleep(Duration::from_secs(4)).await;
    cluster.launch(first);
    let written = writers.join_all().await;
    for Written {
        count, longest_gap, ..
    } in &written
    {
        println!("{count} appends, longest gap {longest_gap:?}");
        assert!(*longest_gap < Duration::from_secs(8), "{longest_gap:?}");
        assert!(*count > 20, "{count}");
    }
    cluster.wait_ready();
    // As the member that was killed knows it.
    let mut options = cluster.options("storm");
    options.endpoints = vec![cluster.url(first)];
    check(&*open(options).await, &written).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn the_quorum_is_lost_in_mid_append_and_comes_back() {
    let cluster = three_secured();
    let writers = begin(&cluster).await;
    let record = open(cluster.options("storm")).await;
    sleep(Duration::from_secs(1)).await;
    cluster.kill(0);
    cluster.kill(1);
    // Reads are bounded too, and say why.
    let begun = Instant::now();
    let why = record.read_since(Position(0), 1).await.unwrap_err().why;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(
        why.contains(&cluster.url(0)) && (why.contains("no leader") || why.contains("quorum")),
        "{why}"
    );
    let append = one(stream(), 0, "{}");
    let begun = Instant::now();
    let outcome = record.append(append.clone()).await.unwrap_err();
    println!("without a quorum: {outcome} after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(12));
    assert!(matches!(
        outcome,
        AppendError::Unknown(_) | AppendError::Unavailable(_)
    ));
    cluster.launch(0);
    cluster.launch(1);
    let mut written = writers.join_all().await;
    settle(&*record, &append, Duration::from_secs(30)).await;
    let position = record.append(append.clone()).await.unwrap();
    assert_eq!(record.append(append.clone()).await, Ok(position));
    // The append without a quorum is a writer's too, now.
    let entries = record.read_since(Position(0), usize::MAX).await.unwrap();
    let mine = entries
        .iter()
        .filter(|entry| entry.id == append.writes[0].events[0].id);
    assert_eq!(mine.count(), 1);
    let total: u64 = written.iter().map(|it| it.count).sum();
    assert_eq!(entries.len() as u64, total + 1);
    for Written { stream, count, .. } in written.drain(..) {
        assert_eq!(bodies(&*record, stream).await.len() as u64, count);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn a_client_that_is_cut_off_settles_when_it_is_back() {
    let cluster = single();
    let proxy = Proxy::to(&cluster.url(0)).await;
    let mut options = cluster.options("cut");
    options.endpoints = vec![proxy.url.clone()];
    let (cut_off, other) = (open(options).await, open(cluster.options("cut")).await);
    let mine = stream();
    settle(&*cut_off, &one(mine, 0, "0"), Duration::ZERO).await;
    let mut bell = cut_off.doorbell();

    // In the middle of appends, so that some of them are under way.
    let writer = {
        let record = Arc::clone(&cut_off);
        tokio::spawn(write(record, Duration::from_secs(8)))
    };
    sleep(Duration::from_millis(500)).await;
    proxy.set_cut(true);
    let begun = Instant::now();
    let why = cut_off.generation().await.unwrap_err().why;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(why.contains(&proxy.url), "{why}");
    settle(&*other, &one(mine, 1, "other's"), Duration::ZERO).await;
    proxy.set_cut(false);

    let written = writer.await.unwrap();
    let expected: Vec<_> = (0..written.count)
        .map(|number| number.to_string())
        .collect();
    assert_eq!(bodies(&*other, written.stream).await, expected);
    let conflict = cut_off.append(one(mine, 1, "mine")).await;
    assert!(
        matches!(conflict, Err(AppendError::Conflict { .. })),
        "{conflict:?}"
    );
    // Its doorbell comes back too.
    crate::support::until("it rings again", async || {
        bell.mark_unchanged();
        let next = bodies(&*other, mine).await.len() as u64;
        settle(&*other, &one(mine, next, "ding"), Duration::ZERO).await;
        tokio::time::timeout(Duration::from_secs(1), bell.changed())
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn a_lease_survives_a_change_of_leaders_and_not_its_holders_death() {
    let cluster = three();
    let (mine, other) = (
        open(cluster.options("lease")).await,
        open(cluster.options("lease")).await,
    );
    let (me, you, ttl) = (node("me"), node("you"), Duration::from_secs(6));
    assert!(mine.lease("c", &me, ttl).await.unwrap().is_held_by(&me));
    cluster.kill(cluster.leader());
    let (begun, mut renewed) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(10) {
        if let Ok(state) = mine.lease("c", &me, ttl).await {
            assert!(state.is_held_by(&me), "{state:?}");
            renewed += 1;
        }
        if let Ok(state) = other.lease("c", &you, ttl).await {
            assert!(state.is_held_by(&me) && state.remaining <= ttl, "{state:?}");
        }
        sleep(Duration::from_millis(500)).await;
    }
    assert!(renewed > 5, "{renewed}");
    drop(mine);
    let begun = Instant::now();
    crate::support::until("the lease is free", async || {
        let asked = other.lease("c", &you, ttl).await;
        asked.is_ok_and(|state| state.is_held_by(&you))
    })
    .await;
    assert!(
        begun.elapsed() > Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    println!("free after {:?}", begun.elapsed());
    // A daemon that starts anew holds what it held.
    let again = open(cluster.options("lease")).await;
    let state = again
        .lease("c", &you, Duration::from_secs(9))
        .await
        .unwrap();
    assert_eq!(
        (state.holder, state.remaining),
        (you, Duration::from_secs(9))
    );
}
