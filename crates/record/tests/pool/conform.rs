//! The conformance suite: on the node that sits, on the one that does not, and while the seat moves to and fro.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_record::conformance::Backend;
use evenkeel_record::{
    Append, AppendError, Entry, LeaseState, PutBlobError, Record, Survival, Unavailable,
};
use evenkeel_seam::watch;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::pair::{PATIENCE, Pair};

/// Node 1 sits; the handles are those of one of the nodes, or of one after the other.
struct Seated {
    pair: Pair,
    handles: fn(usize) -> usize,
    opened: std::sync::atomic::AtomicUsize,
    sits: OnceCell<()>,
}

impl Seated {
    fn new(handles: fn(usize) -> usize) -> Self {
        Self {
            pair: Pair::new(),
            handles,
            opened: Default::default(),
            sits: OnceCell::new(),
        }
    }
}

#[async_trait]
impl Backend for Seated {
    async fn open(&self) -> Arc<dyn Record> {
        self.sits.get_or_init(|| self.pair.nodes[0].sit()).await;
        let opened = &self.opened;
        let nth = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::clone(&self.pair.nodes[(self.handles)(nth)].record) as Arc<dyn Record>
    }

    async fn pass(&self, time: Duration) {
        self.pair.clock.pass(time);
    }
}

mod here {
    evenkeel_record::conformance_tests!(|| super::Seated::new(|_| 0), flavor = "multi_thread");
}

mod by_the_partner {
    evenkeel_record::conformance_tests!(|| super::Seated::new(|_| 1), flavor = "multi_thread");
}

mod on_both {
    evenkeel_record::conformance_tests!(
        || super::Seated::new(|nth| nth % 2),
        flavor = "multi_thread"
    );
}

mod while_it_moves {
    evenkeel_record::conformance_tests!(super::Moving::new, flavor = "multi_thread");
}

/// The seat moves all the time. Whoever asks is as patient as the coordinator is.
struct Moving {
    pair: Arc<Pair>,
    mover: JoinHandle<()>,
    opened: std::sync::atomic::AtomicUsize,
}

/// How long a node sits.
const SITS_FOR: Duration = Duration::from_millis(150);

impl Moving {
    fn new() -> Self {
        // A lease that another machine goes on measuring is trusted for longer than the suite allows; see `moves`.
        let pair = Arc::new(Pair::on_one_machine());
        let moved = Arc::clone(&pair);
        let mover = tokio::spawn(async move {
            for node in moved.nodes.iter().cycle() {
                node.sit().await;
                sleep(SITS_FOR).await;
                node.take().await;
            }
        });
        Self {
            pair,
            mover,
            opened: Default::default(),
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.mover.abort();
    }
}

#[async_trait]
impl Backend for Moving {
    async fn open(&self) -> Arc<dyn Record> {
        let opened = &self.opened;
        let nth = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let node = &self.pair.nodes[nth % 2];
        Arc::new(Patient(Arc::clone(&node.record) as Arc<dyn Record>))
    }

    async fn pass(&self, time: Duration) {
        self.pair.clock.pass(time);
    }
}

/// Asks again while the record is unavailable, and settles unknown outcomes by asking again.
pub(crate) struct Patient(pub(crate) Arc<dyn Record>);

async fn again<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    mut ask: impl FnMut() -> F,
    is_passing: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_passing(&error) => {
                assert!(begun.elapsed() < PATIENCE, "{error:?}");
                sleep(Duration::from_millis(5)).await;
            }
            answer => return answer,
        }
    }
}

async fn available<T, F: Future<Output = Result<T, Unavailable>>>(
    ask: impl FnMut() -> F,
) -> Result<T, Unavailable> {
    again(ask, |_| true).await
}

#[async_trait]
impl Record for Patient {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        let passing = |error: &AppendError| {
            matches!(error, AppendError::Unavailable(_) | AppendError::Unknown(_))
        };
        again(|| self.0.append(append.clone()), passing).await
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        available(|| self.0.read(stream, after, limit)).await
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        available(|| self.0.read_since(after, limit)).await
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        available(|| self.0.generation()).await
    }

    fn doorbell(&self) -> watch::Receiver<u64> {
        self.0.doorbell()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        available(|| self.0.lease(name, holder, ttl)).await
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        available(|| self.0.release(name, holder)).await
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        let passing = |error: &PutBlobError| matches!(error, PutBlobError::Unavailable(_));
        again(|| self.0.put_blob(bytes.clone()), passing).await
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        available(|| self.0.get_blob(digest)).await
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        self.0.survives_without(down)
    }
}
