//! Following the record and writing to it, over the memory backend with its faults.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::story::{Story, node, user, wall};
use async_trait::async_trait;
use evenkeel_model::*;
use evenkeel_record::{
    Append, AppendError, Entry, Fence, FollowOptions, Follower, Loyalty, MemoryFaults, MemoryHub,
    MemoryRecord, Mirror, MirrorError, NewEvent, NextAppend, NoMirror, Record, StreamWrite, View,
    Write, Writer,
};
use evenkeel_seam::{Clock, SeededIds, TokioClock};

/// A mirror in memory that can be told to fail.
#[derive(Default)]
struct TestMirror {
    entries: Mutex<Vec<Entry>>,
    fails: Mutex<bool>,
}

impl TestMirror {
    fn with(entries: &[Entry]) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::new(entries.to_vec()),
            fails: Mutex::new(false),
        })
    }

    fn kept(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    fn check(&self) -> Result<(), MirrorError> {
        match *self.fails.lock().unwrap() {
            true => Err(MirrorError {
                why: "disk full".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Mirror for TestMirror {
    async fn load(&self) -> Result<Vec<Entry>, MirrorError> {
        self.check().map(|()| self.kept())
    }

    async fn store(&self, entries: &[Entry]) -> Result<(), MirrorError> {
        self.check()?;
        self.entries.lock().unwrap().extend_from_slice(entries);
        Ok(())
    }

    async fn clear(&self) -> Result<(), MirrorError> {
        self.check()?;
        self.entries.lock().unwrap().clear();
        Ok(())
    }
}

struct Bench {
    hub: MemoryHub,
    record: Arc<MemoryRecord>,
    clock: Arc<dyn Clock>,
    writer: Writer,
}

impl Bench {
    fn new() -> Self {
        let hub = MemoryHub::new();
        let record = Arc::new(hub.client(1));
        let boot = BootId(uuid::Uuid::from_u128(1));
        let clock = Arc::new(TokioClock::new(boot, tokio::time::Instant::now(), wall(0)));
        let ids = Arc::new(SeededIds::new(2));
        let writer = Writer::new(Arc::new(hub.client(2)), ids);
        Self {
            hub,
            record,
            clock,
            writer,
        }
    }

    async fn follow(&self, mirror: Arc<dyn Mirror>) -> Follower {
        self.follow_as(mirror, Loyalty::ToItsCluster).await
    }

    async fn follow_as(&self, mirror: Arc<dyn Mirror>, loyalty: Loyalty) -> Follower {
        let record = Arc::clone(&self.record) as Arc<dyn Record>;
        let options = FollowOptions {
            loyalty,
            ..FollowOptions::default()
        };
        Follower::start(record, mirror, Arc::clone(&self.clock), options).await
    }

    /// Appends entries as they are, to an empty record.
    async fn put_back(&self, entries: &[Entry]) {
        for entry in entries {
            let event = NewEvent {
                id: entry.id,
                body: entry.body.clone(),
            };
            let write = StreamWrite {
                stream: entry.stream,
                expected: Seq(entry.seq.0 - 1),
                events: vec![event],
            };
            let append = Append {
                fence: Fence::None,
                writes: vec![write],
            };
            self.writer.send(append).await.unwrap();
        }
    }

    fn cut(&self, partitioned: bool) {
        self.record.set_faults(MemoryFaults {
            partitioned,
            ..MemoryFaults::default()
        });
    }

    async fn boot(&self, expected: u64, name: &str) -> Position {
        self.writer
            .append(Fence::None, vec![boot(expected, name)])
            .await
            .unwrap()
    }
}

fn boot(expected: u64, name: &str) -> Write {
    let event = ControlEvent::NodeBooted {
        at: wall(1),
        node: node(name),
        boot_id: BootId(uuid::Uuid::from_u128(3)),
        version: None,
        daemon: "0.1.0".to_owned(),
        machine: MachineId::default(),
    };
    let events = vec![Event::Control(event)];
    Write {
        stream: StreamId::Control,
        expected: Seq(expected),
        events,
    }
}

/// The first view that satisfies `wanted`, within a bound of virtual time.
async fn view_with(follower: &Follower, wanted: impl Fn(&View) -> bool) -> Arc<View> {
    let mut views = follower.views();
    let found = async { Arc::clone(&*views.wait_for(|view| wanted(view)).await.unwrap()) };
    tokio::time::timeout(Duration::from_secs(60), found)
        .await
        .expect("it comes in time")
}

#[tokio::test(start_paused = true)]
async fn what_is_appended_is_seen_and_told() {
    let bench = Bench::new();
    let follower = bench.follow(Arc::new(NoMirror)).await;
    let mut entries = follower.entries();
    let position = bench.boot(0, "n1").await;
    let view = view_with(&follower, |view| view.position() == position).await;
    assert!(view.control().booted.contains_key(&node("n1")));
    assert_eq!(entries.recv().await.unwrap().position, position);
    assert!(follower.contact().is_reachable());
}

#[tokio::test(start_paused = true)]
async fn a_lost_ring_costs_time_only() {
    let bench = Bench::new();
    let follower = bench.follow(Arc::new(NoMirror)).await;
    follower.refresh().await.unwrap();
    let deaf = MemoryFaults {
        lost_doorbell_per_mille: 1000,
        ..MemoryFaults::default()
    };
    bench.record.set_faults(deaf);
    let position = bench.boot(0, "n1").await;
    let before = tokio::time::Instant::now();
    view_with(&follower, |view| view.position() == position).await;
    assert!(before.elapsed() <= FollowOptions::default().poll);
}

#[tokio::test(start_paused = true)]
async fn an_own_append_is_in_the_view_when_asked_for() {
    let bench = Bench::new();
    let follower = bench.follow(Arc::new(NoMirror)).await;
    for expected in 0..5 {
        let position = bench.boot(expected, "n1").await;
        let view = follower.at_least(position).await.unwrap();
        assert!(view.position() >= position);
    }
    bench.cut(true);
    let position = bench.boot(5, "n1").await;
    assert!(
        follower.at_least(position).await.is_err(),
        "it does not pretend"
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_record_the_mirror_answers_and_its_age_is_known() {
    let bench = Bench::new();
    let mirror = Arc::new(TestMirror::default());
    let follower = bench.follow(Arc::clone(&mirror) as Arc<dyn Mirror>).await;
    let position = bench.boot(0, "n1").await;
    view_with(&follower, |view| view.position() == position).await;
    bench.cut(true);
    let mut contacts = follower.contacts();
    contacts
        .wait_for(|contact| !contact.is_reachable())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let contact = follower.contact();
    assert!(contact.trouble.is_some());
    let age = contact.age(bench.clock.monotonic()).unwrap();
    assert!(
        age >= Duration::from_secs(100) && age < Duration::from_secs(105),
        "{age:?}"
    );

    // Started anew while cut off: it answers from the mirror, and says that it never reached the record.
    let view = follower.view();
    drop(follower);
    let follower = bench.follow(mirror).await;
    assert_eq!(*follower.view(), *view);
    assert!(follower.refresh().await.is_err());
    assert_eq!(follower.contact().last, None);
    assert_eq!(follower.contact().age(bench.clock.monotonic()), None);

    bench.boot(1, "n2").await;
    bench.cut(false);
    view_with(&follower, |view| view.control().booted.len() == 2).await;
    assert!(follower.contact().is_reachable());
}

#[tokio::test(start_paused = true)]
async fn a_mirror_of_something_else_is_discarded_by_a_node_without_a_cluster() {
    let bench = Bench::new();
    let position = bench.boot(0, "n1").await;
    // As long as the record, longer, or with a hole: none of it is the record's.
    let other = Story::cluster().entries;
    for entries in [&other[..1], &other[..3], &other[1..]] {
        let mirror = TestMirror::with(entries);
        let follower = bench
            .follow_as(Arc::clone(&mirror) as Arc<dyn Mirror>, Loyalty::ToNone)
            .await;
        let view = view_with(&follower, |view| view.position() == position).await;
        let view = match view.control().topology {
            None => view,
            Some(_) => view_with(&follower, |view| view.control().topology.is_none()).await,
        };
        assert_eq!(View::replay(&bench.hub.entries()).unwrap(), *view);
        follower.refresh().await.unwrap();
        assert_eq!(mirror.kept(), bench.hub.entries());
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_keeps_its_copy_beside_a_record_that_is_not_its_clusters() {
    let own = Story::cluster().entries;
    for other in [false, true] {
        let bench = Bench::new();
        if other {
            bench.boot(0, "stranger").await;
        }
        let before = bench.hub.entries();
        let mirror = TestMirror::with(&own);
        let follower = bench.follow(Arc::clone(&mirror) as Arc<dyn Mirror>).await;
        let why = follower.refresh().await.unwrap_err().why;
        let what = if other {
            "holds another cluster"
        } else {
            "is empty"
        };
        assert!(why.contains(what) && why.contains("\"lab\""), "{why}");
        assert_eq!(follower.contact().trouble, Some(why));
        assert_eq!(*follower.view(), View::replay(&own).unwrap());
        assert_eq!(mirror.kept(), own);

        // Not even what would fit into its streams.
        let record = Arc::clone(&bench.record) as Arc<dyn Record>;
        let writer = Writer::new(Arc::new(follower.own(record)), Arc::new(SeededIds::new(3)));
        let expected = before.len() as u64;
        let refused = writer.append(Fence::None, vec![boot(expected, "n1")]).await;
        assert!(
            matches!(refused, Err(AppendError::Unavailable(_))),
            "{refused:?}"
        );
        assert_eq!(bench.hub.entries(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_wiped_under_its_follower_is_noticed_whatever_is_put_in_its_place() {
    let own = Story::cluster().entries;
    let bench = Bench::new();
    bench.put_back(&own).await;
    let mirror = TestMirror::with(&[]);
    let follower = bench.follow(Arc::clone(&mirror) as Arc<dyn Mirror>).await;
    let view = follower.refresh().await.unwrap();
    bench.hub.wipe();
    let why = follower.refresh().await.unwrap_err().why;
    assert!(why.contains("is empty"), "{why}");
    // Another cluster begins there, and its record gets longer than ours was.
    for number in 0..own.len() as u64 + 3 {
        bench.boot(number, "stranger").await;
        let why = follower.refresh().await.unwrap_err().why;
        assert!(why.contains("holds another cluster"), "{number}: {why}");
    }
    assert_eq!(*follower.view(), *view);
    assert_eq!(mirror.kept(), own);
    let record = Arc::clone(&bench.record) as Arc<dyn Record>;
    assert!(follower.own(record).generation().await.is_err());
    bench.hub.wipe();
    bench.put_back(&own).await;
    follower.refresh().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_cluster_that_has_grown_meanwhile_is_not_followed() {
    let own = Story::cluster().entries;
    let bench = Bench::new();
    bench.put_back(&own).await;
    let follower = bench.follow(Arc::new(NoMirror)).await;
    let view = follower.refresh().await.unwrap();
    bench.hub.wipe();
    for number in 0..own.len() as u64 + 3 {
        bench.boot(number, "stranger").await;
    }
    let why = follower.refresh().await.unwrap_err().why;
    assert!(why.contains("holds another cluster"), "{why}");
    assert_eq!(*follower.view(), *view);
}

#[tokio::test(start_paused = true)]
async fn the_record_that_is_put_back_is_followed_by_itself() {
    let own = Story::cluster().entries;
    let bench = Bench::new();
    let mirror = TestMirror::with(&own);
    let follower = bench.follow(Arc::clone(&mirror) as Arc<dyn Mirror>).await;
    follower.refresh().await.unwrap_err();
    // An older backup, which then goes another way.
    bench.put_back(&own[..1]).await;
    view_with(&follower, |view| view.position() == own[0].position).await;
    follower.refresh().await.unwrap();
    let position = bench.boot(1, "n1").await;
    follower.at_least(position).await.unwrap();
    assert!(follower.contact().is_reachable());
    assert_eq!(mirror.kept(), bench.hub.entries());
    let record = Arc::clone(&bench.record) as Arc<dyn Record>;
    assert!(follower.own(record).generation().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_older_mirror_is_continued_and_a_failing_one_catches_up() {
    let bench = Bench::new();
    bench.boot(0, "n1").await;
    let mirror = TestMirror::with(&bench.hub.entries());
    let position = bench.boot(1, "n2").await;
    let follower = bench.follow(Arc::clone(&mirror) as Arc<dyn Mirror>).await;
    assert_eq!(follower.view().control().booted.len(), 1, "there at once");
    follower.at_least(position).await.unwrap();
    assert_eq!(mirror.kept(), bench.hub.entries());

    *mirror.fails.lock().unwrap() = true;
    let position = bench.boot(2, "n3").await;
    follower.at_least(position).await.unwrap();
    assert_eq!(mirror.kept().len(), 2, "the view goes on without it");
    *mirror.fails.lock().unwrap() = false;
    let position = bench.boot(3, "n4").await;
    follower.at_least(position).await.unwrap();
    assert_eq!(mirror.kept(), bench.hub.entries());
}

#[tokio::test(start_paused = true)]
async fn an_append_to_several_streams_is_seen_whole() {
    let bench = Bench::new();
    let follower = bench.follow(Arc::new(NoMirror)).await;
    let mut views = follower.views();
    let watching = tokio::spawn(async move {
        while views.changed().await.is_ok() {
            let view = Arc::clone(&views.borrow_and_update());
            // Admitted in control means requested in its own stream.
            assert_eq!(view.control().open.len(), view.open_operations().count());
            if view.control().operations.len() == 3 {
                return;
            }
        }
    });
    let mut expected = 0;
    for n in 0..3 {
        let id = OperationId(uuid::Uuid::from_u128(100 + n));
        let (at, kind) = (wall(1), OperationKind::Validation);
        let started = ControlEvent::OperationStarted {
            at,
            operation: id,
            kind,
        };
        let request = Request::Validate {
            version: crate::story::version("2.0"),
        };
        let requested = OperationEvent::Requested {
            at,
            by: user(),
            request,
        };
        let writes = |expected, event, stream| Write {
            stream,
            expected,
            events: vec![event],
        };
        let control = writes(Seq(expected), Event::Control(started), StreamId::Control);
        let stream = StreamId::Operation(id);
        let own = writes(Seq(0), Event::Operation(requested), stream);
        bench
            .writer
            .append(Fence::None, vec![control, own])
            .await
            .unwrap();
        let ended = ControlEvent::OperationEnded { at, operation: id };
        let ended = writes(Seq(expected + 1), Event::Control(ended), StreamId::Control);
        let completed = OperationEvent::ended(at, OperationEnd::Completed);
        let completed = writes(Seq(1), Event::Operation(completed), stream);
        bench
            .writer
            .append(Fence::None, vec![ended, completed])
            .await
            .unwrap();
        expected += 2;
    }
    tokio::time::timeout(Duration::from_secs(60), watching)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_writer_settles_what_it_does_not_know() {
    for outcome in [NextAppend::UnknownApplied, NextAppend::UnknownNotApplied] {
        let bench = Bench::new();
        bench.record.script(outcome);
        bench.record.script(NextAppend::UnknownNotApplied);
        let ids = Arc::new(SeededIds::new(3));
        let writer = Writer::new(Arc::clone(&bench.record) as Arc<dyn Record>, ids);
        writer
            .append(Fence::None, vec![boot(0, "n1")])
            .await
            .unwrap();
        assert_eq!(bench.hub.entries().len(), 1, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_finds_another_in_its_place_knows_that_it_lost() {
    let bench = Bench::new();
    let ids = Arc::new(SeededIds::new(3));
    let writer = Writer::new(Arc::clone(&bench.record) as Arc<dyn Record>, ids);
    bench.record.script(NextAppend::UnknownNotApplied);
    let ours = tokio::spawn(async move { writer.append(Fence::None, vec![boot(0, "n1")]).await });
    tokio::task::yield_now().await;
    bench.boot(0, "n2").await;
    let lost = ours.await.unwrap();
    assert!(
        matches!(lost, Err(AppendError::Conflict { .. })),
        "{lost:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_writer_cut_off_gives_up_in_bounded_time_and_can_ask_again() {
    let bench = Bench::new();
    let ids = Arc::new(SeededIds::new(3));
    let record = Arc::clone(&bench.record) as Arc<dyn Record>;
    let writer = Writer::new(record, ids).settle_for(Duration::from_secs(5));
    let append = writer.prepare(Fence::None, vec![boot(0, "n1")]);
    bench.record.script(NextAppend::UnknownApplied);
    let sending = tokio::spawn({
        let (writer, append) = (writer.clone(), append.clone());
        async move { writer.send(append).await }
    });
    tokio::task::yield_now().await;
    bench.cut(true);
    let before = tokio::time::Instant::now();
    let unknown = sending.await.unwrap();
    assert!(
        matches!(unknown, Err(AppendError::Unknown(_))),
        "unavailable would be a lie"
    );
    assert!(before.elapsed() <= Duration::from_secs(5));
    bench.cut(false);
    assert_eq!(writer.send(append).await, Ok(Position(1)));
    assert_eq!(bench.hub.entries().len(), 1);
}
