//! Events of the catalogue.

use serde::{Deserialize, Serialize};

use crate::firmware::FirmwareSummary;
use crate::id::{Digest, NodeName, OperationId, UserName};
use crate::manifest::ManifestSummary;
use crate::time::WallTime;

/// Events of the catalogue stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CatalogueEvent {
    /// A verified package is durable on at least one node.
    PackageAdded {
        /// When: the API's `create_time`.
        at: WallTime,
        /// The package.
        package: Box<PackageRef>,
        /// The node that took it in.
        node: NodeName,
    },
    /// The package is to be removed from every node, also from those that return later.
    PackageRemoved {
        /// When.
        at: WallTime,
        /// Its manifest digest.
        digest: Digest,
    },
    /// A node found its copy of a package changed on disk, and put it aside. It pulls another one.
    CopyDamaged {
        /// When.
        at: WallTime,
        /// Whose copy.
        node: NodeName,
        /// Manifest digest of the package.
        digest: Digest,
        /// What was found.
        why: String,
    },
    /// A node that had lost its copy has a verified one again.
    CopyRestored {
        /// When.
        at: WallTime,
        /// Who.
        node: NodeName,
        /// Manifest digest of the package.
        digest: Digest,
    },
    /// A verified firmware package is durable on at least one node.
    FirmwareAdded {
        /// When.
        at: WallTime,
        /// The package.
        firmware: Box<FirmwareRef>,
        /// The node that took it in.
        node: NodeName,
    },
    /// Devices are to be brought up to date with a firmware package of the catalogue, as soon as nothing stands
    /// against it.
    FirmwareAsked {
        /// When.
        at: WallTime,
        /// Who brought it in.
        by: UserName,
        /// Its manifest digest.
        digest: Digest,
        /// Name of the file that it came in.
        file: String,
    },
    /// The operation that was asked for has begun.
    FirmwareBegun {
        /// When.
        at: WallTime,
        /// Manifest digest of its package.
        digest: Digest,
        /// The operation.
        operation: OperationId,
    },
    /// The operation that was asked for is not wanted any more; the package stays.
    FirmwareWithdrawn {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// Manifest digest of its package.
        digest: Digest,
    },
    /// The firmware that a package of the catalogue brings was taken out of it; what is good of it is asked for with
    /// this.
    FirmwareUnpacked {
        /// When.
        at: WallTime,
        /// Manifest digest of the package.
        digest: Digest,
        /// The node that did it.
        node: NodeName,
        /// What was not taken in, a line for each: the path in the package, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refused: Vec<String>,
    },
    /// A firmware package is to be removed from every node: another one has taken its place.
    FirmwareRemoved {
        /// When.
        at: WallTime,
        /// Its manifest digest.
        digest: Digest,
    },
}

/// A firmware package in the catalogue. Its identity is the manifest's digest, also where the archive came without
/// one: it is then made of what the archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareRef {
    /// Manifest digest.
    pub digest: Digest,
    /// SHA-256 of the archive's chunk list.
    pub archive_digest: Digest,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What it holds.
    pub summary: FirmwareSummary,
    /// Id of the key that signed it; none for an unsigned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// A package in the catalogue. Its identity is the manifest's digest; the archive's digest and size
/// only guide transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRef {
    /// Manifest digest.
    pub digest: Digest,
    /// SHA-256 of the archive's chunk list: of the SHA-256 digests of its chunks, one after the other.
    pub archive_digest: Digest,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What the manifest says.
    pub summary: ManifestSummary,
    /// Id of the key that signed it; none for an unsigned one of a lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}
