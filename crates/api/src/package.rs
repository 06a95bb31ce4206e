//! Packages, downloads and history.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NodeRef;
use crate::resource::{Field, Identity, Resource, fields};

/// A package in the cluster's repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Its version.
    pub version: String,
    /// When it was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub create_time: Option<String>,
}

impl Resource for Package {
    const PATH: &'static str = "/api/cluster/software/packages";
    const IDENTITY: Identity = Identity::Key("version", &[]);
    const FIELDS: &'static [Field] = fields!["version", "create_time"];
}

/// How an installation ended. Clients accept no other words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistoryState {
    /// The node runs the new version.
    Successful,
    /// The update ended before it did.
    Canceled,
}

/// One installation on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The node.
    pub node: NodeRef,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    pub start_time: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// The version before.
    pub from_version: String,
    /// The version asked for.
    pub to_version: String,
    /// How it ended.
    pub state: HistoryState,
}

impl Resource for History {
    const PATH: &'static str = "/api/cluster/software/history";
    const IDENTITY: Identity = Identity::Fields(&["node.name", "start_time"]);
    const FIELDS: &'static [Field] = fields![
        "node.name",
        "node.uuid",
        "start_time",
        "end_time",
        "from_version",
        "to_version",
        "state",
    ];
}

/// State of the last download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    /// There was none.
    NotStarted,
    /// Under way.
    Running,
    /// Done.
    Success,
    /// Ended without a package.
    Failure,
}

/// The download under way, or the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Download {
    /// Its state.
    pub state: DownloadState,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
}

impl Resource for Download {
    const PATH: &'static str = "/api/cluster/software/download";
    const IDENTITY: Identity = Identity::Singleton;
    const FIELDS: &'static [Field] = fields!["state", "message", "code"];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::assert_fields_complete;

    #[test]
    fn every_field_is_listed() {
        let time = || Some("2026-01-01T00:00:00+00:00".to_owned());
        assert_fields_complete(&Package {
            version: "1".into(),
            create_time: time(),
        });
        assert_fields_complete(&History {
            node: NodeRef::new("n", "u"),
            start_time: "t".into(),
            end_time: time(),
            from_version: "1".into(),
            to_version: "2".into(),
            state: HistoryState::Successful,
        });
        assert_fields_complete(&Download {
            state: DownloadState::NotStarted,
            message: Some("m".into()),
            code: Some(0),
        });
    }
}
