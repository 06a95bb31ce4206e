//! HAL links and references with links.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `{"href": "/api/..."}`: relative, holding `/api` exactly once, at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Href {
    /// The address.
    pub href: String,
}

/// `_links`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    /// The thing itself.
    #[serde(rename = "self", default, skip_serializing_if = "Option::is_none")]
    pub this: Option<Href>,
    /// The next page of a collection. Absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Href>,
}

impl Links {
    /// A self link only.
    pub fn this(href: impl Into<String>) -> Self {
        Self {
            this: Some(Href { href: href.into() }),
            next: None,
        }
    }
}

/// A node, named from somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeRef {
    /// Its name.
    pub name: String,
    /// Its id, unless it has left the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Link to `/api/cluster/nodes/{uuid}`.
    #[serde(rename = "_links", default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
}

impl NodeRef {
    /// A reference with its link.
    pub fn new(name: impl Into<String>, uuid: impl Into<String>) -> Self {
        let uuid = uuid.into();
        let links = Some(Links::this(format!("/api/cluster/nodes/{uuid}")));
        Self {
            name: name.into(),
            uuid: Some(uuid),
            links,
        }
    }

    /// A reference to a node that has left the cluster.
    pub fn departed(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uuid: None,
            links: None,
        }
    }
}
