//! The doorbell while history is dropped, and who drops it.

use std::time::Duration;

use evenkeel_model::{Position, Seq};
use evenkeel_record::{AppendError, Record};
use tokio::time::timeout;

use crate::support::{one, open, settle, single, stream, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn compaction_in_mid_watch_stops_no_doorbell_and_loses_no_event() {
    let cluster = single();
    let (writer, reader) = (
        open(cluster.options("compact")).await,
        open(cluster.options("compact")).await,
    );
    let (stream, mut bell) = (stream(), reader.doorbell());
    for number in 0..20 {
        bell.mark_unchanged();
        settle(&*writer, &one(stream, number, "x"), Duration::ZERO).await;
        let status = cluster.etcdctl(&["endpoint", "status", "-w", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let revision = status[0]["Status"]["header"]["revision"].to_string();
        cluster.etcdctl(&["compact", &revision]);
        let rung = timeout(Duration::from_secs(5), bell.changed()).await;
        assert!(rung.is_ok(), "at {number}");
    }
    let late = open(cluster.options("compact")).await;
    assert_eq!(crate::support::bodies(&*late, stream).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn the_history_is_dropped_by_one_of_the_handles() {
    let cluster = single();
    let mut options = cluster.options("history");
    options.compact_every = Duration::from_secs(3);
    let (one_of, _another) = (open(options.clone()).await, open(options).await);
    let (stream, mut number) = (stream(), 1);
    settle(&*one_of, &one(stream, 0, "x"), Duration::ZERO).await;
    let old = ["get", "--rev=2", "/evenkeel/history/head"];
    assert!(cluster.try_etcdctl(&old).is_ok());
    until("revision 2 is gone", async || {
        settle(&*one_of, &one(stream, number, "x"), Duration::ZERO).await;
        number += 1;
        let asked = cluster.try_etcdctl(&old);
        asked.is_err_and(|why| why.contains("compacted"))
    })
    .await;
    assert_eq!(
        crate::support::bodies(&*one_of, stream).await.len() as u64,
        number
    );
}

/// Keys as they were before: what a backup brings back, and worse, since etcd's revisions go on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn a_record_that_went_back_is_read_anew() {
    let cluster = single();
    let record = open(cluster.options("back")).await;
    let stream = stream();
    for number in 0..2 {
        settle(&*record, &one(stream, number, "kept"), Duration::ZERO).await;
    }
    let head = "/evenkeel/back/head";
    let before = cluster.etcdctl(&["get", "--print-value-only", head]);
    let lost = one(stream, 2, "lost");
    settle(&*record, &lost, Duration::ZERO).await;
    cluster.etcdctl(&["put", head, before.trim_end()]);
    cluster.etcdctl(&["del", "/evenkeel/back/event/00000000000000000003"]);

    let (expected, actual) = (Seq(3), Seq(2));
    assert_eq!(
        record.append(one(stream, 3, "after")).await,
        Err(AppendError::Conflict {
            stream,
            expected,
            actual
        })
    );
    // What was lost can be appended again, and counts as new.
    assert_eq!(record.append(lost).await, Ok(Position(3)));
    let bodies = crate::support::bodies(&*record, stream).await;
    assert_eq!(bodies, ["kept", "kept", "lost"]);
}
