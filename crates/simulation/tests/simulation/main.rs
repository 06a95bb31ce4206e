//! Stories of whole clusters under virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod crashes;
mod determinism;
mod faults;
mod firmware;
mod operator;
mod others;
mod record;
mod rolling;
mod scenarios;
mod sizes;
mod stories;
mod storms;
mod trouble;
