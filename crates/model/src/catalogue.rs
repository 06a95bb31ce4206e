//! The fold of the catalogue stream: the packages of the cluster.

use std::collections::BTreeMap;

use crate::event::{CatalogueEvent, PackageRef};
use crate::fold::Illegal;
use crate::id::{Digest, NodeName, Version};
use crate::time::WallTime;

/// State of the catalogue stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// Packages by manifest digest.
    pub packages: BTreeMap<Digest, CatalogueEntry>,
    /// How many packages came in so far.
    added: u64,
}

/// A package of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The package.
    pub package: PackageRef,
    /// When it came in.
    pub create_time: WallTime,
    /// The node that took it in: the first place to pull from.
    pub origin: NodeName,
    /// Its place in the order of coming in.
    pub order: u64,
}

impl Catalogue {
    /// Applies the next event.
    pub fn apply(&mut self, event: &CatalogueEvent) -> Result<(), Illegal> {
        match event {
            CatalogueEvent::PackageAdded { at, package, node } => {
                if let Some(same) = self.by_version(&package.summary.version) {
                    let state = format!(
                        "version {} is in the catalogue as {}",
                        package.summary.version, same.package.digest
                    );
                    return Err(Illegal::new("package_added", state));
                }
                let entry = CatalogueEntry {
                    package: PackageRef::clone(package),
                    create_time: *at,
                    origin: node.clone(),
                    order: self.added,
                };
                self.added += 1;
                self.packages.insert(package.digest, entry);
            }
            CatalogueEvent::PackageRemoved { digest, .. } => {
                if self.packages.remove(digest).is_none() {
                    let state = format!("package {digest} is not in the catalogue");
                    return Err(Illegal::new("package_removed", state));
                }
            }
            // Who holds what is observed; these say what became of a copy, for people.
            CatalogueEvent::CopyDamaged { .. } | CatalogueEvent::CopyRestored { .. } => {}
        }
        Ok(())
    }

    /// The package of that version.
    pub fn by_version(&self, version: &Version) -> Option<&CatalogueEntry> {
        self.packages
            .values()
            .find(|entry| entry.package.summary.version == *version)
    }
}
