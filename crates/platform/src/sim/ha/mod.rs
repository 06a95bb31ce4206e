//! The HA engine: who serves what.

mod alone;
mod giveback;
mod lifs;
mod state;
mod takeover;
mod vetoes;
