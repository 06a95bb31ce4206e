//! Errors at the edge.

pub(crate) use evenkeel_model::error_chain as chain;
