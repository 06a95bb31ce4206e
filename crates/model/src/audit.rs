//! What was asked of the API, by whom and from where, and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::JobId;
use crate::time::WallTime;

/// A request that would change something, or one that was not let in. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Names it among all requests of its node.
    pub id: Uuid,
    /// When it came.
    pub at: WallTime,
    /// Who asked; none where that is not known. A name that no user has is not kept: people type passwords there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// As what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Where from.
    pub from: String,
    /// The method.
    pub method: String,
    /// The path, without parameters.
    pub path: String,
    /// Parameters and fields that say what was asked; never one that may be secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub what: BTreeMap<String, String>,
    /// What became of it; none while it is being carried out, and when its daemon was killed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AuditOutcome>,
    /// So many like it came before it that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditOutcome {
    /// The HTTP status of the answer; none when the client left before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// The job that it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// What of the request only its answer told: the packages that a condition meant, the id of a key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
