//! A record that need not be there when the daemon starts: until it opens it is unavailable, and says why.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_record::{
    Append, AppendError, Entry, LeaseState, PutBlobError, Record, Survival, Unavailable,
};
use evenkeel_seam::watch;
use futures_util::future::BoxFuture;

/// Pause between two tries to open it.
const RETRY: Duration = Duration::from_secs(1);

/// Opens the record's backend. What blocks has a thread of its own; the rest ends with the runtime wherever it is, so it is
/// awaited here and never blocked on: its timers are gone before such a thread is.
pub(crate) type Opener =
    Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Record>, String>> + Send + Sync>;

/// The record, once it opened.
pub(crate) struct LateRecord {
    opened: OnceLock<Arc<dyn Record>>,
    why: Mutex<String>,
    doorbell: watch::Sender<u64>,
}

impl LateRecord {
    /// Begins to open it. The task ends once it is open and nobody listens, or with the runtime.
    pub(crate) fn open(opener: Opener) -> Arc<Self> {
        let record = Arc::new(Self {
            opened: OnceLock::new(),
            why: Mutex::new("it is being opened".to_owned()),
            doorbell: watch::Sender::new(0),
        });
        tokio::spawn(Arc::clone(&record).keep_opening(opener));
        record
    }

    async fn keep_opening(self: Arc<Self>, opener: Opener) {
        loop {
            match opener().await {
                Ok(record) => return self.opened(record).await,
                Err(why) => self.note(why),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Logged when it is news: trying goes on for as long as it takes.
    fn note(&self, why: String) {
        let mut last = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != why {
            tracing::warn!(why, "the record cannot be opened; trying again: {why}");
            *last = why;
        }
    }

    async fn opened(&self, record: Arc<dyn Record>) {
        let mut rings = record.doorbell();
        if self.opened.set(record).is_err() {
            unreachable!("only this task sets it");
        }
        loop {
            self.doorbell.send_modify(|count| *count += 1);
            if rings.changed().await.is_err() {
                return;
            }
        }
    }

    fn get(&self) -> Result<&Arc<dyn Record>, Unavailable> {
        self.opened
            .get()
            .ok_or_else(|| Unavailable::new(self.why()))
    }

    fn why(&self) -> String {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Record for LateRecord {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        self.get()?.append(append).await
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.get()?.read(stream, after, limit).await
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        self.get()?.read_since(after, limit).await
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        self.get()?.generation().await
    }

    fn doorbell(&self) -> watch::Receiver<u64> {
        self.doorbell.subscribe()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        self.get()?.lease(name, holder, ttl).await
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        self.get()?.release(name, holder).await
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        self.get()?.put_blob(bytes).await
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        self.get()?.get_blob(digest).await
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        match self.opened.get() {
            Some(record) => record.survives_without(down),
            None => Survival::Lost { why: self.why() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Says how it ended.
    struct Ended(mpsc::Sender<bool>);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _unheard = self.0.send(std::thread::panicking());
        }
    }

    #[test]
    fn a_daemon_that_ends_while_the_record_is_being_opened_ends_quietly() {
        let (ended, how) = mpsc::channel();
        let (begun, has_begun) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            LateRecord::open(Box::new(move || {
                let (ended, begun) = (Ended(ended.clone()), begun.clone());
                Box::pin(async move {
                    let _ended = ended;
                    begun.send(()).unwrap();
                    loop {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
            }));
        });
        has_begun.recv().unwrap();
        drop(runtime);
        assert_eq!(how.recv(), Ok(false));
    }
}
