//! Tests of the agent on a faked pair, under virtual time.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod consents;
mod firmware;
mod hardware;
mod kills;
mod orders;
mod refusals;
mod scripts;
mod simulated;
mod watching;
mod world;
