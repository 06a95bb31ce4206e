//! The record in SQLite on the shared pool of an HA pair: for two controllers without a third vote.
//!
//! One of the two nodes **sits**: it has the file open. The other one asks it through the interconnect. Who sits is decided by
//! the HA engine alone: its resource agent `ocf:evenkeel:record` stands after the pool's filesystem, puts a *seat* file into `/run` when
//! it starts, and takes it away when it stops. Then it waits until the daemon has closed the file, so that the pool
//! can be unmounted.
//!
//! Start at [`SharedPoolRecord`]. `seat` watches the seat file and holds its lock, `take` is all that is examined before the file is
//! opened, `keep` the loop around both; `wire` is what the nodes say to one another, `answer` the side that sits, `remote` the
//! one that does not.
//!
//! Invariants: the file is open only while the seat's lock is held, and the lock is dropped after the last connection is
//! closed. The file is opened by nobody who has no seat, nor while the partner says that it has it open. A record that this node does not
//! know is not taken for the one that it knows, and no empty one is made in its place. Nothing here moves the seat.

mod answer;
mod bell;
mod keep;
mod known;
mod peer;
mod remote;
mod seat;
mod shared;
mod state;
mod take;
mod wire;

pub use peer::{PeerError, RecordPeer, StandIn};
pub use seat::lock_path;
pub use shared::SharedPoolRecord;
pub use state::{MountRule, PoolOptions};
