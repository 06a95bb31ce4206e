//! What other releases of etcd than the one that is installed answer.

use std::time::Duration;

use evenkeel_model::{Position, Seq};
use evenkeel_record::{AppendError, EtcdRecord, Record, Survival};
use tokio::time::Instant;

use crate::front::{Does, Front};
use crate::support::{bodies, node, one, open, settle, stream};

/// Codes of gRPC.
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;

/// What etcd 3.6.0 keeps for root, the alarms being a part of that in 3.5.28 only.
const FOR_ROOT: [&str; 3] = ["maintenance/status", "maintenance/alarm", "kv/compaction"];

async fn open_behind(front: &Front, cluster: &crate::cluster::Cluster) -> EtcdRecord {
    let mut options = cluster.options("newer");
    options.endpoints = vec![front.url.clone()];
    options.members.insert(node("n0"), front.url.clone());
    EtcdRecord::open(options).await.unwrap()
}

fn survives(record: &EtcdRecord, down: &[&str]) -> Result<(), String> {
    let down: Vec<_> = down.iter().map(|name| node(name)).collect();
    match record.survives_without(&down) {
        Survival::Survives => Ok(()),
        Survival::Lost { why } => Err(why),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn members_are_counted_without_the_role_root() {
    let (front, cluster) = Front::of_one().await;
    let denied = Does::Refuses(PERMISSION_DENIED);
    front.set(&FOR_ROOT.map(|path| (path, "", denied)));
    let record = open_behind(&front, &cluster).await;
    assert_eq!(survives(&record, &[]), Ok(()));
    let why = survives(&record, &["n0"]).unwrap_err();
    assert!(why.contains("m0 is on n0"), "{why}");
}

/// Nothing is counted: the endpoints may be some of the members only.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn a_list_of_members_that_is_refused_says_what_to_grant() {
    let (front, cluster) = Front::of_one().await;
    let denied = Does::Refuses(PERMISSION_DENIED);
    front.set(&[("cluster/member/list", "", denied)]);
    let record = open_behind(&front, &cluster).await;
    let why = survives(&record, &[]).unwrap_err();
    println!("{why}");
    for part in ["not known", "cluster/member/list", "grant-role", "3.5.28"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    settle(&record, &one(stream(), 0, "{}"), Duration::ZERO).await;
}

/// etcd carries a transaction out that crosses its quota, and answers that there is no room.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn what_etcd_did_and_then_refused_is_found() {
    let (front, cluster) = Front::of_one().await;
    let record = open_behind(&front, &cluster).await;
    let (stream, write) = (stream(), "request_put");
    front.set(&[("kv/txn", write, Does::RefusesWhatIsDone(RESOURCE_EXHAUSTED))]);
    let append = one(stream, 0, "done");
    assert_eq!(record.append(append.clone()).await, Ok(Position(1)));
    assert_eq!(record.append(append).await, Ok(Position(1)));
    // One that it refuses before: it is told so, and at once.
    front.set(&[("kv/txn", write, Does::Refuses(RESOURCE_EXHAUSTED))]);
    let begun = Instant::now();
    let refused = record.append(one(stream, 1, "not done")).await;
    assert!(
        matches!(refused, Err(AppendError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    front.set(&[]);
    assert_eq!(bodies(&record, stream).await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd, and 20 seconds"]
async fn a_read_ends_in_time_with_what_it_has() {
    const EVENTS: usize = 500;
    let (front, cluster) = Front::of_one().await;
    let (record, stream) = (open(cluster.options("newer")).await, stream());
    for number in 0..EVENTS as u64 {
        let append = one(stream, number, &number.to_string());
        settle(&*record, &append, Duration::ZERO).await;
    }
    let slow = open_behind(&front, &cluster).await;
    // Of 16 pages.
    let pages = Does::Waits(Duration::from_millis(1700));
    front.set(&[("kv/range", "range_end", pages)]);
    let begun = Instant::now();
    let (all, of_stream) = tokio::join!(
        slow.read_since(Position(0), usize::MAX),
        slow.read(stream, Seq(0), usize::MAX),
    );
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(22), "{took:?}");
    front.set(&[]);
    for read in [all.unwrap(), of_stream.unwrap()] {
        let positions: Vec<_> = read.iter().map(|entry| entry.position.0).collect();
        println!("{} of {EVENTS} events in {took:?}", read.len());
        assert!(!read.is_empty() && read.len() < EVENTS);
        assert_eq!(positions, (1..=read.len() as u64).collect::<Vec<_>>());
        let rest = slow.read_since(Position(read.len() as u64), usize::MAX);
        assert_eq!(read.len() + rest.await.unwrap().len(), EVENTS);
    }
}
