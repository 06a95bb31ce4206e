//! Evenkeel's vocabulary: ids, time, topology, manifests, observations, plans, events and their folds.
//! Serde types and pure functions; no I/O, no clock, no async.

mod id;
mod manifest;
mod stream;
mod time;

pub use id::*;
pub use manifest::*;
pub use stream::{Position, Seq, StreamId, StreamIdError};
pub use time::{Monotonic, WallTime};
