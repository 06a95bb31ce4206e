//! What is appended, what may go wrong, and what is read back. The members of a pair send these to one another as JSON
//! (`pool/wire`), so a field is only ever added, and with a default.

use std::collections::BTreeSet;

use evenkeel_model::{EventId, Generation, Position, Seq, StreamId};
use serde::{Deserialize, Serialize};

use crate::record::Unavailable;

/// The longest event, in bytes of its JSON text. Bigger values are stored by digest. The longest is the topology, some
/// 225 bytes for each node.
pub const MAX_EVENT_BYTES: usize = 128 * 1024;
/// The longest value stored by digest, in bytes: a transaction has to stay short.
pub const MAX_BLOB_BYTES: usize = 16 * 1024 * 1024;
/// The most events of one append, over all its streams: a transaction has to stay short.
pub const MAX_EVENTS_PER_APPEND: usize = 1024;

// What all backends say of retries that are none.
pub(crate) const REUSED_ID: &str = "an event id was used before for another event";
pub(crate) const PARTLY_THERE: &str = "some events of the append are there already, others not";

/// An event to append. The id is chosen before, so that a retry is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Unique over the whole record.
    pub id: EventId,
    /// A JSON text of at most [`MAX_EVENT_BYTES`].
    pub body: String,
}

/// The part of an append that goes to one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamId,
    /// How many events the stream must have for this append to happen.
    pub expected: Seq,
    /// What is appended; may be empty, which then only checks `expected`.
    pub events: Vec<NewEvent>,
}

/// What an append demands of the coordinator's generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// Nothing: for appends that are no coordinator's.
    None,
    /// The generation is this one.
    Holds(Generation),
    /// The generation is `from`, and becomes `to`, which is higher.
    Advance {
        /// The generation before.
        from: Generation,
        /// The generation after.
        to: Generation,
    },
}

/// One atomic append: all of it happens, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// What it demands of the generation.
    pub fence: Fence,
    /// At most one per stream; at least one event in all.
    pub writes: Vec<StreamWrite>,
}

impl Append {
    /// Checks everything that can be told without the record.
    pub fn check(&self) -> Result<(), AppendError> {
        if let Fence::Advance { from, to } = self.fence
            && to <= from
        {
            return Err(AppendError::Invalid(
                "a generation can only advance to a higher one",
            ));
        }
        let events = || self.writes.iter().flat_map(|write| &write.events);
        match events().count() {
            0 => return Err(AppendError::Invalid("an append needs at least one event")),
            count if count > MAX_EVENTS_PER_APPEND => {
                return Err(AppendError::TooLarge {
                    what: "events in one append",
                    size: count,
                    limit: MAX_EVENTS_PER_APPEND,
                });
            }
            _fits => {}
        }
        if let Some(big) = events().find(|event| event.body.len() > MAX_EVENT_BYTES) {
            return Err(AppendError::TooLarge {
                what: "bytes in one event",
                size: big.body.len(),
                limit: MAX_EVENT_BYTES,
            });
        }
        let mut ids = BTreeSet::new();
        if !events().all(|event| ids.insert(event.id)) {
            return Err(AppendError::Invalid(
                "two events of one append have the same id",
            ));
        }
        let mut streams = BTreeSet::new();
        if !self.writes.iter().all(|write| streams.insert(write.stream)) {
            return Err(AppendError::Invalid("an append names a stream twice"));
        }
        Ok(())
    }
}

/// Why an append did not (or, for [`AppendError::Unknown`], may not) happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Someone else appended first: read, fold, decide again.
    #[error("stream {stream} has {actual} events, not {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the append expected.
        expected: Seq,
        /// What the stream has.
        actual: Seq,
    },
    /// There is a newer coordinator: stop coordinating.
    #[error("generation {mine} is not the record's, which is {current}")]
    Fenced {
        /// The generation the append demanded.
        mine: Generation,
        /// The record's generation.
        current: Generation,
    },
    /// It did not happen; later it may.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Whether it happened is not known. Retrying with the same event ids settles it.
    #[error("outcome of the append is unknown: {0}")]
    Unknown(String),
    /// Over a limit; it never can happen as it is.
    #[error("{size} {what}, more than the {limit} allowed")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How much there is.
        size: usize,
        /// How much may be.
        limit: usize,
    },
    /// Breaks a rule of appending; a fault of the caller.
    #[error("invalid append: {0}")]
    Invalid(&'static str),
}

/// An event as it stands in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place among all events.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its number in the stream.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// Its JSON text.
    pub body: String,
}
