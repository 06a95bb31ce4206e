//! The planner: pure functions from what is recorded and observed to what is done next.
//!
//! - [`check()`] and [`post_check()`]: observations → findings.
//! - [`preview()`]: what an update would do, while nothing runs.
//! - [`plan()`]: request and observations → an immutable plan; [`replan()`] makes its next revision.
//! - [`next()`]: operation, observations, now → events to append, orders to send, reasons to wait.
//! - [`chores()`]: what the coordinator starts unasked while nothing is open.
//! - [`explain()`]: what every open operation waits for, from the record alone.
//!
//! **Invariants.** No I/O, no clock, no randomness, no async. A pair is never planned to lose both
//! members: a takeover is started only while both members serve and none is standing. What is unknown
//! is never read as health: it is waited for, within a bound, and then it is trouble.

mod bounds;
mod build;
mod builder;
mod bundled;
mod carry;
mod checks;
mod chores;
mod estimate;
mod explain;
mod firmware;
mod gate;
mod input;
mod judge;
mod lack;
mod learn;
mod next;
mod order;
mod package;
mod pair;
mod parts;
mod preview;
mod sight;
mod stand_in;
mod update;
mod words;

pub use bounds::Tunables;
pub use build::{NoPlan, plan, replan};
pub use carry::moved;
pub use checks::{CheckInput, PostInput, check, post_check};
pub use chores::{Chores, HeldOff, Leisure, chores, queued};
pub use estimate::{Estimate, POST_CHECKS_S, PRE_CHECKS_S, estimate};
pub use explain::{Described, describe, explain};
pub use input::{Decision, GateLook, GateMemory, Input, Running};
pub use learn::{Expected, Learned, Learner, Measured, learn};
pub use next::next;
pub use order::{all_there, chosen, meant};
pub use preview::{Preview, plan_estimate, preview};
