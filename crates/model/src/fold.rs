//! State is a fold over events: `apply(state, event) -> Result` is the only transition rule, for what
//! is being written and for what is replayed alike.

/// An event that cannot follow what came before it. Both sides are named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot follow: {state}")]
pub struct Illegal {
    /// The event.
    pub event: String,
    /// The state that does not take it.
    pub state: String,
}

impl Illegal {
    pub(crate) fn new(event: &str, state: impl Into<String>) -> Self {
        Self {
            event: event.to_owned(),
            state: state.into(),
        }
    }
}
