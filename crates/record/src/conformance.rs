//! What every backend of the record must do, as tests that any of them can run:
//! implement [`Backend`] and call [`conformance_tests!`](crate::conformance_tests) in a test file.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{EventId, Generation, NodeName, OperationId, Position, Seq, StreamId};
use evenkeel_seam::{Ids, SeededIds};
use tokio::time::timeout;

use crate::{
    Append, AppendError, Entry, Fence, MAX_BLOB_BYTES, MAX_EVENT_BYTES, MAX_EVENTS_PER_APPEND,
    NewEvent, PutBlobError, Record, StreamWrite,
};

/// How long a ring may take before the doorbell counts as broken. Ample: a slow machine is no fault.
const RING: Duration = Duration::from_secs(20);

/// A fresh, empty record under test.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Another handle to the same record, as another node or a restarted one would open it.
    async fn open(&self) -> Arc<dyn Record>;
    /// Lets this much time pass for leases.
    async fn pass(&self, time: Duration);
}

/// One `#[tokio::test]` per case; `$make` is called for a fresh backend in each. Further arguments go to
/// `tokio::test`. With `ignore = "why"` before it, the tests only run when they are asked for.
#[macro_export]
macro_rules! conformance_tests {
    (ignore = $why:literal, $make:expr $(, $argument:tt = $value:expr)*) => {
        $crate::conformance_tests!(@all $make, [$($argument = $value),*], [#[ignore = $why]]);
    };
    ($make:expr $(, $argument:tt = $value:expr)*) => {
        $crate::conformance_tests!(@all $make, [$($argument = $value),*], []);
    };
    (@all $make:expr, $arguments:tt, $attributes:tt) => {
        $crate::conformance_tests!(@cases $make, $arguments, $attributes;
            an_empty_record_has_nothing,
            an_append_is_read_back_in_order,
            several_streams_are_appended_to_together_or_not_at_all,
            a_wrong_expectation_conflicts,
            an_expectation_without_events_is_checked_too,
            a_retry_is_recognised,
            a_retry_is_recognised_after_the_generation_moved_on,
            a_reused_id_is_refused,
            a_stale_generation_appends_nothing,
            only_one_takes_the_next_generation,
            of_concurrent_appenders_one_wins,
            concurrent_streams_all_get_in,
            reads_page_without_gaps,
            the_doorbell_rings_for_every_handle,
            a_lease_is_taken_renewed_and_released,
            an_expired_lease_is_anyones,
            a_lease_has_one_holder_among_many,
            values_are_kept_by_digest,
            limits_are_kept,
            invalid_appends_are_refused,
            reopening_keeps_everything
        );
    };
    (@cases $make:expr, $arguments:tt, $attributes:tt; $($case:ident),* $(,)?) => {
        $($crate::conformance_tests!(@case $make, $arguments, $attributes, $case);)*
    };
    (@case $make:expr, [$($argument:tt = $value:expr),*], [$(#[$attribute:meta])*], $case:ident) => {
        #[tokio::test($($argument = $value),*)]
        $(#[$attribute])*
        async fn $case() {
            $crate::conformance::$case(&$make()).await;
        }
    };
}

/// Events and appends with fresh ids.
struct Maker(SeededIds);

impl Maker {
    fn new() -> Self {
        Self(SeededIds::new(0xc0f0))
    }

    fn event(&self, body: &str) -> NewEvent {
        NewEvent {
            id: EventId(self.0.uuid()),
            body: format!("{{\"test\":{body:?}}}"),
        }
    }

    fn events(&self, bodies: &[&str]) -> Vec<NewEvent> {
        bodies.iter().map(|body| self.event(body)).collect()
    }

    fn write(&self, stream: StreamId, expected: u64, bodies: &[&str]) -> StreamWrite {
        StreamWrite {
            stream,
            expected: Seq(expected),
            events: self.events(bodies),
        }
    }

    fn append(&self, stream: StreamId, expected: u64, bodies: &[&str]) -> Append {
        Append {
            fence: Fence::None,
            writes: vec![self.write(stream, expected, bodies)],
        }
    }

    fn operation(&self) -> StreamId {
        StreamId::Operation(OperationId(self.0.uuid()))
    }
}

async fn all(record: &dyn Record) -> Vec<Entry> {
    record
        .read_since(Position(0), usize::MAX)
        .await
        .expect("the record is available")
}

async fn must(record: &dyn Record, append: Append) -> Position {
    record
        .append(append)
        .await
        .expect("nothing speaks against this append")
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).expect("a valid name")
}

fn bodies(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.body.as_str()).collect()
}

/// Nothing to read, generation zero.
pub async fn an_empty_record_has_nothing(backend: &dyn Backend) {
    let record = backend.open().await;
    assert_eq!(all(&*record).await, []);
    assert_eq!(record.read(StreamId::Control, Seq(0), 10).await, Ok(vec![]));
    assert_eq!(record.generation().await, Ok(Generation(0)));
}

/// Ids, bodies and numbers come back; the returned position is the last event's.
pub async fn an_append_is_read_back_in_order(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let append = make.append(StreamId::Control, 0, &["one", "two", "\u{1f6e1} \\ \" é"]);
    let last = must(&*record, append.clone()).await;
    let entries = record
        .read(StreamId::Control, Seq(0), 10)
        .await
        .expect("available");
    for (index, event) in append.writes[0].events.iter().enumerate() {
        let entry = &entries[index];
        assert_eq!((entry.id, &entry.body), (event.id, &event.body));
        assert_eq!(
            (entry.stream, entry.seq),
            (StreamId::Control, Seq(index as u64 + 1))
        );
    }
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[2].position, last);
    assert!(entries.is_sorted_by(|a, b| a.position < b.position));
}

/// A conflict in the last of three streams leaves the first two as they were.
pub async fn several_streams_are_appended_to_together_or_not_at_all(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let operation = make.operation();
    let three = |expected: [u64; 3]| Append {
        fence: Fence::None,
        writes: vec![
            make.write(StreamId::Control, expected[0], &["c"]),
            make.write(operation, expected[1], &["o1", "o2"]),
            make.write(StreamId::Catalogue, expected[2], &["p"]),
        ],
    };
    must(&*record, three([0, 0, 0])).await;
    let before = all(&*record).await;
    assert_eq!(before.len(), 4);
    let conflict = record.append(three([1, 2, 0])).await;
    let (stream, expected, actual) = (StreamId::Catalogue, Seq(0), Seq(1));
    assert_eq!(
        conflict,
        Err(AppendError::Conflict {
            stream,
            expected,
            actual
        })
    );
    assert_eq!(all(&*record).await, before);
    must(&*record, three([1, 2, 1])).await;
    assert_eq!(all(&*record).await.len(), 8);
}

/// Both too low and too high.
pub async fn a_wrong_expectation_conflicts(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    must(&*record, make.append(StreamId::Control, 0, &["one"])).await;
    for wrong in [0, 2] {
        let result = record
            .append(make.append(StreamId::Control, wrong, &["two"]))
            .await;
        let (stream, expected, actual) = (StreamId::Control, Seq(wrong), Seq(1));
        assert_eq!(
            result,
            Err(AppendError::Conflict {
                stream,
                expected,
                actual
            })
        );
    }
}

/// A write without events makes an append depend on a stream it does not change.
pub async fn an_expectation_without_events_is_checked_too(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    must(&*record, make.append(StreamId::Control, 0, &["one"])).await;
    let depending = |on: u64| Append {
        fence: Fence::None,
        writes: vec![
            make.write(StreamId::Control, on, &[]),
            make.write(StreamId::Catalogue, 0, &["p"]),
        ],
    };
    let result = record.append(depending(0)).await;
    assert!(matches!(
        result,
        Err(AppendError::Conflict {
            stream: StreamId::Control,
            ..
        })
    ));
    must(&*record, depending(1)).await;
}

/// The same ids again: `Ok` with the same position, and nothing new, though the expectation is past.
pub async fn a_retry_is_recognised(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let append = make.append(StreamId::Control, 0, &["one", "two"]);
    let position = must(&*record, append.clone()).await;
    must(&*record, make.append(StreamId::Control, 2, &["three"])).await;
    assert_eq!(record.append(append).await, Ok(position));
    assert_eq!(all(&*record).await.len(), 3);
}

/// What a coordinator did append stays appended, whoever coordinates when it asks.
pub async fn a_retry_is_recognised_after_the_generation_moved_on(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let mut take = make.append(StreamId::Control, 0, &["coordinator 1"]);
    take.fence = Fence::Advance {
        from: Generation(0),
        to: Generation(1),
    };
    let position = must(&*record, take.clone()).await;
    assert_eq!(record.append(take.clone()).await, Ok(position));
    let mut next = make.append(StreamId::Control, 1, &["coordinator 2"]);
    next.fence = Fence::Advance {
        from: Generation(1),
        to: Generation(2),
    };
    must(&*record, next).await;
    assert_eq!(record.append(take).await, Ok(position));
    assert_eq!(record.generation().await, Ok(Generation(2)));
    assert_eq!(all(&*record).await.len(), 2);
}

/// Another body, another stream, or only a part of the events: no retry, and nothing changes.
pub async fn a_reused_id_is_refused(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let first = make.append(StreamId::Control, 0, &["one"]);
    must(&*record, first.clone()).await;
    let mut body = first.clone();
    body.writes[0].events[0].body = "{}".to_owned();
    let mut stream = first.clone();
    stream.writes[0].stream = StreamId::Catalogue;
    let mut part = first.clone();
    part.writes[0].events.push(make.event("two"));
    for reuse in [body, stream, part] {
        assert!(matches!(
            record.append(reuse).await,
            Err(AppendError::Invalid(_))
        ));
    }
    assert_eq!(all(&*record).await.len(), 1);
}

/// Everywhere: in every stream, through every handle, and for advancing.
pub async fn a_stale_generation_appends_nothing(backend: &dyn Backend) {
    let (old, new) = (backend.open().await, backend.open().await);
    let make = Maker::new();
    let fenced = |fence, mut append: Append| {
        append.fence = fence;
        append
    };
    let advance = |from, to| Fence::Advance {
        from: Generation(from),
        to: Generation(to),
    };
    must(
        &*old,
        fenced(
            advance(0, 1),
            make.append(StreamId::Control, 0, &["old takes"]),
        ),
    )
    .await;
    let holds = Fence::Holds(Generation(1));
    must(
        &*old,
        fenced(holds, make.append(StreamId::Control, 1, &["old acts"])),
    )
    .await;
    must(
        &*new,
        fenced(
            advance(1, 5),
            make.append(StreamId::Control, 2, &["new takes"]),
        ),
    )
    .await;

    let (mine, current) = (Generation(1), Generation(5));
    let stale = Err(AppendError::Fenced { mine, current });
    for handle in [&old, &new] {
        for (stream, expected) in [(StreamId::Control, 3), (make.operation(), 0)] {
            let append = fenced(holds, make.append(stream, expected, &["stale"]));
            assert_eq!(handle.append(append).await, stale);
            let append = fenced(advance(1, 9), make.append(stream, expected, &["stale"]));
            assert_eq!(handle.append(append).await, stale);
        }
    }
    assert_eq!(old.generation().await, Ok(Generation(5)));
    assert_eq!(all(&*new).await.len(), 3);
    must(
        &*old,
        make.append(StreamId::Control, 3, &["no coordinator's"]),
    )
    .await;
}

/// Two candidates at once.
pub async fn only_one_takes_the_next_generation(backend: &dyn Backend) {
    let make = Maker::new();
    let mut candidates = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let record = backend.open().await;
        let mut append = make.append(StreamId::Control, 0, &["I coordinate"]);
        append.fence = Fence::Advance {
            from: Generation(0),
            to: Generation(1),
        };
        candidates.spawn(async move { record.append(append).await });
    }
    let outcomes = candidates.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes {
        let lost = matches!(outcome, Err(AppendError::Fenced { .. }));
        assert!(lost || outcome.is_ok(), "{outcome:?}");
    }
}

/// Through different handles, expecting the same; the losers conflict and nothing of theirs is there.
pub async fn of_concurrent_appenders_one_wins(backend: &dyn Backend) {
    let make = Maker::new();
    for round in 0..5 {
        let mut appenders = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let record = backend.open().await;
            let append = make.append(StreamId::Control, round, &["mine"]);
            appenders.spawn(async move { record.append(append).await });
        }
        let outcomes = appenders.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for outcome in outcomes {
            let lost = matches!(outcome, Err(AppendError::Conflict { .. }));
            assert!(lost || outcome.is_ok(), "{outcome:?}");
        }
    }
    assert_eq!(all(&*backend.open().await).await.len(), 5);
}

/// Appenders to different streams never conflict, and every stream is complete and in order.
pub async fn concurrent_streams_all_get_in(backend: &dyn Backend) {
    const EACH: u64 = 10;
    let mut appenders = tokio::task::JoinSet::new();
    for appender in 0..4 {
        let record = backend.open().await;
        appenders.spawn(async move {
            let make = Maker(SeededIds::new(appender));
            let stream = make.operation();
            for expected in 0..EACH {
                must(
                    &*record,
                    make.append(stream, expected, &[&format!("{expected}")]),
                )
                .await;
            }
            stream
        });
    }
    let streams = appenders.join_all().await;
    let record = backend.open().await;
    let everything = all(&*record).await;
    assert!(everything.is_sorted_by(|a, b| a.position < b.position));
    for stream in streams {
        let entries = record
            .read(stream, Seq(0), usize::MAX)
            .await
            .expect("available");
        let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq.0).collect();
        assert_eq!(seqs, (1..=EACH).collect::<Vec<_>>());
        let of_stream: Vec<_> = everything
            .iter()
            .filter(|entry| entry.stream == stream)
            .cloned()
            .collect();
        assert_eq!(of_stream, entries);
    }
}

/// Pages of any size give the same as one read.
pub async fn reads_page_without_gaps(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    for n in 0..7 {
        must(&*record, make.append(StreamId::Control, n, &["c"])).await;
        must(&*record, make.append(StreamId::Catalogue, n, &["p"])).await;
    }
    let whole = all(&*record).await;
    assert_eq!(whole.len(), 14);
    for limit in [1, 3, 14, 100] {
        let mut pages = Vec::new();
        let mut after = Position(0);
        loop {
            let page = record.read_since(after, limit).await.expect("available");
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit);
            after = last.position;
            pages.extend(page);
        }
        assert_eq!(pages, whole);
    }
    let tail = record
        .read(StreamId::Catalogue, Seq(5), 1)
        .await
        .expect("available");
    assert_eq!((tail.len(), tail[0].seq), (1, Seq(6)));
    assert_eq!(
        record.read(StreamId::Catalogue, Seq(7), 9).await,
        Ok(vec![])
    );
    assert_eq!(record.read_since(Position(u64::MAX), 9).await, Ok(vec![]));
}

/// The appender's own and any other.
pub async fn the_doorbell_rings_for_every_handle(backend: &dyn Backend) {
    let (mine, other, make) = (backend.open().await, backend.open().await, Maker::new());
    let mut bells = [mine.doorbell(), other.doorbell()];
    for expected in 0..3 {
        for bell in &mut bells {
            bell.mark_unchanged();
        }
        must(&*mine, make.append(StreamId::Control, expected, &["ding"])).await;
        for bell in &mut bells {
            timeout(RING, bell.changed())
                .await
                .expect("it rings in time")
                .expect("it hangs");
        }
        let seen = other.read_since(Position(0), 10).await.expect("available");
        assert_eq!(seen.len() as u64, expected + 1);
    }
}

/// A holder keeps it by renewing; others learn who it is and for how long.
pub async fn a_lease_is_taken_renewed_and_released(backend: &dyn Backend) {
    let (record, other) = (backend.open().await, backend.open().await);
    let (one, two) = (node("one"), node("two"));
    let ttl = Duration::from_secs(10);
    assert!(
        record
            .lease("c", &one, ttl)
            .await
            .expect("available")
            .is_held_by(&one)
    );
    for _ in 0..3 {
        backend.pass(Duration::from_secs(6)).await;
        let seen = other.lease("c", &two, ttl).await.expect("available");
        assert!(seen.is_held_by(&one));
        assert!(seen.remaining <= Duration::from_secs(4), "{seen:?}");
        let renewed = record.lease("c", &one, ttl).await.expect("available");
        assert!(renewed.is_held_by(&one));
        assert_eq!(renewed.remaining, ttl);
    }
    assert!(
        other
            .lease("another", &two, ttl)
            .await
            .expect("available")
            .is_held_by(&two)
    );
    other.release("c", &two).await.expect("available");
    assert!(
        other
            .lease("c", &two, ttl)
            .await
            .expect("available")
            .is_held_by(&one)
    );
    record.release("c", &one).await.expect("available");
    assert!(
        other
            .lease("c", &two, ttl)
            .await
            .expect("available")
            .is_held_by(&two)
    );
}

/// Not renewed, it can be taken by another, and the first learns so.
pub async fn an_expired_lease_is_anyones(backend: &dyn Backend) {
    let record = backend.open().await;
    let (one, two) = (node("one"), node("two"));
    let ttl = Duration::from_secs(10);
    record.lease("c", &one, ttl).await.expect("available");
    backend.pass(ttl + Duration::from_millis(1)).await;
    assert!(
        record
            .lease("c", &two, ttl)
            .await
            .expect("available")
            .is_held_by(&two)
    );
    assert!(
        record
            .lease("c", &one, ttl)
            .await
            .expect("available")
            .is_held_by(&two)
    );
}

/// Many ask at once: all are told the same holder.
pub async fn a_lease_has_one_holder_among_many(backend: &dyn Backend) {
    let mut askers = tokio::task::JoinSet::new();
    for asker in 0..8 {
        let record = backend.open().await;
        let name = node(&format!("node{asker}"));
        askers.spawn(async move { record.lease("c", &name, Duration::from_secs(60)).await });
    }
    let told = askers.join_all().await;
    let holders: std::collections::BTreeSet<NodeName> = told
        .into_iter()
        .map(|state| state.expect("available").holder)
        .collect();
    assert_eq!(holders.len(), 1);
}

/// Stored once or twice, read through any handle; an unknown digest is nothing.
pub async fn values_are_kept_by_digest(backend: &dyn Backend) {
    let (record, other) = (backend.open().await, backend.open().await);
    let value: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = record.put_blob(value.clone()).await.expect("it fits");
    assert_eq!(other.put_blob(value.clone()).await, Ok(digest));
    assert_eq!(other.get_blob(digest).await, Ok(Some(value)));
    let empty = record.put_blob(vec![]).await.expect("it fits");
    assert_eq!(record.get_blob(empty).await, Ok(Some(vec![])));
    assert_eq!(
        record.get_blob(evenkeel_model::Digest([7; 32])).await,
        Ok(None)
    );
}

/// At the limit it goes, above it does not.
pub async fn limits_are_kept(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let mut append = make.append(StreamId::Control, 0, &["x"]);
    append.writes[0].events[0].body = "7".repeat(MAX_EVENT_BYTES);
    must(&*record, append).await;
    let mut append = make.append(StreamId::Control, 1, &["x"]);
    append.writes[0].events[0].body = "7".repeat(MAX_EVENT_BYTES + 1);
    assert!(matches!(
        record.append(append).await,
        Err(AppendError::TooLarge { .. })
    ));
    let many = vec!["x"; MAX_EVENTS_PER_APPEND + 1];
    let result = record
        .append(make.append(StreamId::Control, 1, &many))
        .await;
    assert!(matches!(result, Err(AppendError::TooLarge { .. })));
    must(&*record, make.append(StreamId::Control, 1, &many[1..])).await;
    let result = record.put_blob(vec![0; MAX_BLOB_BYTES + 1]).await;
    assert!(matches!(result, Err(PutBlobError::TooLarge { .. })));
}

/// Callers' faults are named and change nothing.
pub async fn invalid_appends_are_refused(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let nothing = Append {
        fence: Fence::None,
        writes: vec![],
    };
    let mut twice = make.append(StreamId::Control, 0, &["one"]);
    twice
        .writes
        .push(make.write(StreamId::Control, 0, &["two"]));
    let mut same_id = make.append(StreamId::Control, 0, &["one"]);
    let copy = same_id.writes[0].events[0].clone();
    same_id.writes[0].events.push(copy);
    let mut backwards = make.append(StreamId::Control, 0, &["one"]);
    backwards.fence = Fence::Advance {
        from: Generation(0),
        to: Generation(0),
    };
    for invalid in [nothing, twice, same_id, backwards] {
        let result = record.append(invalid).await;
        assert!(matches!(result, Err(AppendError::Invalid(_))), "{result:?}");
    }
    assert_eq!(all(&*record).await, []);
}

/// All handles gone, a new one finds what was there.
pub async fn reopening_keeps_everything(backend: &dyn Backend) {
    let (record, make) = (backend.open().await, Maker::new());
    let mut append = make.append(StreamId::Control, 0, &["one", "two"]);
    append.fence = Fence::Advance {
        from: Generation(0),
        to: Generation(3),
    };
    must(&*record, append.clone()).await;
    let digest = record.put_blob(b"value".to_vec()).await.expect("it fits");
    let before = all(&*record).await;
    drop(record);

    let record = backend.open().await;
    assert_eq!(all(&*record).await, before);
    assert_eq!(record.generation().await, Ok(Generation(3)));
    assert_eq!(record.get_blob(digest).await, Ok(Some(b"value".to_vec())));
    assert_eq!(record.append(append).await, Ok(before[1].position));
    must(&*record, make.append(StreamId::Control, 2, &["three"])).await;
    let after = all(&*record).await;
    assert_eq!(bodies(&after[..2]), bodies(&before));
    assert!(after[2].position > before[1].position);
}
