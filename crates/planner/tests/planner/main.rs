//! The planner on a cluster in memory: every check, every plan, whole updates step by step, and random
//! ones.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod accepted;
mod acknowledged;
mod batches;
mod bundled;
mod checks;
mod chores;
mod firmware;
mod gates;
mod ideal;
mod learned;
mod packages;
mod plans;
mod previews;
mod random;
mod replans;
mod shapes;
mod stand_in;
mod trouble;
mod walks;
mod world;
