//! Firmware packages of a simulated cluster: real images for the simulated devices, without archives.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_firmware::{
    FirmwareError, Images, ImagesError, PackedImage, QualificationMark, QualificationStore,
};
use evenkeel_model::{
    DeviceModel, Digest, FirmwareKind, FirmwareOffer, FirmwareRef, FirmwareRevision,
    FirmwareSummary,
};
use evenkeel_platform::devices::DeviceId;
use evenkeel_platform::sim::{ImageKind, firmware_image};

use crate::cluster::Cluster;
use crate::settings::digest;
use crate::shelf::Shelf;

/// Bytes of an image's body: several pieces.
const BODY: usize = 10_000;
/// The content of the disk qualification package.
const QUALIFICATION: &str = "evenkeel-qualification 1
version 3.18
revision 20260131
drive X423_SLTNG1T8SSX NA02
drive X422_SLTNG600A10 -
device IOM12 0210
system sim-x86_64
checksum sha256 205531386b2a722c04e3f87343138bbeb9dde2bfd2b47e26fcfe3b0e31729b08
";
const KINDS: [FirmwareKind; 4] = [
    FirmwareKind::Qualification,
    FirmwareKind::Disk,
    FirmwareKind::Shelf,
    FirmwareKind::ServiceProcessor,
];

/// A second package of a kind brings something newer still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// Newer than what devices have from the factory.
    First,
    /// Newer than that.
    Second,
}

/// What a package of a kind brings.
fn offers(kind: FirmwareKind, edition: Edition) -> Vec<(Option<&'static str>, &'static str)> {
    let either = |first, second| match edition {
        Edition::First => first,
        Edition::Second => second,
    };
    match kind {
        FirmwareKind::Qualification => vec![(None, "20260131")],
        FirmwareKind::Disk => ["X423_SLTNG1T8SSX", "X422_SLTNG600A10", "X4011_LANES3T8"]
            .map(|model| (Some(model), either("NA02", "NA03")))
            .to_vec(),
        FirmwareKind::Shelf => vec![(Some("IOM12"), either("0300", "0310"))],
        FirmwareKind::ServiceProcessor => vec![(Some("LABSP"), either("5.9", "5.10"))],
    }
}

fn image_kind(kind: FirmwareKind) -> Option<ImageKind> {
    match kind {
        FirmwareKind::Qualification => None,
        FirmwareKind::Disk => Some(ImageKind::Drive),
        FirmwareKind::Shelf => Some(ImageKind::Module),
        FirmwareKind::ServiceProcessor => Some(ImageKind::Processor),
    }
}

/// The firmware package of a kind that a simulated cluster can be brought.
pub fn firmware(kind: FirmwareKind, edition: Edition) -> FirmwareRef {
    let offers = offers(kind, edition)
        .into_iter()
        .map(|(model, revision)| FirmwareOffer {
            model: model.map(model_of),
            revision: revision_of(revision),
        });
    let name = match edition {
        Edition::First => kind.to_string(),
        Edition::Second => format!("newer {kind}"),
    };
    FirmwareRef {
        digest: digest(&name),
        archive_digest: digest(&name),
        archive_bytes: 1 << 16,
        summary: FirmwareSummary {
            kind,
            name,
            build_time: None,
            offers: offers.collect(),
            image_bytes: BODY as u64,
        },
        signed_by: None,
    }
}

fn model_of(model: &str) -> DeviceModel {
    model.parse().expect("a model of ours is one")
}

fn revision_of(revision: &str) -> FirmwareRevision {
    revision.parse().expect("a revision of ours is one")
}

/// The package with that digest.
fn known(package: Digest) -> Result<FirmwareRef, ImagesError> {
    let of_kind = |kind| [Edition::First, Edition::Second].map(|it| firmware(kind, it));
    let mut all = KINDS.into_iter().flat_map(of_kind);
    let found = all.find(|firmware| firmware.digest == package);
    found.ok_or_else(|| ImagesError::Refused("no such firmware".to_owned()))
}

#[async_trait]
impl Images for Shelf {
    async fn summary(&self, package: Digest) -> Result<FirmwareSummary, ImagesError> {
        match self.holds(package) {
            true => Ok(known(package)?.summary),
            false => Err(ImagesError::Gone("it is not here".to_owned())),
        }
    }

    async fn image(
        &self,
        package: Digest,
        model: Option<&DeviceModel>,
    ) -> Result<PackedImage, ImagesError> {
        let summary = self.summary(package).await?;
        let mut offers = summary.offers.into_iter();
        let offer = offers.find(|offer| offer.model.as_ref() == model);
        let offer = offer.ok_or_else(|| ImagesError::Refused("no image for it".to_owned()))?;
        let bytes = match (image_kind(summary.kind), model) {
            (Some(kind), Some(model)) => firmware_image(kind, model, &offer.revision, BODY),
            (_, _) => QUALIFICATION.as_bytes().to_vec(),
        };
        Ok(PackedImage {
            file: summary.name,
            revision: offer.revision,
            digest: package,
            bytes: Arc::new(bytes),
        })
    }
}

#[async_trait]
impl QualificationStore for Shelf {
    async fn current(&self) -> Result<Option<QualificationMark>, FirmwareError> {
        Ok(self.qualification().as_ref().map(|(mark, _)| mark.clone()))
    }

    async fn replace(&self, mark: &QualificationMark, bytes: &[u8]) -> Result<(), FirmwareError> {
        *self.qualification() = Some((mark.clone(), bytes.to_vec()));
        Ok(())
    }

    async fn content(&self) -> Result<Option<Vec<u8>>, FirmwareError> {
        Ok(self
            .qualification()
            .as_ref()
            .map(|(_, bytes)| bytes.clone()))
    }
}

impl Cluster {
    /// Devices that do not run what the first packages bring, by kind.
    pub fn behind_firmware(&self) -> BTreeMap<FirmwareKind, Vec<String>> {
        let mut behind = BTreeMap::<FirmwareKind, Vec<String>>::new();
        self.hardware(|hardware, _| {
            for device in hardware.devices() {
                let kind = kind_of(&device);
                let offers = firmware(kind, Edition::First).summary.offers;
                let Some(runs) = hardware.firmware_of(&device) else {
                    continue;
                };
                // Each kind's models are brought the same revision.
                if !offers.iter().any(|offer| offer.revision == runs) {
                    let line = format!("{device} runs {runs}");
                    behind.entry(kind).or_default().push(line);
                }
            }
        });
        behind
    }
}

fn kind_of(device: &DeviceId) -> FirmwareKind {
    match device {
        DeviceId::Drive(_) => FirmwareKind::Disk,
        DeviceId::Module { .. } => FirmwareKind::Shelf,
        DeviceId::Processor(_) => FirmwareKind::ServiceProcessor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_qualification_package_is_one() {
        let parsed = evenkeel_model::Qualification::parse(QUALIFICATION.as_bytes()).unwrap();
        assert_eq!(parsed.revision(), &revision_of("20260131"));
    }
}
