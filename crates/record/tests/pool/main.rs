//! The record on a pair's shared pool: conformance on both sides and across moves, what the moves themselves must keep, and the
//! resource agent that moves it.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod agent;
mod conform;
mod crash;
mod guard;
mod moves;
mod pair;
mod storm;
