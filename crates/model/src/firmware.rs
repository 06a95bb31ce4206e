//! Words for firmware: of which kind it is, which revision is the newer one, what a package of it holds
//! ([`FirmwareManifest`]) and for which device it is something new ([`Applicability`]).

mod applicable;
mod manifest;
mod name;
#[cfg(test)]
mod package_tests;
mod qualification;
mod qualification_error;
mod status;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::FirmwareRevision;

pub use applicable::{Applicability, DeviceFirmware, SkipReason};
pub use manifest::{
    FIRMWARE_FORMAT, FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE, FirmwareImage, FirmwareManifest,
    FirmwareManifestError, FirmwareOffer, FirmwareSummary, MAX_FIRMWARE_IMAGES,
    MAX_FIRMWARE_MANIFEST_BYTES, MAX_IMAGE_BYTES,
};
pub use name::{ImageName, ImageNameError};
pub use qualification::{
    Drive, DriveJudgement, MAX_QUALIFICATION_BYTES, MAX_QUALIFICATION_RECORDS, Module,
    Qualification, RecordCounts,
};
pub use qualification_error::{QualificationError, QualificationProblem};
pub use status::{FirmwareStatus, ProcessorFirmware, QualificationInPlace, UnqualifiedDisk};

/// What a file of firmware is for. Read from its content, never from who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirmwareKind {
    /// The disk qualification package: which drives are known. Before disks, which it describes.
    Qualification,
    /// Disks and SSDs.
    Disk,
    /// The I/O modules of disk shelves.
    Shelf,
    /// Service processors and baseboard management controllers.
    ServiceProcessor,
}

impl fmt::Display for FirmwareKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Qualification => "disk qualification package",
            Self::Disk => "disk firmware",
            Self::Shelf => "shelf firmware",
            Self::ServiceProcessor => "SP/BMC firmware",
        })
    }
}

impl FirmwareRevision {
    /// Which of two revisions for one model is the newer one. Numbers within them count as numbers
    /// (`NA9` is older than `NA10`, `13.9` older than `13.10`, `0300` equal to `300`), anything else
    /// byte for byte without regard to case.
    pub fn order(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (self.as_str(), other.as_str());
        loop {
            let parts = (next_part(&mut left), next_part(&mut right));
            let order = match parts {
                (None, None) => return Ordering::Equal,
                (Some(left), Some(right)) => left.cmp(&right),
                (left, right) => left.is_some().cmp(&right.is_some()),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
    }
}

/// A stretch of digits or of anything else.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    /// Without leading zeros; more digits are more.
    Number(usize, String),
}

/// Takes the first part off `rest`; none when nothing is left.
fn next_part(rest: &mut &str) -> Option<Part> {
    let first = rest.chars().next()?;
    let digits = first.is_ascii_digit();
    let end = rest.find(|c: char| c.is_ascii_digit() != digits);
    let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = after;
    Some(match digits {
        true => {
            let number = part.trim_start_matches('0');
            Part::Number(number.len(), number.to_owned())
        }
        false => Part::Text(part.to_ascii_uppercase()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(left: &str, right: &str) -> Ordering {
        let revision = |text| FirmwareRevision::new(text).expect("a revision");
        revision(left).order(&revision(right))
    }

    #[test]
    fn numbers_within_a_revision_count_as_numbers() {
        assert_eq!(order("NA02", "NA06"), Ordering::Less);
        assert_eq!(order("NA9", "NA10"), Ordering::Less);
        assert_eq!(order("13.10", "13.9P1"), Ordering::Greater);
        assert_eq!(order("0300", "300"), Ordering::Equal);
        assert_eq!(order("5.8", "5.8P1"), Ordering::Less);
        assert_eq!(order("5.8P1", "5.8"), Ordering::Greater);
        assert_eq!(order("na02", "NA02"), Ordering::Equal);
        assert_eq!(
            order("18446744073709551616", "18446744073709551615"),
            Ordering::Greater
        );
    }
}
