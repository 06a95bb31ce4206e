//! The record in the model's terms: view, follower, writer and projections.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod durations;
mod follow;
mod projections;
mod story;
mod view;
