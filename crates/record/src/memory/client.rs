//! One node's way to the shared record.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_seam::watch;

use super::faults::{FaultState, MemoryFaults, NextAppend};
use super::hub::{HubState, MemoryHub};
use crate::append::{Append, AppendError, Entry};
use crate::blob::{check_blob_size, digest_of};
use crate::record::{LeaseState, PutBlobError, Record, Survival, Unavailable};

/// A node's client of a [`MemoryHub`], with faults of its own.
#[derive(Debug)]
pub struct MemoryRecord {
    hub: MemoryHub,
    bell: Arc<Doorbell>,
}

/// What the hub rings after every append.
#[derive(Debug)]
pub(super) struct Doorbell {
    rings: watch::Sender<u64>,
    faults: Mutex<FaultState>,
}

impl Doorbell {
    pub(super) fn ring(&self) {
        if !self.faults().loses_ring() {
            self.rings.send_modify(|rings| *rings += 1);
        }
    }

    fn faults(&self) -> MutexGuard<'_, FaultState> {
        self.faults
            .lock()
            .expect("nothing panics while it holds the lock")
    }
}

impl MemoryRecord {
    pub(super) fn new(hub: MemoryHub, seed: u64) -> Self {
        let faults = Mutex::new(FaultState::new(seed));
        Self {
            hub,
            bell: Arc::new(Doorbell {
                rings: watch::Sender::new(0),
                faults,
            }),
        }
    }

    pub(super) fn bell(&self) -> Arc<Doorbell> {
        Arc::clone(&self.bell)
    }

    /// From now on, these faults.
    pub fn set_faults(&self, faults: MemoryFaults) {
        self.bell.faults().faults = faults;
    }

    /// The outcome of the next append that has none scripted yet.
    pub fn script(&self, outcome: NextAppend) {
        self.bell.faults().script.push_back(outcome);
    }

    /// The request's way to the record.
    async fn reach(&self) -> Result<(), Unavailable> {
        self.travel().await;
        if self.bell.faults().finds_it_unavailable() {
            return Err(Unavailable::new(
                "a simulated fault keeps this node from the record",
            ));
        }
        Ok(())
    }

    /// The answer's way back; whether it arrives.
    async fn returns(&self) -> bool {
        self.travel().await;
        !self.bell.faults().faults.partitioned
    }

    async fn travel(&self) {
        let delay = self.bell.faults().delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    async fn ask<T>(&self, question: impl FnOnce(&mut HubState) -> T) -> Result<T, Unavailable> {
        self.reach().await?;
        let answer = question(&mut self.hub.lock());
        match self.returns().await {
            true => Ok(answer),
            false => Err(Unavailable::new(
                "a simulated fault lost the record's answer",
            )),
        }
    }
}

#[async_trait]
impl Record for MemoryRecord {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        self.reach().await?;
        let fate = self.bell.faults().next_append();
        let unknown = || AppendError::Unknown("a simulated fault lost the answer".to_owned());
        let outcome = match fate {
            None => self.hub.lock().append(&append),
            Some(NextAppend::UnknownApplied) => {
                // Whatever the record says, the caller does not hear it.
                let _unheard = self.hub.lock().append(&append);
                Err(unknown())
            }
            Some(NextAppend::UnknownNotApplied) => Err(unknown()),
            Some(NextAppend::Unavailable) => {
                Err(Unavailable::new("a scripted fault refused this append").into())
            }
        };
        match self.returns().await {
            true => outcome,
            false => Err(unknown()),
        }
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.ask(|hub| hub.read(stream, after, limit)).await
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        self.ask(|hub| hub.read_since(after, limit)).await
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        self.ask(|hub| hub.generation()).await
    }

    fn doorbell(&self) -> watch::Receiver<u64> {
        self.bell.rings.subscribe()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        self.ask(|hub| hub.lease(name, holder, ttl)).await
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        self.ask(|hub| hub.release(name, holder)).await
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        check_blob_size(&bytes)?;
        let digest = digest_of(&bytes);
        self.ask(|hub| hub.put_blob(digest, bytes)).await?;
        Ok(digest)
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        self.ask(|hub| hub.get_blob(digest)).await
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        self.hub.lock().survives_without(down)
    }
}
