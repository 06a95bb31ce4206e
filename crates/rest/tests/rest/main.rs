//! The front end as clients see it: against a hand-written cluster, and against a real record and store. One binary, so
//! that it links once.

#![cfg(test)]

mod audit;
mod changes;
mod collections;
mod deletes;
mod door;
mod firmware;
mod fuzzed;
mod jobs;
mod kept;
mod page;
mod plumbing;
mod recorded;
mod refused;
mod support;
mod tls;
mod users;
