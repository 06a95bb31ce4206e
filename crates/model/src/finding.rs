//! What a check found, and what an operator is told.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{NodeName, OperationId, UserName};
use crate::time::WallTime;

/// One problem that a check found. Passing checks leave no finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the check, as operators know it.
    pub check: String,
    /// Whether it blocks.
    pub severity: Severity,
    /// What is wrong, where.
    pub issue: String,
    /// What to do about it.
    pub action: String,
    /// Stable names of what it is about: nodes, LIFs, disks. Never a number that changes by itself.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub about: BTreeSet<String>,
    /// Who said that it may be so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
}

/// That a person knows of a warning and goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: UserName,
    /// When.
    pub at: WallTime,
    /// Why it may be so.
    pub reason: String,
}

/// Errors block always; warnings unless they are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// May be skipped by the operator.
    Warning,
    /// Blocks.
    Error,
}

/// Trouble that stopped an operation: who, what, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, if it is one node's.
    pub node: Option<NodeName>,
    /// What went wrong.
    pub error: String,
    /// What to do before `resume`.
    pub action: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => {
                write!(
                    f,
                    "Node \"{node}\": Error: {}, Action: {}",
                    self.error, self.action
                )
            }
            None => write!(f, "Error: {}, Action: {}", self.error, self.action),
        }
    }
}

/// The answer to "what is it waiting for?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaiting {
    /// Which operation waits; none for the cluster itself (an election, say).
    pub operation: Option<OperationId>,
    /// On which node, if one.
    pub node: Option<NodeName>,
    /// What is awaited.
    pub what: String,
    /// Since when.
    pub since: WallTime,
    /// What was last seen of it, if anything was.
    pub seen: Option<String>,
    /// How long it may still take before the operation stops waiting; none when only a person ends it.
    pub remaining: Option<Duration>,
    /// What would end the wait.
    pub unblock: String,
}
