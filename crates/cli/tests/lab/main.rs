//! Clusters of real processes, driven as an operator drives them.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod alone;
mod batch;
mod carrying;
mod demo;
mod downloads;
mod faults;
mod firmware;
mod gates;
mod harness;
mod kills;
mod mixed;
mod refusals;
mod rolling;
mod security;
mod web;
