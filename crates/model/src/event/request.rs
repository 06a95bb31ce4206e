//! What operations are asked to do.

use serde::{Deserialize, Serialize};

use super::control::OperationKind;
use crate::firmware::FirmwareKind;
use crate::id::{Digest, NodeName, Version};
use crate::plan::PauseAfter;

/// What an operation was asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Roll to a version.
    Update(UpdateRequest),
    /// Check whether the cluster could.
    Validate {
        /// Version.
        version: Version,
    },
    /// Estimate an update with these options.
    Estimate(UpdateRequest),
    /// Take a package in on a node.
    Get {
        /// The node that receives it.
        node: NodeName,
        /// The boot of that node's *daemon* that receives it: an upload does not survive it.
        incarnation: uuid::Uuid,
        /// Where it comes from.
        #[serde(default)]
        source: GetSource,
    },
    /// Remove a package.
    Delete {
        /// Manifest digest.
        digest: Digest,
        /// Version.
        version: Version,
    },
    /// Carry a package to the nodes that lack it.
    Sync {
        /// Manifest digest.
        digest: Digest,
        /// Version.
        version: Version,
    },
    /// Bring devices up to date with a firmware package of the catalogue.
    Firmware {
        /// Manifest digest.
        digest: Digest,
        /// What it is for.
        kind: FirmwareKind,
        /// Name of the file that it came in: `zip_file_name`.
        file: String,
    },
}

/// Where a package get has its package from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum GetSource {
    /// A client sends it.
    #[default]
    Upload,
    /// The node fetches it.
    Download {
        /// Where. Without user, password, query and fragment: see [`GetSource::download`].
        url: String,
        /// It was given a user, a password or a query, which are kept in memory only.
        needs_secret: bool,
    },
}

impl GetSource {
    /// A download from `url`, stripped of all that may be secret: user and password, query, fragment.
    pub fn download(url: &str, needs_secret: bool) -> Self {
        let (bare, secret) = without_secrets(url);
        Self::Download {
            url: bare,
            needs_secret: needs_secret || secret,
        }
    }
}

/// The URL without user info, query and fragment, and whether it had any but a fragment.
fn without_secrets(url: &str) -> (String, bool) {
    let url = url.split('#').next().unwrap_or_default();
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, true),
        None => (url, false),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.to_owned(), query);
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // The last `@`: a password may hold others.
    match authority.rsplit_once('@') {
        Some((_, host)) => (format!("{scheme}://{host}{path}"), true),
        None => (url.to_owned(), query),
    }
}

impl Request {
    /// Its kind.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Update(_) => OperationKind::Update,
            Self::Validate { .. } => OperationKind::Validation,
            Self::Estimate(_) => OperationKind::Estimate,
            Self::Get { .. } => OperationKind::PackageGet,
            Self::Delete { .. } => OperationKind::PackageDelete,
            Self::Sync { .. } => OperationKind::PackageSync,
            Self::Firmware { .. } => OperationKind::Firmware,
        }
    }
}

/// Options of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// To which version.
    pub version: Version,
    /// Go on although checks warn.
    pub skip_warnings: bool,
    /// 1 to 60; after every takeover and every giveback.
    pub stabilize_minutes: u32,
    /// Where to pause unasked.
    #[serde(default)]
    pub pause_after: PauseAfter,
    /// One node after the other, however many there are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_rolling: bool,
    /// The nodes to update, whole pairs; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
    /// The pair of this node goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<NodeName>,
}

impl UpdateRequest {
    /// An update of all nodes with the default options.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            skip_warnings: false,
            stabilize_minutes: DEFAULT_STABILIZE_MINUTES,
            pause_after: PauseAfter::None,
            force_rolling: false,
            nodes: Vec::new(),
            first: None,
        }
    }
}

/// Stabilize time when the request names none, in minutes.
pub const DEFAULT_STABILIZE_MINUTES: u32 = 8;
