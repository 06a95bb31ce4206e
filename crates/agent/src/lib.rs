//! On each node: what it sees, one task at a time, and the last guard of the pair.
//!
//! [`Agent`] answers its peers and the coordinator ([`evenkeel_interconnect::AgentService`]). What it
//! must not forget is in [`NodeDb`]: the highest generation seen, orders before they act, promises
//! between partners. Kill it at any instant: a new agent on the same database and hardware goes on
//! ([`Agent::recover`]).
//!
//! - An order is journaled before its first effect, and acts only while no higher generation was seen.
//! - Each task observes first, acts on what it expected alone, and ends when its goal was seen.
//! - A takeover needs the partner's durable consent; who has consented starts nothing against its
//!   partner. Two takeovers of a pair in opposite directions exclude each other.
//! - Serving alone after the partner's proven death needs no one ([`Agent::guard`]).

mod agent;
mod checks;
mod consent;
mod db;
mod guardian;
mod observe;
mod parts;
mod tasks;

pub mod logged;

pub use agent::Agent;
pub use db::{
    Accepted, Commit, DbError, Disk, DiskFault, JournalEntry, Keeper, Memory, MirrorRow, NodeDb,
    OpenDbError, Side, Stage,
};
pub use guardian::must_serve_alone;
pub use parts::{
    AgentParts, Bounds, ClusterView, FirmwareWork, GateAnswer, GateContext, GateScript,
    InstallError, InstallRequest, Installer, PackageChecks, Packages, PackagesError,
};
