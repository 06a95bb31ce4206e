//! Explores everything that may happen to the update of one pair, within a bound.
mod coordinate;
mod kept;
mod moves;
mod rules;
mod search;
mod stage;
mod state;

pub use rules::Rules;
pub use search::{Report, Scope, explore};
