//! The truth all clients share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use evenkeel_model::{Digest, EventId, Generation, NodeName, Position, Sabotage, Seq, StreamId};
use tokio::time::Instant;

use super::client::{Doorbell, MemoryRecord};
use crate::append::{Append, AppendError, Entry, Fence, PARTLY_THERE, REUSED_ID};
use crate::record::{LeaseState, Survival};

/// The shared record in memory. Cloning gives another handle to the same one.
#[derive(Debug, Clone, Default)]
pub struct MemoryHub {
    state: Arc<Mutex<HubState>>,
}

#[derive(Debug, Default)]
pub(super) struct HubState {
    events: Vec<Entry>,
    by_id: BTreeMap<EventId, usize>,
    heads: BTreeMap<StreamId, Seq>,
    generation: Generation,
    leases: BTreeMap<String, Lease>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    doorbells: Vec<Arc<Doorbell>>,
    /// The nodes that it lies on; of none it is outside of the cluster.
    voters: BTreeSet<NodeName>,
}

#[derive(Clone, Debug)]
struct Lease {
    holder: NodeName,
    expires: Instant,
}

impl MemoryHub {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node's way to this record, without faults at first; `seed` draws its faults.
    pub fn client(&self, seed: u64) -> MemoryRecord {
        let client = MemoryRecord::new(self.clone(), seed);
        self.lock().doorbells.push(client.bell());
        client
    }

    /// From now on the record is said to lie on these nodes, and to need more than half of them. Without any it
    /// stands outside of the cluster, and survives whatever happens there.
    pub fn set_voters(&self, voters: BTreeSet<NodeName>) {
        self.lock().voters = voters;
    }

    /// All events there are, past every fault: for the checks of a simulation.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().events.clone()
    }

    /// The events after a position, past every fault.
    pub fn entries_after(&self, position: Position) -> Vec<Entry> {
        self.lock().read_since(position, usize::MAX)
    }

    /// A record of its own that begins with all that is in this one: for exploring what may follow.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.lock();
        let forked = HubState {
            events: state.events.clone(),
            by_id: state.by_id.clone(),
            heads: state.heads.clone(),
            generation: state.generation,
            leases: state.leases.clone(),
            blobs: state.blobs.clone(),
            doorbells: Vec::new(),
            voters: state.voters.clone(),
        };
        Self {
            state: Arc::new(Mutex::new(forked)),
        }
    }

    /// Loses everything, as when somebody wipes it while it is used. Nobody is rung for that.
    pub fn wipe(&self) {
        let mut state = self.lock();
        *state = HubState {
            doorbells: std::mem::take(&mut state.doorbells),
            voters: std::mem::take(&mut state.voters),
            ..HubState::default()
        };
    }

    /// Appends past every fault.
    pub fn append(&self, append: &Append) -> Result<Position, AppendError> {
        self.lock().append(append)
    }

    /// How many events there are: the position of the last.
    pub fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HubState> {
        self.state
            .lock()
            .expect("nothing panics while it holds the lock")
    }
}

impl HubState {
    pub(super) fn append(&mut self, append: &Append) -> Result<Position, AppendError> {
        append.check()?;
        if let Some(position) = self.find_retry(append)? {
            return Ok(position);
        }
        self.check_fence(append.fence)?;
        self.check_expected(append)?;
        let mut last = Position::default();
        for write in &append.writes {
            for event in &write.events {
                last = self.push(write.stream, event.id, &event.body);
            }
        }
        if let Fence::Advance { to, .. } = append.fence {
            self.generation = to;
        }
        for doorbell in &self.doorbells {
            doorbell.ring();
        }
        Ok(last)
    }

    fn find_retry(&self, append: &Append) -> Result<Option<Position>, AppendError> {
        let mut last = None;
        let mut missing = false;
        for write in &append.writes {
            for event in &write.events {
                let Some(index) = self.by_id.get(&event.id) else {
                    missing = true;
                    continue;
                };
                let entry = &self.events[*index];
                if entry.stream != write.stream || entry.body != event.body {
                    return Err(AppendError::Invalid(REUSED_ID));
                }
                last = last.max(Some(entry.position));
            }
        }
        match (last, missing) {
            (Some(_), true) => Err(AppendError::Invalid(PARTLY_THERE)),
            (Some(position), false) => Ok(Some(position)),
            (None, _) => Ok(None),
        }
    }

    fn check_fence(&self, fence: Fence) -> Result<(), AppendError> {
        let mine = match fence {
            Fence::None => return Ok(()),
            Fence::Holds(mine) | Fence::Advance { from: mine, .. } => mine,
        };
        if mine == self.generation || Sabotage::NoFence.is_on() {
            return Ok(());
        }
        Err(AppendError::Fenced {
            mine,
            current: self.generation,
        })
    }

    fn check_expected(&self, append: &Append) -> Result<(), AppendError> {
        for write in &append.writes {
            let actual = self.heads.get(&write.stream).copied().unwrap_or_default();
            if actual != write.expected {
                let (stream, expected) = (write.stream, write.expected);
                return Err(AppendError::Conflict {
                    stream,
                    expected,
                    actual,
                });
            }
        }
        Ok(())
    }

    fn push(&mut self, stream: StreamId, id: EventId, body: &str) -> Position {
        let head = self.heads.entry(stream).or_default();
        *head = head.next();
        let position = Position(self.events.len() as u64 + 1);
        self.by_id.insert(id, self.events.len());
        self.events.push(Entry {
            position,
            stream,
            seq: *head,
            id,
            body: body.to_owned(),
        });
        position
    }

    pub(super) fn read(&self, stream: StreamId, after: Seq, limit: usize) -> Vec<Entry> {
        let of_stream = self.events.iter().filter(|entry| entry.stream == stream);
        of_stream
            .filter(|entry| entry.seq > after)
            .take(limit)
            .cloned()
            .collect()
    }

    pub(super) fn read_since(&self, after: Position, limit: usize) -> Vec<Entry> {
        let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
        self.events.iter().skip(skip).take(limit).cloned().collect()
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn lease(&mut self, name: &str, holder: &NodeName, ttl: Duration) -> LeaseState {
        let now = Instant::now();
        match self.leases.get(name) {
            Some(lease) if lease.holder != *holder && lease.expires > now => LeaseState {
                holder: lease.holder.clone(),
                remaining: lease.expires - now,
            },
            Some(_) | None => {
                let lease = Lease {
                    holder: holder.clone(),
                    expires: now + ttl,
                };
                self.leases.insert(name.to_owned(), lease);
                LeaseState {
                    holder: holder.clone(),
                    remaining: ttl,
                }
            }
        }
    }

    pub(super) fn release(&mut self, name: &str, holder: &NodeName) {
        if self
            .leases
            .get(name)
            .is_some_and(|lease| lease.holder == *holder)
        {
            self.leases.remove(name);
        }
    }

    pub(super) fn survives_without(&self, down: &[NodeName]) -> Survival {
        let all = self.voters.len();
        let up = self.voters.iter().filter(|it| !down.contains(it)).count();
        match all == 0 || up * 2 > all {
            true => Survival::Survives,
            false => Survival::Lost {
                why: format!("only {up} of the {all} nodes that it lies on would be up"),
            },
        }
    }

    pub(super) fn put_blob(&mut self, digest: Digest, bytes: Vec<u8>) {
        self.blobs.insert(digest, bytes);
    }

    pub(super) fn get_blob(&self, digest: Digest) -> Option<Vec<u8>> {
        self.blobs.get(&digest).cloned()
    }
}
