//! A whole cluster in one process, under virtual time: the real planner, orchestrator, folds and agents
//! over a record in memory, a network in memory and simulated hardware.
//!
//! [`run`] gives a test its paused clock; [`Cluster::start`] powers the nodes on. Each node's daemon can
//! be killed at any instant, its power cut, its links cut; [`Cluster::trip`] does so right after a chosen
//! event of the record. A watchdog looks after every step of the hardware for what must never happen:
//! [`Cluster::violations`].
//!
//! **Invariants.** One thread, one clock, all randomness from one seed: the same story gives the same
//! events. Nothing here decides anything that the product decides.

mod clock;
mod cluster;
mod conditions;
mod daemon;
mod dice;
mod drive;
pub mod explore;
mod firmware;
mod hooks;
mod network;
mod receive;
mod rules;
mod settings;
mod shelf;
mod shown;
pub mod storm;
mod tripwire;
mod watchdog;
mod witness;
mod world;

pub use cluster::{Cluster, Scene, run};
pub use conditions::DiskState;
pub use dice::Dice;
pub use drive::{Stand, Stuck, stand_of};
pub use firmware::{Edition, firmware};
pub use hooks::ScriptedChecks;
pub use settings::{NEW, OLD, Settings, admin};
pub use world::Blow;
