//! Stories of whole clusters under virtual time.

mod crashes;
mod determinism;
mod operator;
mod record;
mod rolling;
mod scenarios;
mod stories;
mod storms;
mod trouble;
