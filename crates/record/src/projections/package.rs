//! The repository.

use evenkeel_model::{CatalogueEntry, NodeName, PackageRef, Version, WallTime};

use crate::view::View;

/// A package of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRow {
    /// Its version: the key in the API.
    pub version: Version,
    /// When it came in.
    pub create_time: WallTime,
    /// Everything the catalogue knows of it.
    pub package: PackageRef,
    /// The node that took it in.
    pub origin: NodeName,
}

/// All packages, ordered by version byte for byte.
pub fn packages(view: &View) -> Vec<PackageRow> {
    let mut rows: Vec<_> = view.catalogue().packages.values().map(row).collect();
    rows.sort_by(|a, b| a.version.cmp(&b.version));
    rows
}

/// The package of that version.
pub fn package(view: &View, version: &Version) -> Option<PackageRow> {
    view.catalogue().by_version(version).map(row)
}

fn row(entry: &CatalogueEntry) -> PackageRow {
    PackageRow {
        version: entry.package.summary.version.clone(),
        create_time: entry.create_time,
        package: entry.package.clone(),
        origin: entry.origin.clone(),
    }
}
