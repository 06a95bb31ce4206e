//! The folds: what follows what, and errors that name both sides.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod catalogue;
mod control;
mod operation;
mod samples;
