//! The coordinator: observe → planner → append → send. Decisions are the planner's; this is the hands.
//!
//! Every node runs an [`Orchestrator`]; the one that holds the lease and has the record's newest
//! generation coordinates. Every node has a [`FrontDoor`], which admits what users ask for by appending
//! to the record.
//!
//! **Invariants.** An intent is in the record before its order is sent. Every append of a coordinator is
//! conditional on its generation. What an append would make illegal is not appended.

mod acknowledge;
mod admission;
mod chores;
mod commit;
mod coordinate;
mod elect;
mod explain;
mod front_door;
mod gates;
mod observe;
mod preview;
mod scope;
mod track;

pub use admission::UpdateAction;
pub use chores::SELF;
pub use elect::{Orchestrator, Parts, Role};
pub use evenkeel_planner::Preview;
pub use front_door::{
    CopyNote, CopyState, FrontDoor, GetTicket, NewKey, Release, StaleGet, Unpacked, UserChange,
};
pub use gates::GatesChange;
