//! The workers against simulated devices: once, twice, killed anywhere, and with every fault.

#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, in its helpers too, and its modules are its own"
)]

mod bench;
mod cluster;
mod disk;
mod journal;
mod kill;
mod processor;
mod qualification;
mod selection;
mod shelf;
mod storm;
