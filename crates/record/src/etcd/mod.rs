//! The record on etcd, for a cluster of many controllers. Every controller opens it for itself; etcd's members agree.
//!
//! It speaks etcd's JSON gateway (`/v3/…`, etcd 3.4 and later, on unless `--enable-grpc-gateway=false`) over HTTP/1.1, so nothing
//! but the HTTP and TLS libraries that the daemon has anyway is needed.
//!
//! # Keys, below the prefix of the settings
//!
//! | key | value | written |
//! |---|---|---|
//! | `head` | position, generation, id of the last event, `min_reader` | by every append |
//! | `event/POSITION` | one append: a line that describes its events, then their bodies; by the position of its last event | once |
//! | `part/NAME/N` | bodies of one append that do not fit into one request | once |
//! | `value/DIGEST`, `value/DIGEST/N` | a value by its digest: how many pieces, and the pieces | once, the pieces first |
//! | `lease/NAME` | the holder; attached to an etcd lease, so that it goes by itself | when it is taken |
//! | `compaction` | a counter: whoever moves it on compacts | every ten minutes |
//! | `probe` | never there: for finding out what etcd lets through | never |
//!
//! # How an append is atomic, conditional and recognised
//!
//! Each handle folds the descriptions of all appends into a [`log::Log`]: the streams' lengths, the ids of all events, the
//! generation. Whatever an append demands is decided there. Then one transaction writes `head` and `event/…` **if `head` still has
//! exactly the bytes that the log ended with**. Those hold the last event's id, so they never come again: if they are the same, nothing
//! was appended since, and every decision holds. If not, the log reads on and decides again. A refusal (conflict, fence, used id) is
//! only given after such a read. Of a transaction whose outcome is unknown the log will find the ids, or find that `head` has moved on
//! without it, after which it never can happen. So sending it again is safe, and positions have no gaps.
//!
//! # Arithmetic: etcd's limits (`--max-request-bytes` 1.5 MiB, `--max-txn-ops` 128) and ours
//!
//! - An append of up to 512 KiB of bodies is one request: bodies, at most 1024 descriptions of some 150 bytes each, and two heads of 150:
//!   below 0.7 MiB.
//! - A bigger one, at most 1024 × 128 KiB = 128 MiB, goes ahead in parts of 1.25 MiB (at most 103) under an etcd lease of ten minutes. The
//!   transaction then demands that all of them are there and takes them off the lease: 103 parts and 2 keys are 105 operations, and 104
//!   comparisons. If it never happens, etcd removes the parts with their lease.
//! - A value by digest has at most 16 MiB, which is 13 pieces, one request each.
//!
//! So etcd's defaults suffice for everything that is legal. Opening asks etcd whether a request of 1.25 MiB and a transaction of 105
//! operations pass, and says which option to raise if not. (The first is written into etcd's log, though not into its database.)
//!
//! A handle reads the whole record when it is opened, and keeps some hundred bytes of each event in memory. An update is some hundred
//! events; the view above keeps more of them.

mod append;
mod batch;
mod bell;
mod client;
mod compact;
mod endpoint;
mod lease;
mod log;
mod look;
mod open;
mod options;
mod read;
mod stage;
mod survival;
mod tls;
mod token;
mod trouble;
mod value;
mod wire;

pub use open::{EtcdOpenError, EtcdRecord};
pub use options::{EtcdOptions, EtcdTls, EtcdUser};
