//! The node's own database, `node.db`: what this node must not forget whatever becomes of the record.
//!
//! Every call is one short transaction on one connection, called inline: reads take microseconds, a
//! commit waits for one fsync. What a call returned `Ok` for is on disk.

mod consents;
mod devices;
mod disk;
mod journal;
mod mirror;
mod open;
mod plain;
mod rules;
mod small;
mod sql;
mod tables;

pub(crate) use consents::Promised;
pub use consents::Side;
pub use disk::{Commit, Disk, DiskFault};
pub use journal::{Accepted, JournalEntry, Stage};
pub use mirror::MirrorRow;
pub use open::{DbError, NodeDb, OpenDbError};
pub use plain::{Keeper, Memory};
