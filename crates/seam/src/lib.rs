//! What tests must control: the clock, and ids. Each is a small trait with a real form here and a
//! seeded one. Waiting is tokio's time (paused in simulation); the network is `interconnect`'s client
//! trait; files belong to `package-store`. [`Pulse`] tells that a loop goes on without a clock in the loop.

mod clock;
mod ids;
mod link;
mod pulse;

pub mod watch;

pub use clock::{Clock, SystemClock, TokioClock};
pub use ids::{Ids, RandomIds, SeededIds};
pub use link::LinkState;
pub use pulse::Pulse;
