//! What a firmware package says about itself. Its identity is the SHA-256 of the exact bytes of its manifest,
//! which lists every image with its digest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{DeviceModel, Digest, FirmwareRevision};
use crate::manifest::{PathProblem, check_entry_path};
use crate::time::WallTime;

use super::{FirmwareKind, ImageName, ImageNameError};

/// The manifest format that this build writes and reads.
pub const FIRMWARE_FORMAT: u32 = 1;
/// The manifest's name in the archive.
pub const FIRMWARE_MANIFEST: &str = "firmware.json";
/// The name, in the archive, of the manifest's detached signature.
pub const FIRMWARE_SIGNATURE: &str = "firmware.sig";
/// A manifest is held in memory as a whole, so it is bounded.
pub const MAX_FIRMWARE_MANIFEST_BYTES: u64 = 1 << 20;
/// Most images of one package: the models and revisions of all of them travel inside events, which are at most
/// 128 KiB.
pub const MAX_FIRMWARE_IMAGES: usize = 256;
/// Biggest image. Those of service processors have some hundred megabytes.
pub const MAX_IMAGE_BYTES: u64 = 1 << 30;

/// Longest notes, in bytes.
const MAX_NOTES_BYTES: usize = 64 << 10;

/// The description of a firmware package. Unknown fields are ignored, so that a later release may add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareManifest {
    /// Always [`FIRMWARE_FORMAT`]; raised when an old reader could not understand a package.
    pub format: u32,
    /// Of which kind all of its images are.
    pub kind: FirmwareKind,
    /// The package's name, for people.
    pub name: String,
    /// When it was put together. Not known of an archive that came without a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_time: Option<WallTime>,
    /// Release notes, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// The images, at most one for each model.
    pub images: Vec<FirmwareImage>,
}

/// One file that is written to devices as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareImage {
    /// The file's name in the archive, without folders. It agrees with kind, model and revision; see
    /// [`ImageName`].
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the content.
    pub sha256: Digest,
    /// The model of device it is for; none for a disk qualification package, which is the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<DeviceModel>,
    /// What a device says once it runs the image.
    pub revision: FirmwareRevision,
}

/// The part of a manifest that events and answers carry: all but the files and notes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareSummary {
    /// See [`FirmwareManifest::kind`].
    pub kind: FirmwareKind,
    /// See [`FirmwareManifest::name`].
    pub name: String,
    /// See [`FirmwareManifest::build_time`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_time: Option<WallTime>,
    /// What it holds, in the manifest's order.
    pub offers: Vec<FirmwareOffer>,
    /// Sum of the images' sizes.
    pub image_bytes: u64,
}

/// A revision for a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareOffer {
    /// See [`FirmwareImage::model`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<DeviceModel>,
    /// See [`FirmwareImage::revision`].
    pub revision: FirmwareRevision,
}

/// Why a firmware manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareManifestError {
    /// Not JSON, or not of our shape.
    #[error("it is not a firmware manifest")]
    Syntax(#[source] serde_json::Error),
    /// Written for a newer reader.
    #[error("it is of format {found}; this release reads format {FIRMWARE_FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// Name or notes.
    #[error("its {field} is empty, too long, or has control characters")]
    Text {
        /// Which.
        field: &'static str,
    },
    /// Nothing in it, or more than an event can name.
    #[error("it lists {count} images; a package has 1 to {MAX_FIRMWARE_IMAGES}")]
    ImageCount {
        /// How many.
        count: usize,
    },
    /// A dangerous or malformed file name.
    #[error("it lists the file {file:?}, whose name {problem}")]
    File {
        /// The name.
        file: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// A file in a folder, or one that has the manifest's own name.
    #[error("it lists {file:?}, which is not the bare name of an image")]
    NotBare {
        /// The name.
        file: String,
    },
    /// A file whose name says nothing of firmware, or not all it should.
    #[error("it lists {file:?}, but {problem}")]
    Name {
        /// The name.
        file: String,
        /// What is wrong with it.
        problem: ImageNameError,
    },
    /// A file of another kind among them.
    #[error("its kind is {kind}, but it lists {file:?}, which by its name is {found}")]
    MixedKinds {
        /// The manifest's kind.
        kind: FirmwareKind,
        /// The file.
        file: String,
        /// The file's kind.
        found: FirmwareKind,
    },
    /// A name that contradicts the manifest.
    #[error("it says that {file:?} has {what} {stated}, but the file's name says {named}")]
    NameDiffers {
        /// The file.
        file: String,
        /// `model` or `revision`.
        what: &'static str,
        /// What the manifest says.
        stated: String,
        /// What the name says.
        named: String,
    },
    /// The same name twice. Case does not count, since on some file systems it does not.
    #[error("it lists {file:?} twice")]
    Duplicate {
        /// The name.
        file: String,
    },
    /// Which of them would count is nobody's guess.
    #[error("it lists {file:?} and {other:?} for the same model {model}")]
    TwoOfOneModel {
        /// The model.
        model: DeviceModel,
        /// The one that is listed later.
        file: String,
        /// The one that is listed first.
        other: String,
    },
    /// A device's image that does not say for which model it is.
    #[error("it does not say for which model {file:?} is")]
    ModelMissing {
        /// The file.
        file: String,
    },
    /// A disk qualification package is a node's, whatever its model.
    #[error(
        "it says that {file:?} is for model {model}, but a disk qualification package is for none"
    )]
    ModelStated {
        /// The file.
        file: String,
        /// The model.
        model: DeviceModel,
    },
    /// A package that is replaced as a whole, in several pieces.
    #[error("it lists {count} disk qualification packages; there can be only one")]
    SeveralQualifications {
        /// How many.
        count: usize,
    },
    /// Nothing, or more than any device takes.
    #[error("it lists {file:?} with {size} bytes; an image has 1 to {MAX_IMAGE_BYTES}")]
    Size {
        /// The file.
        file: String,
        /// What it says.
        size: u64,
    },
}

impl FirmwareManifest {
    /// Reads and validates a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, FirmwareManifestError> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        // The format comes first: a manifest of another one may not even have our shape.
        let probe: Probe = serde_json::from_slice(bytes).map_err(FirmwareManifestError::Syntax)?;
        if probe.format != FIRMWARE_FORMAT {
            return Err(FirmwareManifestError::Format {
                found: probe.format,
            });
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(FirmwareManifestError::Syntax)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The manifest as it is signed and put into an archive.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a firmware manifest is plain JSON")
    }

    /// Holds every rule of a manifest.
    pub fn validate(&self) -> Result<(), FirmwareManifestError> {
        if self.format != FIRMWARE_FORMAT {
            return Err(FirmwareManifestError::Format { found: self.format });
        }
        self.validate_texts()?;
        let count = self.images.len();
        if count == 0 || count > MAX_FIRMWARE_IMAGES {
            return Err(FirmwareManifestError::ImageCount { count });
        }
        if self.kind == FirmwareKind::Qualification && count > 1 {
            return Err(FirmwareManifestError::SeveralQualifications { count });
        }
        let mut files = BTreeSet::new();
        for (at, image) in self.images.iter().enumerate() {
            self.validate_image(image)?;
            let file = image.file.clone();
            if !files.insert(file.to_ascii_lowercase()) {
                return Err(FirmwareManifestError::Duplicate { file });
            }
            let earlier = self.images[..at].iter().find(|it| it.model == image.model);
            if let (Some(model), Some(other)) = (&image.model, earlier) {
                let (model, other) = (model.clone(), other.file.clone());
                return Err(FirmwareManifestError::TwoOfOneModel { model, file, other });
            }
        }
        Ok(())
    }

    fn validate_texts(&self) -> Result<(), FirmwareManifestError> {
        let name = &self.name;
        if name.trim().is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(FirmwareManifestError::Text { field: "name" });
        }
        let block = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
        if self.notes.len() > MAX_NOTES_BYTES || !self.notes.chars().all(block) {
            return Err(FirmwareManifestError::Text { field: "notes" });
        }
        Ok(())
    }

    fn validate_image(&self, image: &FirmwareImage) -> Result<(), FirmwareManifestError> {
        let (kind, file) = (self.kind, image.file.clone());
        if let Err(problem) = check_entry_path(&file) {
            return Err(FirmwareManifestError::File { file, problem });
        }
        if file.contains(['/', '\\']) || [FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE].contains(&&*file) {
            return Err(FirmwareManifestError::NotBare { file });
        }
        if image.size == 0 || image.size > MAX_IMAGE_BYTES {
            let size = image.size;
            return Err(FirmwareManifestError::Size { file, size });
        }
        let name = match ImageName::parse(&file) {
            Ok(name) => name,
            Err(problem) => return Err(FirmwareManifestError::Name { file, problem }),
        };
        if name.kind != kind {
            let found = name.kind;
            return Err(FirmwareManifestError::MixedKinds { kind, file, found });
        }
        match (kind, &image.model) {
            (FirmwareKind::Qualification, Some(model)) => {
                let model = model.clone();
                return Err(FirmwareManifestError::ModelStated { file, model });
            }
            (FirmwareKind::Qualification, None) => {}
            (
                FirmwareKind::Disk | FirmwareKind::Shelf | FirmwareKind::ServiceProcessor,
                Some(_),
            ) => {}
            (FirmwareKind::Disk | FirmwareKind::Shelf | FirmwareKind::ServiceProcessor, None) => {
                return Err(FirmwareManifestError::ModelMissing { file });
            }
        }
        agree(&file, "model", image.model.as_ref(), name.model.as_ref())?;
        let revision = Some(&image.revision);
        agree(&file, "revision", revision, name.revision.as_ref())
    }

    /// The image for a model; of a disk qualification package, with no model, the only one.
    pub fn image(&self, model: Option<&DeviceModel>) -> Option<&FirmwareImage> {
        let mut images = self.images.iter();
        images.find(|image| image.model.as_ref() == model)
    }

    /// Sum of the images' sizes.
    pub fn image_bytes(&self) -> u64 {
        let sizes = self.images.iter().map(|image| image.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// What events and answers say about the package.
    pub fn summary(&self) -> FirmwareSummary {
        let offer = |image: &FirmwareImage| FirmwareOffer {
            model: image.model.clone(),
            revision: image.revision.clone(),
        };
        FirmwareSummary {
            kind: self.kind,
            name: self.name.clone(),
            build_time: self.build_time,
            offers: self.images.iter().map(offer).collect(),
            image_bytes: self.image_bytes(),
        }
    }
}

/// What a name does not say cannot contradict.
fn agree<T: PartialEq + ToString>(
    file: &str,
    what: &'static str,
    stated: Option<&T>,
    named: Option<&T>,
) -> Result<(), FirmwareManifestError> {
    match (stated, named) {
        (Some(stated), Some(named)) if stated != named => Err(FirmwareManifestError::NameDiffers {
            file: file.to_owned(),
            what,
            stated: stated.to_string(),
            named: named.to_string(),
        }),
        (Some(_) | None, _) => Ok(()),
    }
}
