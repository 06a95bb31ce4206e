//! Checks that come with a package: run on every node before an update to it.

use serde::{Deserialize, Serialize};

use crate::finding::Severity;
use crate::id::{Digest, OperationId, Version};
use crate::time::WallTime;

/// Which run of a package's checks is meant. The same order again is the same run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOrder {
    /// For which operation.
    pub operation: OperationId,
    /// How often that operation had been validated before: an operation may be validated again.
    pub round: u32,
    /// Manifest digest of the package that brings them.
    pub package: Digest,
    /// What the node runs.
    pub from: Version,
    /// What it is to run.
    pub target: Version,
}

/// The newest run of a package's checks on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledRun {
    /// As ordered.
    pub order: CheckOrder,
    /// How far it is.
    pub state: BundledState,
}

/// How far a run of a package's checks is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BundledState {
    /// Under way.
    Running {
        /// What is being done, for people.
        text: String,
        /// Since when it runs.
        since: WallTime,
    },
    /// Over. A check that could not run has said so as an error.
    Ended {
        /// When.
        at: WallTime,
        /// What they found; empty when all is well.
        findings: Vec<BundledFinding>,
    },
}

/// What one of a package's checks found on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledFinding {
    /// The check: its path in the package.
    pub check: String,
    /// How bad.
    pub severity: Severity,
    /// What is wrong.
    pub issue: String,
    /// What to do about it.
    pub action: String,
}
