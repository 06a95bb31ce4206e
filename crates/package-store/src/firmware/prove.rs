//! Proves a firmware archive: its structure, its manifest's signature before a word of it is believed, then every
//! image.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::Path;

use evenkeel_model::{
    Digest, FIRMWARE_FORMAT, FirmwareImage, FirmwareKind, FirmwareManifest, FirmwareRevision,
    ImageName, MAX_QUALIFICATION_BYTES, Qualification,
};
use sha2::{Digest as _, Sha256};

use crate::head::Policy;
use crate::keys::KeyId;
use crate::signature::Signature;

use super::container::{Container, Halt, Listed, MAX_UNPACKED_BYTES, Part};
use super::error::FirmwareError;

/// How every zip begins.
const ZIP_MARK: &[u8] = b"PK";

/// A firmware manifest whose exact bytes were signed, or which came unsigned where that is allowed.
#[derive(Clone, Debug)]
pub struct SignedFirmware {
    /// The exact bytes. Of an archive without a manifest, those of the one that its content makes.
    pub bytes: Vec<u8>,
    /// The signature file as it came; empty for unsigned firmware.
    pub signature_text: Vec<u8>,
    /// The signature in it; `None` for unsigned firmware.
    pub signature: Option<Signature>,
    /// SHA-256 of `bytes`: the firmware's identity.
    pub digest: Digest,
    /// What the bytes say.
    pub manifest: FirmwareManifest,
}

impl SignedFirmware {
    /// The key that signed it; `None` for unsigned firmware.
    pub fn signed_by(&self) -> Option<KeyId> {
        self.signature.as_ref().map(|signature| signature.key_id)
    }

    /// Holds it against what a node demands now: keys may have been revoked since it came.
    pub fn check(&self, policy: &Policy) -> Result<(), FirmwareError> {
        match &self.signature {
            Some(signature) => Ok(policy.trusted.verify(&self.bytes, signature)?),
            None if policy.allow_unsigned => Ok(()),
            None => Err(FirmwareError::Unsigned),
        }
    }
}

/// What is done with the images as they are proven.
pub(crate) trait Images {
    type Error;
    /// So many bytes come, as far as the archive says.
    fn begin(&mut self, image_bytes: u64) -> Result<(), Self::Error>;
    /// An image begins; its name is a bare file name.
    fn open(&mut self, file: &str) -> Result<(), Self::Error>;
    /// Its next bytes.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    /// It ends. Whether it is right is said of all of them together.
    fn close(&mut self) -> Result<(), Self::Error>;
}

/// Proves the archive at `path` and gives its images to `images`. What they got counts only when this returns
/// well.
pub(crate) fn prove<I: Images>(
    path: &Path,
    policy: &Policy,
    expected: Option<Digest>,
    images: &mut I,
) -> Result<SignedFirmware, Halt<I::Error>> {
    let mut container = Container::open(path, policy.max_unpacked_bytes)?;
    let signed = prove_head(&container, policy)?;
    prove_images(&mut container, signed, expected, images)
}

/// Proves all but the head, which is proven: that the archive holds what the manifest lists, or without one what its
/// names say.
fn prove_images<I: Images>(
    container: &mut Container,
    signed: Option<SignedFirmware>,
    expected: Option<Digest>,
    images: &mut I,
) -> Result<SignedFirmware, Halt<I::Error>> {
    let kind = match &signed {
        Some(signed) => {
            check_expected(expected, signed.digest)?;
            check_files(&container.files, &signed.manifest)?;
            signed.manifest.kind
        }
        None => kind_by_names(&container.files)?,
    };
    let sizes = container.files.iter().map(|file| file.size);
    images.begin(sizes.sum()).map_err(Halt::Told)?;
    let found = read_images(container, kind, images)?;
    let signed = match signed {
        Some(signed) => {
            check_content(&signed.manifest, &found)?;
            signed
        }
        None => from_content(kind, found)?,
    };
    check_expected(expected, signed.digest)?;
    Ok(signed)
}

/// Proves a firmware archive: signature and every byte.
pub fn verify_firmware(path: &Path, policy: &Policy) -> Result<SignedFirmware, FirmwareError> {
    never_told(prove(path, policy, None, &mut Nowhere))
}

/// Proves a firmware archive, but for who signed it: there is a signature, and whom to trust is for each cluster to say.
pub(super) fn verify_all_but_trust(path: &Path) -> Result<SignedFirmware, FirmwareError> {
    let mut container = Container::open(path, MAX_UNPACKED_BYTES)?;
    let signed = parse_head(&container)?.ok_or(FirmwareError::NoManifest)?;
    if signed.signature.is_none() {
        return Err(FirmwareError::Unsigned);
    }
    never_told(prove_images(
        &mut container,
        Some(signed),
        None,
        &mut Nowhere,
    ))
}

/// Whoever takes nothing has nothing to say.
fn never_told<T>(outcome: Result<T, Halt<Infallible>>) -> Result<T, FirmwareError> {
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(Halt::Refused(error)) => Err(error),
        Err(Halt::Told(never)) => match never {},
    }
}

/// Takes nothing of the images.
struct Nowhere;

impl Images for Nowhere {
    type Error = Infallible;
    fn begin(&mut self, _: u64) -> Result<(), Infallible> {
        Ok(())
    }
    fn open(&mut self, _: &str) -> Result<(), Infallible> {
        Ok(())
    }
    fn data(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
    fn close(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Reads what an archive says about itself, and of a disk qualification package the content, **without checking
/// its signature**: for showing, never for acting. An archive without a manifest is described by its content.
pub fn read_unproven_firmware(
    path: &Path,
) -> Result<(SignedFirmware, Option<Qualification>), FirmwareError> {
    let mut container = Container::open(path, MAX_UNPACKED_BYTES)?;
    let (kind, signed) = match parse_head(&container)? {
        Some(signed) => (signed.manifest.kind, Some(signed)),
        None => (kind_by_names(&container.files)?, None),
    };
    let mut kept = Kept::default();
    let found = never_told(read_images(&mut container, kind, &mut kept))?;
    let qualification = match kind {
        FirmwareKind::Qualification => Qualification::parse(&kept.0).ok(),
        FirmwareKind::Disk | FirmwareKind::Shelf | FirmwareKind::ServiceProcessor => None,
    };
    let signed = match signed {
        Some(signed) => signed,
        None => from_content(kind, found)?,
    };
    Ok((signed, qualification))
}

/// The first bytes of what came, as many as a disk qualification package may have.
#[derive(Default)]
struct Kept(Vec<u8>);

impl Images for Kept {
    type Error = Infallible;
    fn begin(&mut self, _: u64) -> Result<(), Infallible> {
        Ok(())
    }
    fn open(&mut self, _: &str) -> Result<(), Infallible> {
        Ok(())
    }
    fn data(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        if self.0.len() <= MAX_QUALIFICATION_BYTES {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }
    fn close(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The signature first: nothing of an untrusted manifest is even parsed. `None` for an archive without a manifest,
/// where that is allowed.
fn prove_head(
    container: &Container,
    policy: &Policy,
) -> Result<Option<SignedFirmware>, FirmwareError> {
    match (&container.manifest, &container.signature) {
        (Some(bytes), Some(text)) => policy.trusted.verify(bytes, &Signature::parse(text)?)?,
        (Some(_), None) if !policy.allow_unsigned => return Err(FirmwareError::Unsigned),
        (None, None) if !policy.allow_unsigned => return Err(FirmwareError::NoManifest),
        (Some(_), None) | (None, _) => {}
    }
    parse_head(container)
}

fn parse_head(container: &Container) -> Result<Option<SignedFirmware>, FirmwareError> {
    let Some(bytes) = &container.manifest else {
        return match container.signature {
            Some(_) => Err(FirmwareError::SignatureAlone),
            None => Ok(None),
        };
    };
    let signature_text = container.signature.clone();
    let signature = signature_text
        .as_deref()
        .map(Signature::parse)
        .transpose()?;
    Ok(Some(SignedFirmware {
        manifest: FirmwareManifest::parse(bytes)?,
        digest: Digest(Sha256::digest(bytes).into()),
        bytes: bytes.clone(),
        signature_text: signature_text.unwrap_or_default(),
        signature,
    }))
}

fn check_expected(expected: Option<Digest>, found: Digest) -> Result<(), FirmwareError> {
    match expected {
        Some(expected) if expected != found => Err(FirmwareError::Other { expected, found }),
        Some(_) | None => Ok(()),
    }
}

/// What the archive holds is what the manifest lists, by name and size.
fn check_files(files: &[Listed], manifest: &FirmwareManifest) -> Result<(), FirmwareError> {
    for file in files {
        let listed = manifest.images.iter().find(|it| it.file == file.path);
        let Some(listed) = listed else {
            let path = file.path.clone();
            return Err(FirmwareError::Unlisted { path });
        };
        if listed.size != file.size {
            return Err(FirmwareError::SizeLie {
                file: file.path.clone(),
                listed: listed.size,
                found: file.size,
            });
        }
    }
    let is_there = |image: &&FirmwareImage| files.iter().any(|file| file.path == image.file);
    match manifest.images.iter().find(|image| !is_there(image)) {
        Some(image) => Err(FirmwareError::Missing {
            file: image.file.clone(),
        }),
        None => Ok(()),
    }
}

/// Without a manifest the names are all that is known, so each must say what it is.
fn kind_by_names(files: &[Listed]) -> Result<FirmwareKind, FirmwareError> {
    let mut first: Option<(&str, FirmwareKind)> = None;
    let mut names = HashSet::new();
    for file in files {
        let path = file.path.as_str();
        if !names.insert(bare(path).to_ascii_lowercase()) {
            let path = path.to_owned();
            return Err(FirmwareError::Duplicate { path });
        }
        let kind = match ImageName::parse(bare(path)) {
            Ok(name) => name.kind,
            Err(problem) => {
                let path = path.to_owned();
                return Err(FirmwareError::NotAnImage { path, problem });
            }
        };
        match first {
            None => first = Some((path, kind)),
            Some((_, first_kind)) if first_kind == kind => {}
            Some((first, first_kind)) => {
                return Err(FirmwareError::MixedKinds {
                    first: first.to_owned(),
                    first_kind,
                    second: path.to_owned(),
                    second_kind: kind,
                });
            }
        }
    }
    first.map(|(_, kind)| kind).ok_or(FirmwareError::Empty)
}

pub(super) fn bare(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// An image as it is in the archive.
pub(super) struct Found {
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    /// Of a disk qualification package, its own.
    pub(super) revision: Option<FirmwareRevision>,
}

fn read_images<I: Images>(
    container: &mut Container,
    kind: FirmwareKind,
    images: &mut I,
) -> Result<Vec<Found>, Halt<I::Error>> {
    let mut found = Vec::new();
    let mut looking = Looking::new(kind);
    let read = container.read(|path, part| {
        let told = |error| Halt::Told(error);
        let file = bare(path);
        match part {
            Part::Begin => images.open(file).map_err(told),
            Part::Data(bytes) => {
                looking.data(bytes);
                images.data(bytes).map_err(told)
            }
            Part::End => {
                images.close().map_err(told)?;
                let looked = std::mem::replace(&mut looking, Looking::new(kind));
                found.push(looked.end(file)?);
                Ok(())
            }
        }
    });
    match read {
        Ok(()) => Ok(found),
        Err(Halt::Refused(error) | Halt::Told(Halt::Refused(error))) => Err(Halt::Refused(error)),
        Err(Halt::Told(Halt::Told(error))) => Err(Halt::Told(error)),
    }
}

/// Looks at an image as it passes.
pub(super) struct Looking {
    kind: FirmwareKind,
    sha256: Sha256,
    size: u64,
    /// All of a disk qualification package, if it is not too big; of others the first bytes.
    front: Vec<u8>,
}

impl Looking {
    pub(super) fn new(kind: FirmwareKind) -> Self {
        Self {
            kind,
            sha256: Sha256::new(),
            size: 0,
            front: Vec::new(),
        }
    }

    pub(super) fn data(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
        let wanted = match self.kind {
            // One more byte shows that it is too big.
            FirmwareKind::Qualification => MAX_QUALIFICATION_BYTES + 1,
            FirmwareKind::Disk | FirmwareKind::Shelf | FirmwareKind::ServiceProcessor => {
                ZIP_MARK.len()
            }
        };
        let room = wanted.saturating_sub(self.front.len()).min(bytes.len());
        self.front.extend_from_slice(&bytes[..room]);
    }

    pub(super) fn end(self, file: &str) -> Result<Found, FirmwareError> {
        let file = file.to_owned();
        let revision = match self.kind {
            FirmwareKind::Qualification => match Qualification::parse(&self.front) {
                Ok(read) => Some(read.revision().clone()),
                Err(source) => return Err(FirmwareError::Qualification { file, source }),
            },
            FirmwareKind::ServiceProcessor if self.front != ZIP_MARK => {
                return Err(FirmwareError::NotAZip { file });
            }
            FirmwareKind::Disk | FirmwareKind::Shelf | FirmwareKind::ServiceProcessor => None,
        };
        Ok(Found {
            file,
            size: self.size,
            sha256: Digest(self.sha256.finalize().into()),
            revision,
        })
    }
}

fn check_content(manifest: &FirmwareManifest, found: &[Found]) -> Result<(), FirmwareError> {
    for it in found {
        let listed = manifest.images.iter().find(|image| image.file == it.file);
        let file = it.file.clone();
        let Some(listed) = listed else {
            return Err(FirmwareError::Unlisted { path: file });
        };
        if listed.sha256 != it.sha256 || listed.size != it.size {
            return Err(FirmwareError::Tampered { file });
        }
        if let Some(found) = &it.revision
            && *found != listed.revision
        {
            let (listed, found) = (listed.revision.clone(), found.clone());
            return Err(FirmwareError::QualificationDiffers {
                file,
                listed,
                found,
            });
        }
    }
    Ok(())
}

/// Makes the manifest that an archive came without. The same content makes the same manifest.
fn from_content(kind: FirmwareKind, found: Vec<Found>) -> Result<SignedFirmware, FirmwareError> {
    let mut images = Vec::with_capacity(found.len());
    for it in found {
        let named = ImageName::parse(&it.file).ok();
        let (model, named) = named.map_or((None, None), |name| (name.model, name.revision));
        let Some(revision) = named.or(it.revision) else {
            return Err(FirmwareError::NothingSaid { file: it.file });
        };
        images.push(FirmwareImage {
            file: it.file,
            size: it.size,
            sha256: it.sha256,
            model,
            revision,
        });
    }
    // Whatever order the archive holds them in.
    images.sort_by(|a, b| a.file.cmp(&b.file));
    let manifest = FirmwareManifest {
        format: FIRMWARE_FORMAT,
        kind,
        name: default_name(kind, &images),
        build_time: None,
        notes: String::new(),
        images,
    };
    manifest.validate()?;
    let bytes = manifest.to_bytes();
    Ok(SignedFirmware {
        digest: Digest(Sha256::digest(&bytes).into()),
        bytes,
        signature_text: Vec::new(),
        signature: None,
        manifest,
    })
}

/// A name for people, of what is in it.
pub(super) fn default_name(kind: FirmwareKind, images: &[FirmwareImage]) -> String {
    match images {
        [image] => match &image.model {
            Some(model) => format!("{kind} {model} {}", image.revision),
            None => format!("{kind} {}", image.revision),
        },
        images => format!("{kind} for {} models", images.len()),
    }
}
