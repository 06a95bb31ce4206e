//! What is never opened, and what is said instead.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_model::{NodeName, Position, StreamId};
use evenkeel_record::{
    AppendError, MountRule, PoolOptions, Record, SharedPoolRecord, StandIn, Survival, Unavailable,
    lock_path,
};
use tokio::time::sleep;

use crate::pair::{Node, PATIENCE, Pair, lock, name, one, seat, until};

/// What is said once it is said.
async fn says(record: &Arc<SharedPoolRecord>, what: &str) -> String {
    let begun = tokio::time::Instant::now();
    loop {
        let said = match record.generation().await {
            Err(Unavailable { why }) if why.contains(what) => return why,
            other => format!("{other:?}"),
        };
        assert!(begun.elapsed() < PATIENCE, "{what:?} is not in {said}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_sits_it_says_so_of_both_nodes() {
    let pair = Pair::new();
    let why = says(&pair.nodes[0].record, "; n2: ").await;
    for part in [
        "n1 does not hold the record since 20",
        "the HA engine has not given it the pool; n2: n2 does not hold the record since",
    ] {
        assert!(why.contains(part), "{why}");
    }
    let refused = pair.nodes[0].record.append(one(StreamId::Control, 0)).await;
    assert!(
        matches!(refused, Err(AppendError::Unavailable(_))),
        "{refused:?}"
    );
    pair.nodes[0].line.cut.store(true, Ordering::Relaxed);
    says(
        &pair.nodes[0].record,
        "n2: it cannot be reached: connection refused",
    )
    .await;
    assert!(!pair.file().exists(), "nobody made a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_without_an_answer_is_unknown_and_settled_by_asking_again() {
    let pair = Pair::new();
    let [n1, n2] = &pair.nodes;
    n1.sit().await;
    n2.line.lose_every.store(1, Ordering::Relaxed);
    let append = one(StreamId::Control, 0);
    let unknown = n2.record.append(append.clone()).await;
    assert!(
        matches!(unknown, Err(AppendError::Unknown(_))),
        "{unknown:?}"
    );
    n2.line.lose_every.store(0, Ordering::Relaxed);
    // Here or there: the seat may have moved meanwhile.
    n1.take().await;
    n2.sit().await;
    let position = n1.record.append(append.clone()).await.unwrap();
    assert_eq!(n2.record.append(append).await, Ok(position));
    assert_eq!(n2.record.read_since(Position(0), 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_seats_are_one_too_many_and_the_second_does_not_open_the_file() {
    let pair = Pair::new();
    let [n1, n2] = &pair.nodes;
    n1.sit().await;
    n2.give();
    until("the second one to say why", || {
        // It asks the first one for everything meanwhile, which is right.
        lock_path(&n2.options.seat).exists()
    })
    .await;
    n2.record.append(one(StreamId::Control, 0)).await.unwrap();
    sleep(Duration::from_millis(700)).await;
    assert!(!n2.record.sits());
    n1.take().await;
    until("the second one to sit", || n2.record.sits()).await;
}

/// Fencing did not hold, and the partner cannot be asked: who opened the file last has it, and the other one finds out.
#[tokio::test(flavor = "multi_thread")]
async fn who_opened_the_file_first_writes_nothing_more() {
    let pair = Pair::new();
    let [n1, n2] = &pair.nodes;
    for node in [n1, n2] {
        node.line.cut.store(true, Ordering::Relaxed);
    }
    n1.sit().await;
    n1.record.append(one(StreamId::Control, 0)).await.unwrap();
    n2.sit().await;
    let refused = n1
        .record
        .append(one(StreamId::Control, 1))
        .await
        .unwrap_err();
    let AppendError::Unavailable(Unavailable { why }) = refused else {
        panic!("{refused}")
    };
    assert!(
        why.contains("n2 has opened the record's file after this node did"),
        "{why}"
    );
    let lease = n1
        .record
        .lease("c", &name("n1"), Duration::from_secs(9))
        .await;
    assert!(lease.is_err());
    n2.record.append(one(StreamId::Control, 1)).await.unwrap();
    // Closing does not take the mark from who has it.
    n1.take().await;
    n2.record.append(one(StreamId::Control, 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_of_another_file_or_without_a_pool_is_not_taken() {
    let pair = Pair::new();
    let node = &pair.nodes[0];
    seat(&node.options.seat, &pair.dir.path().join("other.db"));
    says(&node.record, "must name the same file").await;
    fs::write(&node.options.seat, "record.db").unwrap();
    says(&node.record, "which is no absolute path").await;
    fs::remove_file(&node.options.seat).unwrap();
    says(&node.record, "has not given it the pool").await;

    // A folder in the root's own filesystem: the pool is not mounted.
    let own = pair.dir.path().join("root");
    fs::create_dir(&own).unwrap();
    let options = PoolOptions {
        path: "/usr/evenkeel-never-made.db".into(),
        seat: own.join("seat"),
        mount: MountRule::Mounted,
        ..node.options.clone()
    };
    let unmounted = Node::start(options);
    unmounted.give();
    says(&unmounted.record, "/usr is on the root filesystem").await;
    assert!(!unmounted.options.path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_process_has_is_waited_for() {
    let pair = Pair::new();
    let node = &pair.nodes[0];
    let held = lock(&lock_path(&node.options.seat));
    node.give();
    says(&node.record, "another process holds").await;
    assert!(!pair.file().exists());
    drop(held);
    until("the node to sit", || node.record.sits()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_ours_begins_no_record_and_takes_no_other() {
    let pair = Pair::new();
    let [n1, n2] = &pair.nodes;
    n1.sit().await;
    n1.record.append(one(StreamId::Control, 0)).await.unwrap();
    // The other node learns which record it is, too.
    until("the other node to know", || n2.options.memory.exists()).await;
    n1.take().await;

    let aside = pair.dir.path().join("aside.db");
    fs::rename(pair.file(), &aside).unwrap();
    n2.give();
    says(
        &n2.record,
        "does not exist, and this node knows a record already",
    )
    .await;
    assert!(!pair.file().exists());
    fs::remove_file(&n2.options.seat).unwrap();

    let stranger = Pair::new();
    stranger.nodes[0].sit().await;
    stranger.nodes[0].take().await;
    let before = fs::read(stranger.file()).unwrap();
    fs::write(pair.file(), &before).unwrap();
    n2.give();
    says(&n2.record, "is not the one that this node knows").await;
    assert!(
        fs::read(pair.file()).unwrap() == before,
        "nothing was written to it"
    );
    let log = fs::metadata(pair.log());
    assert_eq!(log.map_or(0, |it| it.len()), 0, "nor to its log");
    fs::write(pair.file(), "").unwrap();
    says(&n2.record, "the file is no record").await;
    assert_eq!(fs::metadata(pair.file()).unwrap().len(), 0);
    fs::rename(&aside, pair.file()).unwrap();
    until("the node to sit", || n2.record.sits()).await;
    assert_eq!(n2.record.read_since(Position(0), 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_with_another_record_is_not_asked_for_anything() {
    let (ours, theirs) = (Pair::new(), Pair::new());
    ours.nodes[0].sit().await;
    ours.nodes[0].take().await;
    theirs.nodes[1].sit().await;
    ours.nodes[0].line.leads_to(&theirs.nodes[1].record);
    let why = says(&ours.nodes[0].record, "and the partner knows").await;
    assert!(why.contains("n2 holds the record"), "{why}");
    let refused = ours.nodes[0].record.append(one(StreamId::Control, 0)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))));
    assert!(
        theirs.nodes[1]
            .record
            .read_since(Position(0), 9)
            .await
            .unwrap()
            .is_empty()
    );
}

/// What the HA engine says, for the test to change.
struct Engine(std::sync::Mutex<Result<(), String>>);

impl StandIn for Engine {
    fn can_take(&self, _: &NodeName) -> Result<(), String> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_survives_as_long_as_somebody_is_left_to_take_it() {
    let pair = Pair::new();
    let [_, n2] = &pair.nodes;
    let own = pair.dir.path().join("engine");
    fs::create_dir(&own).unwrap();
    let engine = Arc::new(Engine(std::sync::Mutex::new(Ok(()))));
    let options = PoolOptions {
        seat: own.join("seat"),
        stand_in: Some(Arc::clone(&engine) as Arc<dyn StandIn>),
        ..pair.nodes[0].options.clone()
    };
    let n1 = Node::start(options);
    n2.line.leads_to(&n1.record);
    n1.line.cut.store(true, Ordering::Relaxed);
    n2.line.cut.store(true, Ordering::Relaxed);
    n1.sit().await;
    let (one, two) = (name("n1"), name("n2"));
    let survives = |down: &[NodeName]| match n1.record.survives_without(down) {
        Survival::Survives => Ok(()),
        Survival::Lost { why } => Err(why),
    };
    assert_eq!(survives(&[]), Ok(()));
    assert_eq!(survives(std::slice::from_ref(&two)), Ok(()), "it sits here");
    let both = survives(&[one.clone(), two]).unwrap_err();
    assert!(both.contains("nobody else can mount it"), "{both}");
    // The partner's daemon has never been heard of.
    let silent = survives(std::slice::from_ref(&one)).unwrap_err();
    assert!(
        silent.contains("n2 would have to hold the record"),
        "{silent}"
    );
    n2.line.cut.store(false, Ordering::Relaxed);
    n2.record.generation().await.unwrap();
    assert_eq!(survives(std::slice::from_ref(&one)), Ok(()));
    *engine.0.lock().unwrap() = Err("n2 is in standby".to_owned());
    let standby = survives(std::slice::from_ref(&one)).unwrap_err();
    assert!(standby.contains("n2 cannot take the record's pool: n2 is in standby"));
    *engine.0.lock().unwrap() = Ok(());
    n2.line.cut.store(true, Ordering::Relaxed);
    // News may be under way.
    sleep(Duration::from_millis(50)).await;
    pair.clock.pass(Duration::from_secs(60));
    until("silence", || survives(std::slice::from_ref(&one)).is_err()).await;
    // Seen from the other side: the holder is the one that is left.
    n2.line.cut.store(false, Ordering::Relaxed);
    n2.record.generation().await.unwrap();
    assert_eq!(
        n2.record.survives_without(&[name("n2")]),
        Survival::Survives
    );
}
