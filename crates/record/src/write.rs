//! Appending typed events, and settling what an append's outcome was.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{Event, EventId, Position, Seq, StreamId};
use evenkeel_seam::Ids;
use tokio::time::{Instant, sleep, timeout_at};

use crate::append::{Append, AppendError, Fence, NewEvent, StreamWrite};
use crate::record::Record;

/// How long an unknown outcome is pursued. Longer than a lease, so that a coordinator that cannot reach the
/// record stops for that reason and not for this one.
const SETTLE_FOR: Duration = Duration::from_secs(30);
/// The first pause between two tries; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Typed events for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The stream.
    pub stream: StreamId,
    /// How many events it must have.
    pub expected: Seq,
    /// What is appended.
    pub events: Vec<Event>,
}

/// Appends typed events. The ids are chosen once, so an unknown outcome is settled by trying again.
#[derive(Clone)]
pub struct Writer {
    record: Arc<dyn Record>,
    ids: Arc<dyn Ids>,
    settle_for: Duration,
}

impl Writer {
    /// Over this record, with event ids from `ids`.
    pub fn new(record: Arc<dyn Record>, ids: Arc<dyn Ids>) -> Self {
        Self {
            record,
            ids,
            settle_for: SETTLE_FOR,
        }
    }

    /// Pursues unknown outcomes only this long.
    #[must_use]
    pub fn settle_for(mut self, settle_for: Duration) -> Self {
        self.settle_for = settle_for;
        self
    }

    /// Gives the events their ids. The same value may be [sent](Self::send) again and again: it is appended
    /// at most once.
    pub fn prepare(&self, fence: Fence, writes: Vec<Write>) -> Append {
        let writes = writes.into_iter().map(|write| StreamWrite {
            stream: write.stream,
            expected: write.expected,
            events: write
                .events
                .iter()
                .map(|event| self.new_event(event))
                .collect(),
        });
        Append {
            fence,
            writes: writes.collect(),
        }
    }

    fn new_event(&self, event: &Event) -> NewEvent {
        NewEvent {
            id: EventId(self.ids.uuid()),
            body: event.encode(),
        }
    }

    /// [Prepares](Self::prepare) and [sends](Self::send).
    pub async fn append(&self, fence: Fence, writes: Vec<Write>) -> Result<Position, AppendError> {
        self.send(self.prepare(fence, writes)).await
    }

    /// Appends; an unknown outcome is settled if the record answers within the bound. `Unknown` then means
    /// that it did not: keep the append and send it again before deciding anything that depends on it.
    pub async fn send(&self, append: Append) -> Result<Position, AppendError> {
        match self.record.append(append.clone()).await {
            Err(AppendError::Unknown(why)) => self.settle(append, why).await,
            known => known,
        }
    }

    /// Tries again until the answer is certain. The record looks for the ids before anything else, so every
    /// refusal now means that the first try was not appended either.
    async fn settle(&self, append: Append, mut why: String) -> Result<Position, AppendError> {
        let until = Instant::now() + self.settle_for;
        let mut pause = FIRST_PAUSE;
        while Instant::now() + pause < until {
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
            let again = match timeout_at(until, self.record.append(append.clone())).await {
                Ok(again) => again,
                Err(_) => break,
            };
            match again {
                Ok(position) => return Ok(position),
                Err(AppendError::Unknown(newer)) => why = newer,
                // It tells nothing of the first try.
                Err(AppendError::Unavailable(newer)) => why = newer.why,
                Err(
                    refused @ (AppendError::Conflict { .. }
                    | AppendError::Fenced { .. }
                    | AppendError::TooLarge { .. }
                    | AppendError::Invalid(_)),
                ) => return Err(refused),
            }
        }
        Err(AppendError::Unknown(why))
    }
}
