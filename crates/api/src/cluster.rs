//! The cluster and its nodes, as far as clients of the software API need them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NodeRef;
use crate::resource::{Field, Identity, Resource, fields};

/// The level of the API, in the form clients read: generation 9, major 10, minor 1, whatever is
/// installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseVersion {
    /// For people.
    pub full: String,
    /// 9.
    pub generation: u32,
    /// 10.
    pub major: u32,
    /// 1.
    pub minor: u32,
}

impl ReleaseVersion {
    /// What a cluster with `installed` announces.
    pub fn of(installed: &str) -> Self {
        let full = format!("Evenkeel Release 9.10.1: {installed}");
        Self {
            full,
            generation: 9,
            major: 10,
            minor: 1,
        }
    }
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uuid: String,
    /// API level.
    pub version: ReleaseVersion,
}

impl Resource for Cluster {
    const PATH: &'static str = "/api/cluster";
    const IDENTITY: Identity = Identity::Singleton;
    const FIELDS: &'static [Field] = fields![
        "name",
        "uuid",
        "version.full",
        "version.generation",
        "version.major",
        "version.minor",
    ];
}

/// A controller. What is not known is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its id.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// System id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// Hardware platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// API level.
    pub version: ReleaseVersion,
    /// `taken_over` or `waiting_for_giveback`, while an update has it so. Of outages that nobody planned the record
    /// knows nothing, so `up` and `down` are never claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its HA pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha: Option<Ha>,
}

/// A node's part in its HA pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ha {
    /// The other controller.
    pub partners: Vec<HaPartner>,
}

/// The other controller of a pair.
pub type HaPartner = NodeRef;

impl Resource for Node {
    const PATH: &'static str = "/api/cluster/nodes";
    const IDENTITY: Identity = Identity::Key("uuid", &["name"]);
    const FIELDS: &'static [Field] = fields![
        "uuid",
        "name",
        "serial_number",
        "system_id",
        "model",
        "version.full",
        "version.generation",
        "version.major",
        "version.minor",
        "state",
        "ha.partners.name",
        "ha.partners.uuid";
        unset "ha.enabled", "service_processor.state"
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::assert_fields_complete;

    #[test]
    fn every_field_is_listed() {
        let version = ReleaseVersion::of("1.2");
        assert_fields_complete(&Cluster {
            name: "c".into(),
            uuid: "u".into(),
            version: version.clone(),
        });
        assert_fields_complete(&Node {
            uuid: "u".into(),
            name: "n".into(),
            serial_number: Some("s".into()),
            system_id: Some("s".into()),
            model: Some("m".into()),
            version,
            state: Some("up".into()),
            ha: Some(Ha {
                partners: vec![NodeRef::new("m", "v")],
            }),
        });
    }
}
