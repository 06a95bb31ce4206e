//! The record in memory, for simulation: one [`MemoryHub`] is the truth, each node has its own
//! [`MemoryRecord`] with faults of its own.
//!
//! Everything follows from the seeds and from tokio's clock: no threads, no other randomness.

mod client;
mod faults;
mod hub;

pub use client::MemoryRecord;
pub use faults::{MemoryFaults, NextAppend};
pub use hub::MemoryHub;
