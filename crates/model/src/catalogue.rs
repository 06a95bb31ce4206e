//! The fold of the catalogue stream: the packages of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{CatalogueEvent, FirmwareRef, PackageRef};
use crate::fold::Illegal;
use crate::id::{DeviceModel, Digest, NodeName, UserName, Version};
use crate::time::WallTime;

/// State of the catalogue stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// Packages by manifest digest.
    pub packages: BTreeMap<Digest, CatalogueEntry>,
    /// Firmware packages by manifest digest.
    pub firmware: BTreeMap<Digest, FirmwareEntry>,
    /// How many packages came in so far.
    added: u64,
}

/// A firmware package of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareEntry {
    /// The package.
    pub firmware: FirmwareRef,
    /// When it came in.
    pub create_time: WallTime,
    /// The node that took it in.
    pub origin: NodeName,
    /// Its place in the order of coming in, among packages of all sorts.
    pub order: u64,
    /// The operation that is asked for and has not begun.
    pub asked: Option<FirmwareAsked>,
}

/// An operation with a firmware package that has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareAsked {
    /// When.
    pub at: WallTime,
    /// By whom.
    pub by: UserName,
    /// Name of the file that the package came in.
    pub file: String,
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
    /// The firmware that it brings was taken out of it.
    pub firmware_unpacked: bool,
    /// What of it was not taken in, a line for each: the path in the package, and why.
    pub firmware_refused: Vec<String>,
}

impl FirmwareEntry {
    /// Whether it is for the same devices as another one.
    fn is_for_the_same(&self, other: &Self) -> bool {
        let models = |entry: &Self| -> BTreeSet<Option<DeviceModel>> {
            let offers = entry.firmware.summary.offers.iter();
            offers.map(|offer| offer.model.clone()).collect()
        };
        self.firmware.summary.kind == other.firmware.summary.kind && models(self) == models(other)
    }
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
                    firmware_unpacked: false,
                    firmware_refused: Vec::new(),
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
            CatalogueEvent::FirmwareAdded { at, firmware, node } => {
                self.add_firmware(*at, firmware, node)?;
            }
            CatalogueEvent::FirmwareAsked {
                at,
                by,
                digest,
                file,
            } => {
                let asked = FirmwareAsked {
                    at: *at,
                    by: by.clone(),
                    file: file.clone(),
                };
                self.entry_of(*digest, "firmware_asked")?.asked = Some(asked);
            }
            CatalogueEvent::FirmwareBegun { digest, .. } => {
                self.entry_of(*digest, "firmware_begun")?.asked = None;
            }
            CatalogueEvent::FirmwareWithdrawn { digest, .. } => {
                self.entry_of(*digest, "firmware_withdrawn")?.asked = None;
            }
            CatalogueEvent::FirmwareUnpacked {
                digest, refused, ..
            } => {
                let Some(entry) = self.packages.get_mut(digest) else {
                    let state = format!("package {digest} is not in the catalogue");
                    return Err(Illegal::new("firmware_unpacked", state));
                };
                entry.firmware_unpacked = true;
                entry.firmware_refused.clone_from(refused);
            }
            CatalogueEvent::FirmwareRemoved { digest, .. } => {
                self.entry_of(*digest, "firmware_removed")?;
                self.firmware.remove(digest);
            }
        }
        Ok(())
    }

    fn add_firmware(
        &mut self,
        at: WallTime,
        firmware: &FirmwareRef,
        node: &NodeName,
    ) -> Result<(), Illegal> {
        let digest = firmware.digest;
        if self.firmware.contains_key(&digest) {
            let state = format!("firmware {digest} is in the catalogue");
            return Err(Illegal::new("firmware_added", state));
        }
        let entry = FirmwareEntry {
            firmware: firmware.clone(),
            create_time: at,
            origin: node.clone(),
            order: self.added,
            asked: None,
        };
        self.added += 1;
        self.firmware.insert(digest, entry);
        Ok(())
    }

    fn entry_of(&mut self, digest: Digest, event: &str) -> Result<&mut FirmwareEntry, Illegal> {
        let missing = || {
            let state = format!("firmware {digest} is not in the catalogue");
            Illegal::new(event, state)
        };
        self.firmware.get_mut(&digest).ok_or_else(missing)
    }

    /// Earlier firmware whose place that one takes, being for the same devices. What is asked for stays.
    pub fn superseded_by(&self, digest: Digest) -> Vec<Digest> {
        let Some(newest) = self.firmware.get(&digest) else {
            return Vec::new();
        };
        let earlier = self.firmware.values().filter(|entry| {
            let rests = entry.firmware.digest != digest && entry.asked.is_none();
            rests && entry.is_for_the_same(newest)
        });
        earlier.map(|entry| entry.firmware.digest).collect()
    }

    /// Firmware updates that were asked for and have not begun, in the order in which they will: by kind, since the disk
    /// qualification package describes the disks, then as they came in.
    pub fn firmware_queue(&self) -> Vec<(&FirmwareEntry, &FirmwareAsked)> {
        let entries = self.firmware.values();
        let asked = entries.filter_map(|entry| Some((entry, entry.asked.as_ref()?)));
        let mut queue: Vec<_> = asked.collect();
        queue.sort_by_key(|(entry, _)| (entry.firmware.summary.kind, entry.order));
        queue
    }

    /// The package of that version.
    pub fn by_version(&self, version: &Version) -> Option<&CatalogueEntry> {
        self.packages
            .values()
            .find(|entry| entry.package.summary.version == *version)
    }
}
