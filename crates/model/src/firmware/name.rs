//! What the name of a file says about the firmware in it, as the industry names such files.

use crate::id::{DeviceModel, FirmwareRevision};

use super::FirmwareKind;

/// What a file's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// Of which kind the firmware is.
    pub kind: FirmwareKind,
    /// For which model, where the name says so: for disks and shelves.
    pub model: Option<DeviceModel>,
    /// Which revision, where the name says so: for disks and shelves.
    pub revision: Option<FirmwareRevision>,
}

/// Why a name is not that of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageNameError {
    /// Not like any of them.
    #[error(
        "its name is none of `MODEL.REVISION.LOD` (disk), `MODULE.VERSION.SFW` (shelf), `*_SP_FW.zip` or \
         `*BMC*.zip` (SP/BMC), `qual_devices*` (disk qualification package)"
    )]
    Unknown,
    /// Like one of them, but model or revision is missing or has characters that they do not have.
    #[error("its name is not of the form `{form}`")]
    Malformed {
        /// The form it should have.
        form: &'static str,
    },
}

impl ImageName {
    /// Reads a bare file name, without folders. Case does not matter but in model and revision.
    pub fn parse(file: &str) -> Result<Self, ImageNameError> {
        let upper = file.to_ascii_uppercase();
        if upper.ends_with(".LOD") {
            // A drive's revision has no dot; its model may.
            let words = file[..file.len() - 4].rsplit_once('.');
            return device(FirmwareKind::Disk, "MODEL.REVISION.LOD", words);
        }
        if upper.ends_with(".SFW") {
            // A module's name has no dot; its version may.
            let words = file[..file.len() - 4].split_once('.');
            return device(FirmwareKind::Shelf, "MODULE.VERSION.SFW", words);
        }
        let kind = match () {
            () if upper.starts_with("QUAL_DEVICES") => FirmwareKind::Qualification,
            () if upper.ends_with("_SP_FW.ZIP") => FirmwareKind::ServiceProcessor,
            () if upper.contains("BMC") && upper.ends_with(".ZIP") => {
                FirmwareKind::ServiceProcessor
            }
            () => return Err(ImageNameError::Unknown),
        };
        Ok(Self {
            kind,
            model: None,
            revision: None,
        })
    }
}

fn device(
    kind: FirmwareKind,
    form: &'static str,
    words: Option<(&str, &str)>,
) -> Result<ImageName, ImageNameError> {
    let read = |(model, revision): (&str, &str)| {
        let model = DeviceModel::new(model).ok()?;
        Some((model, FirmwareRevision::new(revision).ok()?))
    };
    match words.and_then(read) {
        Some((model, revision)) => Ok(ImageName {
            kind,
            model: Some(model),
            revision: Some(revision),
        }),
        None => Err(ImageNameError::Malformed { form }),
    }
}
