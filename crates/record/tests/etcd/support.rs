//! Records, and what is appended to them.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{EventId, NodeName, OperationId, Position, Seq, StreamId};
use evenkeel_record::{
    Append, AppendError, EtcdOptions, EtcdRecord, Fence, NewEvent, Record, StreamWrite,
};
use evenkeel_seam::{Ids, RandomIds};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Setup};

pub(crate) fn single() -> Cluster {
    Cluster::start(Setup {
        members: 1,
        ..Setup::default()
    })
}

pub(crate) fn three() -> Cluster {
    Cluster::start(Setup {
        members: 3,
        ..Setup::default()
    })
}

pub(crate) fn three_secured() -> Cluster {
    Cluster::start(Setup {
        members: 3,
        is_secured: true,
        ..Setup::default()
    })
}

pub(crate) async fn open(options: EtcdOptions) -> Arc<EtcdRecord> {
    Arc::new(EtcdRecord::open(options).await.unwrap())
}

/// Why it is not opened.
pub(crate) async fn refused(options: EtcdOptions) -> String {
    match EtcdRecord::open(options).await {
        Ok(_) => panic!("it opens"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(crate) fn stream() -> StreamId {
    StreamId::Operation(OperationId(RandomIds.uuid()))
}

pub(crate) fn one(stream: StreamId, expected: u64, body: &str) -> Append {
    many(stream, expected, &[body.to_owned()])
}

pub(crate) fn many(stream: StreamId, expected: u64, bodies: &[String]) -> Append {
    let event = |body: &String| NewEvent {
        id: EventId(RandomIds.uuid()),
        body: body.clone(),
    };
    Append {
        fence: Fence::None,
        writes: vec![StreamWrite {
            stream,
            expected: Seq(expected),
            events: bodies.iter().map(event).collect(),
        }],
    }
}

/// Retries the same append until it is settled, as its contract says; each call is held against its bound.
pub(crate) async fn settle(record: &dyn Record, append: &Append, most: Duration) -> Position {
    let begun = Instant::now();
    loop {
        let called = Instant::now();
        let outcome = record.append(append.clone()).await;
        assert!(
            called.elapsed() < Duration::from_secs(14),
            "{:?}",
            called.elapsed()
        );
        match outcome {
            Ok(position) => return position,
            Err(AppendError::Unknown(_) | AppendError::Unavailable(_)) => {
                assert!(
                    begun.elapsed() < most,
                    "not settled in {most:?}: {outcome:?}"
                );
                sleep(Duration::from_millis(50)).await;
            }
            Err(refused) => panic!("{refused}"),
        }
    }
}

/// All bodies of a stream, which is numbered without gaps.
pub(crate) async fn bodies(record: &dyn Record, stream: StreamId) -> Vec<String> {
    let entries = record.read(stream, Seq(0), usize::MAX).await.unwrap();
    let seqs: Vec<_> = entries.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, (1..=entries.len() as u64).collect::<Vec<_>>());
    entries.into_iter().map(|entry| entry.body).collect()
}

/// Waits for something to be so, and not for long.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "waited until {what}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}
