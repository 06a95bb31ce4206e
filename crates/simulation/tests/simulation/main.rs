//! Stories of whole clusters under virtual time.

mod crashes;
mod determinism;
mod faults;
mod operator;
mod others;
mod record;
mod rolling;
mod scenarios;
mod sizes;
mod stories;
mod storms;
mod trouble;
