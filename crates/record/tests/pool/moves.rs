//! What a move of the seat keeps, and what it does to what is under way.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{Generation, OperationId, Position, Seq, StreamId};
use evenkeel_record::{AppendError, Fence, Record, SqliteOptions, SqliteRecord, machine_boot_id};
use evenkeel_seam::{Clock, Ids, RandomIds, SystemClock};
use tokio::time::timeout;

use crate::pair::{Node, PATIENCE, Pair, name, one, until};

/// Closing takes as long as what is under way, and every append has a known outcome: nothing is begun that is not ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_closed_within_a_moment_under_load() {
    let pair = Pair::new();
    let node = &pair.nodes[0];
    node.sit().await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let record = Arc::clone(&node.record);
        let stream = StreamId::Operation(OperationId(RandomIds.uuid()));
        writers.spawn(async move {
            for done in 0_u64.. {
                match record.append(one(stream, done)).await {
                    Ok(_) => {}
                    Err(AppendError::Unavailable(_)) => return (stream, done),
                    Err(other) => panic!("an outcome of a clean move is known: {other}"),
                }
            }
            unreachable!("the node stands in the end")
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The partner is asked from now on, and says that it does not sit either.
    let took = node.take().await;
    println!("closed within {took:?}");
    // A second is what it may take; the rest is for a machine that is busy.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        !pair.log().exists(),
        "the log is written back by who closes in good order"
    );
    let written = writers.join_all().await;
    pair.nodes[1].sit().await;
    for (stream, done) in written {
        let found = pair.nodes[1].record.read(stream, Seq(0), usize::MAX).await;
        assert_eq!(found.unwrap().len() as u64, done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generation_fences_across_the_move() {
    let pair = Pair::new();
    let [n1, n2] = &pair.nodes;
    n1.sit().await;
    let mut takes = one(StreamId::Control, 0);
    let (from, to) = (Generation(0), Generation(1));
    takes.fence = Fence::Advance { from, to };
    n1.record.append(takes).await.unwrap();
    n1.take().await;
    n2.sit().await;
    let mut next = one(StreamId::Control, 1);
    let (from, to) = (Generation(1), Generation(2));
    next.fence = Fence::Advance { from, to };
    n2.record.append(next).await.unwrap();
    let mut stale = one(StreamId::Control, 2);
    stale.fence = Fence::Holds(Generation(1));
    let (mine, current) = (Generation(1), Generation(2));
    let fenced = Err(AppendError::Fenced { mine, current });
    assert_eq!(n1.record.append(stale.clone()).await, fenced);
    assert_eq!(n2.record.append(stale).await, fenced);
}

/// The two machines' clocks have nothing in common: after a move a lease counts once more in full, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlasts_a_move_by_its_own_length_at_most() {
    let pair = Pair::new();
    let [n1, n2] = &pair.nodes;
    let (one, two) = (name("n1"), name("n2"));
    let ttl = Duration::from_secs(10);
    n1.sit().await;
    n2.record.lease("c", &two, ttl).await.unwrap();
    pair.clock.pass(Duration::from_secs(9));
    n1.take().await;
    // A long way: what passes meanwhile is measured by nobody.
    pair.clock.pass(Duration::from_secs(100));
    n2.sit().await;
    let seen = n1.record.lease("c", &one, ttl).await.unwrap();
    assert!(seen.is_held_by(&two), "who may be alive is not robbed");
    assert_eq!(seen.remaining, ttl);
    pair.clock.pass(ttl + Duration::from_millis(1));
    let taken = n1.record.lease("c", &one, ttl).await.unwrap();
    assert!(taken.is_held_by(&one));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_is_rung_for_whoever_sits() {
    let pair = Pair::new();
    for turn in 0..4_usize {
        let (sits, stands) = (&pair.nodes[turn % 2], &pair.nodes[(turn + 1) % 2]);
        sits.sit().await;
        let stream = StreamId::Operation(OperationId(RandomIds.uuid()));
        // Until the other one has found out who sits, it may miss a ring.
        until_heard(&stands.record).await;
        let mut bells = [sits.record.doorbell(), stands.record.doorbell()];
        for bell in &mut bells {
            bell.mark_unchanged();
        }
        stands.record.append(one(stream, 0)).await.unwrap();
        for bell in &mut bells {
            timeout(PATIENCE, bell.changed()).await.unwrap().unwrap();
        }
        sits.take().await;
    }
}

async fn until_heard(record: &Arc<evenkeel_record::SharedPoolRecord>) {
    for _ in 0..1000 {
        if record.generation().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the partner does not answer");
}

/// A local record of the release before, with all that it holds, becomes the one on the pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_release_before_is_taken_over() {
    let pair = Pair::new();
    let old = rusqlite::Connection::open(pair.file()).unwrap();
    old.execute_batch(include_str!("../../src/sqlite/schema/1.sql"))
        .unwrap();
    let stream = StreamId::Catalogue;
    let event = one(stream, 0).writes.remove(0).events.remove(0);
    old.execute_batch(&format!(
        "PRAGMA user_version = 1; PRAGMA journal_mode = WAL;
         INSERT INTO event (stream, seq, id, body) VALUES ('{stream}', 1, '{}', '{}');
         INSERT INTO lease (name, holder, boot_id, expires_ms) VALUES ('c', 'n1', '{}', 999999999999);
         UPDATE meta SET value = 4 WHERE key = 'generation';",
        event.id,
        event.body,
        RandomIds.uuid()
    ))
    .unwrap();
    drop(old);
    let [n1, n2] = &pair.nodes;
    n1.sit().await;
    assert_eq!(n1.record.generation().await, Ok(Generation(4)));
    let found = n1.record.read(stream, Seq(0), 9).await.unwrap();
    assert_eq!((found.len(), found[0].id), (1, event.id));
    let seen = n1
        .record
        .lease("c", &name("n2"), Duration::from_secs(9))
        .await;
    assert!(
        seen.unwrap().is_held_by(&name("n2")),
        "of a lease that did not say for how long"
    );
    n1.record.append(one(stream, 1)).await.unwrap();
    n1.take().await;
    n2.sit().await;
    assert_eq!(n2.record.read_since(Position(0), 9).await.unwrap().len(), 2);

    // The release before still reads and writes what this one has made of it.
    n2.take().await;
    let old = rusqlite::Connection::open(pair.file()).unwrap();
    let min_reader: i64 = old
        .query_row(
            "SELECT value FROM meta WHERE key = 'min_reader'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(min_reader, 1);
    old.execute(
        "INSERT INTO lease (name, holder, boot_id, expires_ms) VALUES ('d', 'n1', 'x', 1)",
        [],
    )
    .unwrap();
}

/// As docs/operations.md says it: `VACUUM INTO` the pool, while the old record is in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_record_moves_to_the_pool_and_stays_the_same_record() {
    let pair = Pair::new();
    let local = pair.dir.path().join("local.db");
    let clock = Arc::new(SystemClock::new(machine_boot_id().unwrap())) as Arc<dyn Clock>;
    let record = SqliteRecord::open(&local, SqliteOptions::new(clock).unwrap()).unwrap();
    for expected in 0..300 {
        record
            .append(one(StreamId::Control, expected))
            .await
            .unwrap();
    }
    let into = format!("VACUUM INTO '{}'", pair.file().display());
    rusqlite::Connection::open(&local)
        .unwrap()
        .execute_batch(&into)
        .unwrap();
    let before = record.read_since(Position(0), usize::MAX).await.unwrap();
    let id = record.id();
    drop(record);
    pair.nodes[1].sit().await;
    let after = pair.nodes[0]
        .record
        .read_since(Position(0), usize::MAX)
        .await
        .unwrap();
    assert_eq!(after, before);
    let memory = &pair.nodes[1].options.memory;
    let known = fs::read_to_string(memory).unwrap();
    assert_eq!(known, format!("{{\"record\":{id}}}"));
}

/// A page of the biggest events does not fit into one answer.
#[tokio::test(flavor = "multi_thread")]
async fn long_reads_by_the_partner_are_whole() {
    let pair = Pair::new();
    let [n1, n2] = &pair.nodes;
    n1.sit().await;
    for expected in 0..100 {
        let mut big = one(StreamId::Control, expected);
        big.writes[0].events[0].body = format!("\"{}\"", "\\n".repeat(60_000));
        n1.record.append(big).await.unwrap();
    }
    let here = n1.record.read_since(Position(0), 70).await.unwrap();
    let there = n2.record.read_since(Position(0), 70).await.unwrap();
    assert_eq!((here.len(), &here), (70, &there));
    let here = n1.record.read(StreamId::Control, Seq(30), usize::MAX).await;
    let there = n2.record.read(StreamId::Control, Seq(30), usize::MAX).await;
    assert_eq!(here, there);
    assert_eq!(there.unwrap().len(), 70);
}

/// It ends with its daemon, without the seat having moved: the daemon that comes next sits again.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_lets_go() {
    let Pair {
        nodes: [first, partner],
        dir,
        ..
    } = Pair::new();
    first.sit().await;
    first
        .record
        .append(one(StreamId::Control, 0))
        .await
        .unwrap();
    // Two daemons on one node: the second one waits.
    let second = Node::start(first.options.clone());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(first.record.sits() && !second.record.sits());
    let why = second.record.generation().await.unwrap_err().why;
    assert!(why.contains("another process holds"), "{why}");
    // Its own calls and the partner's may be under way, and hold the record for a moment longer.
    drop(first);
    until("the second daemon to sit", || second.record.sits()).await;
    second
        .record
        .append(one(StreamId::Control, 1))
        .await
        .unwrap();
    drop((partner, dir));
}
