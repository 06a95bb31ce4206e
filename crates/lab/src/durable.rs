//! Files that are whole, whatever happens while they are written.

pub(crate) use evenkeel_identity::replace;
