//! What a node or a pair lacks: what is seen, and what a person does about it.

use evenkeel_model::NodeName;

/// Something that keeps a node or a pair from the state that is awaited.
pub(crate) struct Lack {
    /// What is seen, without a full stop.
    pub(crate) what: String,
    /// What mends it, without a full stop: what is done then follows.
    pub(crate) action: String,
}

impl Lack {
    pub(crate) fn new(what: String, action: String) -> Self {
        Self { what, action }
    }

    /// The node does not answer.
    pub(crate) fn silent(node: &NodeName, why: &str) -> Self {
        Self::new(
            format!("node \"{node}\" does not answer: {why}"),
            format!("Bring node \"{node}\" and its evenkeeld back"),
        )
    }

    /// The node answers, and cannot see that part of itself.
    pub(crate) fn blind(node: &NodeName, part: &str, why: &str) -> Self {
        Self::new(
            format!("the {part} of node \"{node}\" are not known: {why}"),
            format!(
                "See to the hardware services of node \"{node}\" until it sees its {part} again"
            ),
        )
    }
}
