//! Appends from both nodes while the seat moves, answers are lost, and requests arrive late and twice: nothing acknowledged is
//! lost, nothing is there twice, and every outcome that was unknown is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use evenkeel_model::{EventId, OperationId, Position, Seq, StreamId};
use evenkeel_record::{Append, AppendError, Record};
use evenkeel_seam::{Ids, RandomIds};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::pair::{PATIENCE, Pair, one};

const MOVES: usize = 30;
const WRITERS: usize = 6;

/// What went wrong on the way, to prove that something did.
#[derive(Default)]
struct Counts {
    unknown: AtomicUsize,
    unavailable: AtomicUsize,
}

/// Sends it until its outcome is known.
async fn settle(
    record: &dyn Record,
    append: Append,
    counts: &Counts,
) -> Result<Position, AppendError> {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "an append is not settled");
        match record.append(append.clone()).await {
            Err(AppendError::Unknown(_)) => counts.unknown.fetch_add(1, Ordering::Relaxed),
            Err(AppendError::Unavailable(_)) => counts.unavailable.fetch_add(1, Ordering::Relaxed),
            known => return known,
        };
        sleep(Duration::from_millis(3)).await;
    }
}

/// The only writer of a stream of its own, which so can never conflict; and one of many in control, where it may.
async fn write(
    record: Arc<dyn Record>,
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
) -> (StreamId, Vec<EventId>, Vec<EventId>) {
    let stream = StreamId::Operation(OperationId(RandomIds.uuid()));
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let append = one(stream, own.len() as u64);
        let id = append.writes[0].events[0].id;
        let known = settle(&*record, append, &counts).await;
        known.expect("nobody else writes to this stream");
        own.push(id);

        let heads = record.read(StreamId::Control, Seq(0), usize::MAX).await;
        let Ok(heads) = heads else { continue };
        let append = one(StreamId::Control, heads.len() as u64);
        let id = append.writes[0].events[0].id;
        match settle(&*record, append, &counts).await {
            Ok(_) => shared.push(id),
            Err(AppendError::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    (stream, own, shared)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_the_seat_moves() {
    let pair = Pair::new();
    for node in &pair.nodes {
        node.line.lose_every.store(7, Ordering::Relaxed);
        node.line.echo_every.store(5, Ordering::Relaxed);
    }
    let (over, counts) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Counts::default()),
    );
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let record = Arc::clone(&pair.nodes[writer % 2].record) as Arc<dyn Record>;
        writers.spawn(write(record, Arc::clone(&over), Arc::clone(&counts)));
    }
    let mut longest = Duration::ZERO;
    for turn in 0..MOVES {
        let node = &pair.nodes[turn % 2];
        node.sit().await;
        sleep(Duration::from_millis(60)).await;
        longest = longest.max(node.take().await);
    }
    pair.nodes[0].sit().await;
    over.store(true, Ordering::Relaxed);
    let written = writers.join_all().await;
    // What is still on its way must find everything settled.
    sleep(Duration::from_millis(150)).await;

    let record = &pair.nodes[0].record;
    let control = record
        .read(StreamId::Control, Seq(0), usize::MAX)
        .await
        .unwrap();
    let mut shared: Vec<EventId> = Vec::new();
    for (stream, own, in_control) in written {
        let found = record.read(stream, Seq(0), usize::MAX).await.unwrap();
        let ids: Vec<_> = found.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, own, "each once, in order");
        assert!(!own.is_empty());
        shared.extend(in_control);
    }
    let mut ids: Vec<_> = control.iter().map(|entry| entry.id).collect();
    assert!(
        control
            .iter()
            .map(|entry| entry.seq.0)
            .eq(1..=control.len() as u64)
    );
    ids.sort_unstable();
    shared.sort_unstable();
    assert_eq!(
        ids, shared,
        "in control is what was acknowledged, and nothing else"
    );
    let (unknown, unavailable) = (
        counts.unknown.load(Ordering::Relaxed),
        counts.unavailable.load(Ordering::Relaxed),
    );
    println!(
        "{} shared events, {unknown} unknown outcomes, {unavailable} times unavailable, longest let-go {longest:?}",
        shared.len()
    );
    assert!(unknown > 0 && unavailable > 0, "it was no storm");
}
