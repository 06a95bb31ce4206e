//! The record: append-only streams of events, the cluster's single truth.
//!
//! Start at [`Record`], the small trait that every backend implements, and [`Append`], which is atomic
//! over several streams, conditional on each stream's length and on the coordinator's generation.
//!
//! Invariants: an event is either in all readers' future or in none's; positions only grow; a retry of
//! an append with the same event ids never appends twice; a stale generation appends nothing.
//! Backends see events as opaque JSON texts.
//!
//! Above the backends: [`Writer`] appends the model's events, [`Follower`] keeps a [`View`], which is the fold
//! of all streams, and [`projections`] turns a view into what people and the REST API see.

pub mod conformance;
pub mod projections;

mod append;
mod blob;
mod etcd;
mod follow;
mod linked;
mod memory;
mod mirror;
mod own;
mod pool;
mod record;
mod sqlite;
mod view;
mod write;

pub use append::{
    Append, AppendError, Entry, Fence, MAX_BLOB_BYTES, MAX_EVENT_BYTES, MAX_EVENTS_PER_APPEND,
    NewEvent, StreamWrite,
};
pub use etcd::{EtcdOpenError, EtcdOptions, EtcdRecord, EtcdTls, EtcdUser};
pub use follow::{Contact, FollowOptions, Follower, Loyalty, Reached};
pub use linked::LinkedRecord;
pub use memory::{MemoryFaults, MemoryHub, MemoryRecord, NextAppend};
pub use mirror::{Mirror, MirrorError, NoMirror};
pub use own::OwnRecord;
pub use pool::{
    MountRule, PeerError, PoolOptions, RecordPeer, SharedPoolRecord, StandIn, lock_path,
};
pub use record::{LeaseState, PutBlobError, Record, Survival, Unavailable};
pub use sqlite::{
    Hold, LastHolder, OpenError, PoolHolder, SqliteOptions, SqliteRecord, machine_boot_id,
};
pub use view::{CannotCoordinate, ForeignEvent, Gap, Quarantine, View};
pub use write::{Write, Writer};
