//! The memory backend: conformance, and its faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{EventId, NodeName, Position, Seq, StreamId};
use evenkeel_record::conformance::Backend;
use evenkeel_record::{
    Append, AppendError, Fence, LinkedRecord, MemoryFaults, MemoryHub, NewEvent, NextAppend,
    Record, StreamWrite, Survival,
};
use evenkeel_seam::watch;
use evenkeel_seam::{Ids, LinkState, SeededIds};

#[derive(Default)]
struct Memory {
    hub: MemoryHub,
    seed: AtomicU64,
}

#[async_trait]
impl Backend for Memory {
    async fn open(&self) -> Arc<dyn Record> {
        let client = self.hub.client(self.seed.fetch_add(1, Ordering::Relaxed));
        client.set_faults(MemoryFaults {
            max_delay: Duration::from_micros(500),
            ..MemoryFaults::default()
        });
        Arc::new(client)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

evenkeel_record::conformance_tests!(Memory::default, start_paused = true);

fn one(ids: &SeededIds, expected: u64) -> Append {
    let events = vec![NewEvent {
        id: EventId(ids.uuid()),
        body: "{}".to_owned(),
    }];
    let write = StreamWrite {
        stream: StreamId::Control,
        expected: Seq(expected),
        events,
    };
    Append {
        fence: Fence::None,
        writes: vec![write],
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_settled_by_the_same_ids() {
    let (hub, ids) = (MemoryHub::new(), SeededIds::new(1));
    let record = hub.client(1);
    for (outcome, there) in [
        (NextAppend::UnknownApplied, 1),
        (NextAppend::UnknownNotApplied, 1),
    ] {
        let append = one(&ids, there - 1);
        record.script(outcome);
        let unknown = record.append(append.clone()).await;
        assert!(matches!(unknown, Err(AppendError::Unknown(_))));
        let settled = record.append(append).await;
        match outcome {
            NextAppend::UnknownApplied => assert_eq!(settled, Ok(Position(1))),
            // Its expectation was met by the first round already: a conflict, which is certain.
            NextAppend::UnknownNotApplied | NextAppend::Unavailable => {
                assert!(matches!(settled, Err(AppendError::Conflict { .. })));
            }
        }
    }
    assert_eq!(hub.entries().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_partition_keeps_one_node_out_and_no_other() {
    let (hub, ids) = (MemoryHub::new(), SeededIds::new(1));
    let (cut, other) = (hub.client(1), hub.client(2));
    let bell = cut.doorbell();
    cut.set_faults(MemoryFaults {
        partitioned: true,
        ..MemoryFaults::default()
    });
    assert!(matches!(
        cut.append(one(&ids, 0)).await,
        Err(AppendError::Unavailable(_))
    ));
    assert!(cut.read_since(Position(0), 1).await.is_err());
    assert!(cut.generation().await.is_err());
    other.append(one(&ids, 0)).await.unwrap();
    assert_eq!(*bell.borrow(), 0, "no ring gets through");
    cut.set_faults(MemoryFaults::default());
    assert_eq!(cut.read_since(Position(0), 9).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_draws_the_same_faults() {
    async fn run(seed: u64) -> (Vec<bool>, u64, tokio::time::Duration) {
        let (hub, ids) = (MemoryHub::new(), SeededIds::new(1));
        let record = hub.client(seed);
        let started = tokio::time::Instant::now();
        record.set_faults(MemoryFaults {
            partitioned: false,
            unknown_per_mille: 300,
            unavailable_per_mille: 200,
            lost_doorbell_per_mille: 500,
            max_delay: Duration::from_millis(20),
        });
        let mut outcomes = Vec::new();
        for _ in 0..50 {
            let expected = hub.entries().len() as u64;
            outcomes.push(record.append(one(&ids, expected)).await.is_ok());
        }
        let rings = *record.doorbell().borrow();
        (outcomes, rings, started.elapsed())
    }
    let first = run(7).await;
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
    assert!(first.0.contains(&true) && first.0.contains(&false));
}

#[tokio::test(start_paused = true)]
async fn a_link_can_be_cut_and_slowed() {
    let (hub, ids) = (MemoryHub::new(), SeededIds::new(1));
    let (switch, link) = watch::channel(LinkState::Up);
    let record = Arc::new(LinkedRecord::new(Arc::new(hub.client(1)), link));
    record.append(one(&ids, 0)).await.unwrap();
    switch.send_replace(LinkState::Cut);
    assert!(matches!(
        record.append(one(&ids, 1)).await,
        Err(AppendError::Unavailable(_))
    ));
    assert!(record.read_since(Position(0), 1).await.is_err());

    let slow = Duration::from_secs(3);
    switch.send_replace(LinkState::Slow(slow));
    let started = tokio::time::Instant::now();
    assert_eq!(record.read_since(Position(0), 9).await.unwrap().len(), 1);
    assert_eq!(started.elapsed(), slow);
}

#[tokio::test(start_paused = true)]
async fn a_link_cut_while_the_answer_is_under_way_leaves_the_outcome_unknown() {
    let (hub, ids) = (MemoryHub::new(), SeededIds::new(1));
    let client = hub.client(1);
    client.set_faults(MemoryFaults {
        max_delay: Duration::from_secs(2),
        ..MemoryFaults::default()
    });
    let (switch, link) = watch::channel(LinkState::Up);
    let record = Arc::new(LinkedRecord::new(Arc::new(client), link));
    let append = one(&ids, 0);
    let asked = tokio::spawn({
        let (record, append) = (Arc::clone(&record), append.clone());
        async move { record.append(append).await }
    });
    tokio::task::yield_now().await;
    switch.send_replace(LinkState::Cut);
    assert!(matches!(asked.await.unwrap(), Err(AppendError::Unknown(_))));
    switch.send_replace(LinkState::Up);
    record.append(append).await.unwrap();
    assert_eq!(hub.entries().len(), 1);
}

#[test]
fn the_nodes_it_is_said_to_lie_on_are_needed_by_more_than_half() {
    let hub = MemoryHub::new();
    let record = hub.client(1);
    let names = ["a", "b", "c"].map(|name| NodeName::new(name).unwrap());
    assert_eq!(record.survives_without(&names), Survival::Survives);
    hub.set_voters(names.clone().into());
    let [a, b, _] = names.clone();
    let d = NodeName::new("d").unwrap();
    assert_eq!(record.survives_without(&[a.clone(), d]), Survival::Survives);
    let Survival::Lost { why } = record.survives_without(&[a, b]) else {
        panic!("one of three is not enough");
    };
    assert!(why.contains("1 of the 3"), "{why}");
}
