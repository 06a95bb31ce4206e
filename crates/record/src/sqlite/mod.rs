//! The record in one SQLite file on a local filesystem, shared by every process of the machine.
//!
//! Each process has one writer thread, one reader thread and one thread that watches for others' commits.
//! Writes are short `BEGIN IMMEDIATE` transactions; WAL with `synchronous=FULL` makes them durable before
//! they are answered. On a pair's shared pool (`pool`) one process alone has it open, and says so in the file (`holder`).

mod changes;
mod connect;
mod holder;
mod lease;
mod open;
mod tables;
mod watcher;
mod worker;

pub use holder::{Hold, LastHolder, PoolHolder};
pub use open::{OpenError, SqliteOptions, SqliteRecord, machine_boot_id};
