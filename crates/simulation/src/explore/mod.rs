//! Explores everything that may happen to the update of one pair, within a bound on what goes wrong: breadth
//! first over all states, each looked at once.
//!
//! **What is real.** The planner's `next`; the folds of control, catalogue and operation; the record's rules
//! for fences, expected numbers and retries (`MemoryHub`); the simulated machines; and the agent: its
//! tasks, its answers, its guard, its consents and its journal run as they are, up to each act, each write of
//! a slot and each question that may change the partner's mind, where the explorer chooses what happens
//! next. A future is brought to where it was by being run again over what it was answered.
//!
//! **What may happen**, in every order: rounds of either node's coordinator and, at any later moment, what it
//! decided reaching the record; orders arriving; the steps of an order's work; what is due of the machines, in
//! whatever order; daemons starting; elections. And as faults, of which a run has [`Scope::faults`]: a
//! daemon killed, power lost, an act or a call of which the request or the answer is lost, an order lost or
//! repeated, an append that arrives late or again, a node that a round does not reach, a lease lost to the
//! partner while its holder goes on, bounds that pass early, a bad image, a takeover by hand, and the loss of
//! one of the record's three voters, of which the nodes are two: then it is lost with either of them. An
//! operator pauses, resumes and cancels [`Scope::requests`] times. Bounds pass by themselves where
//! nothing else can happen.
//!
//! **What is looked for** after each move: I1, I2, I4, I5 and I7 of the design, events that do not fold, an
//! update that ends with a node held. And once all states are known: that from each, without a new fault, a
//! way leads to the end of the update or to a pause that says what to do.
//!
//! **What is abstracted.** The coordinator's loop is written here once more, around the same decisions: a round
//! looks at both nodes and decides at one moment, where the real one takes some milliseconds, and decides within
//! a second again upon the same look: here that is a round whose decision reaches the record later. It is
//! never half sent. An agent's looks between two acts are one moment, and so are its answers to calls.
//! Time is only order: stabilize times have passed as soon as they began. Packages are always there,
//! a slot is written whole or not at all. Fingerprints have 64 bits and leave out what is over and can no
//! longer be asked for. What more than [`Scope::faults`] faults do is not explored: the seeds try that.

mod append;
mod carry;
mod coordinate;
mod kept;
mod moves;
mod rules;
mod search;
mod stage;
mod state;
mod told;
mod work;

pub use rules::Rules;
pub use search::{Report, Scope, explore};
