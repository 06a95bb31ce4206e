//! Stories drawn from a seed: [`draw()`] writes one, [`play()`] plays it and says what went wrong,
//! [`shrink()`] finds the short story in one that went wrong.

mod draw;
mod firmware;
mod hands;
mod play;
mod script;
mod shrink;

pub use draw::draw;
pub use play::{Played, play, tell};
pub use script::{Act, Finds, Gate, Gust, Script, When};
pub use shrink::{Shrunk, shrink};
