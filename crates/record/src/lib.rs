//! The record: append-only streams of events, the cluster's single truth.
//!
//! Start at [`Record`], the small trait that every backend implements, and [`Append`], which is atomic
//! over several streams, conditional on each stream's length and on the coordinator's generation.
//!
//! Invariants: an event is either in all readers' future or in none's; positions only grow; a retry of
//! an append with the same event ids never appends twice; a stale generation appends nothing.
//! Here events are opaque JSON texts.

pub mod conformance;

mod append;
mod blob;
mod linked;
mod memory;
mod record;
mod sqlite;

pub use append::{
    Append, AppendError, Entry, Fence, MAX_BLOB_BYTES, MAX_EVENT_BYTES, MAX_EVENTS_PER_APPEND,
    NewEvent, StreamWrite,
};
pub use linked::LinkedRecord;
pub use memory::{MemoryFaults, MemoryHub, MemoryRecord, NextAppend};
pub use record::{LeaseState, PutBlobError, Record, Survival, Unavailable};
pub use sqlite::{OpenError, SqliteOptions, SqliteRecord, machine_boot_id};
