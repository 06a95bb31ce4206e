//! Targets of what is logged and that people, or their tools, look for. The daemon gives each a message id of its own in
//! systemd's journal, and all else stays free to be worded anew.

/// An order is worked on, for the first time or again.
pub const TASK_BEGINS: &str = "evenkeel::task_begins";
/// It failed.
pub const TASK_FAILED: &str = "evenkeel::task_failed";
/// It ended, well or not; the result is in the agent's own journal by then.
pub const TASK_ENDED: &str = "evenkeel::task_ended";
/// The partner is proven dead, and this node serves for both.
pub const SERVES_ALONE: &str = "evenkeel::serves_alone";
