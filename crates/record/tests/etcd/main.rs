//! The record on etcd, against real servers: `cargo test --workspace --test etcd -- --ignored`, with Debian's packages
//! `etcd-server` and `etcd-client`.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod cluster;
mod conforms;
mod front;
mod limits;
mod newer;
mod proxy;
mod refused;
mod storm;
mod support;
mod survives;
mod watches;
