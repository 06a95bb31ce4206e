//! The simulated hardware: its HA engine and boot loader, its faults, and random walks through both.

#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, in its helpers too, and its modules are its own"
)]

mod bench;
mod devices;
mod faults;
mod ha;
mod machine;
mod random;
mod remote;
