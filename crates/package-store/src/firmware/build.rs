//! Makes a signed firmware package of images, and of the archives that vendors pack them in.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use evenkeel_model::{
    DeviceModel, Digest, FIRMWARE_FORMAT, FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE, FirmwareImage,
    FirmwareKind, FirmwareManifest, FirmwareRevision, ImageName, WallTime,
};
use sha2::{Digest as _, Sha256};

use crate::build::{check_output, publish, unfinished_path};
use crate::head::Policy;
use crate::keys::SecretKey;

use super::build_error::FirmwareBuildError;
use super::container::{Container, Halt, MAX_UNPACKED_BYTES, Part};
use super::error::FirmwareError;
use super::prove::{Found, Looking, bare, default_name, verify_firmware};
use super::zip_write::{ZipFile, ZipWriter};

const READ_BYTES: usize = 256 << 10;

/// What a firmware package says about itself beyond its images.
#[derive(Clone, Debug, Default)]
pub struct FirmwareBuild {
    /// Which kind to take from the given archives; `None` for the only one that is in them.
    pub kind: Option<FirmwareKind>,
    /// The package's name; `None` for one that is made of its content.
    pub name: Option<String>,
    /// The model, where the image's name does not say it.
    pub model: Option<DeviceModel>,
    /// The revision, where neither the image's name nor its content says it.
    pub revision: Option<FirmwareRevision>,
    /// Release notes.
    pub notes: String,
    /// `None`: the time of the newest of the files, which keeps builds reproducible.
    pub build_time: Option<WallTime>,
}

/// A firmware package that was built.
#[derive(Clone, Debug)]
pub struct BuiltFirmware {
    /// Its identity.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: FirmwareManifest,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// What was in the given archives and is no image of that kind.
    pub left_out: Vec<String>,
}

/// Packs the images in `files` into the zip `output`, signed with `key`; durable when it returns. Each file is
/// an image, or a zip or tgz with images in it.
pub fn build_firmware(
    files: &[PathBuf],
    key: &SecretKey,
    options: FirmwareBuild,
    output: &Path,
) -> Result<BuiltFirmware, FirmwareBuildError> {
    check_output(output)?;
    let mut gathered = Gathered::of(files, options.kind)?;
    let seen = look_at(&mut gathered)?;
    let build_time = match options.build_time {
        Some(time) => time,
        None => newest(files)?,
    };
    let manifest = make_manifest(gathered.kind, &seen, &options, build_time)?;
    let bytes = manifest.to_bytes();
    let unfinished = unfinished_path(output);
    let written = write_zip(&mut gathered, &seen, &bytes, key, &unfinished)
        .and_then(|()| prove_written(&unfinished, key))
        .and_then(|()| Ok(publish(&unfinished, output)?));
    if let Err(error) = written {
        // The first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    let meta = fs::metadata(output).map_err(FirmwareBuildError::io("examine", output))?;
    Ok(BuiltFirmware {
        digest: Digest(Sha256::digest(&bytes).into()),
        manifest,
        archive_bytes: meta.len(),
        left_out: gathered.left_out,
    })
}

/// The given files, and what of them is taken.
struct Gathered {
    kind: FirmwareKind,
    inputs: Vec<Input>,
    left_out: Vec<String>,
}

struct Input {
    path: PathBuf,
    holds: Holds,
}

enum Holds {
    /// The file is an image of that name.
    Image(String),
    /// The file is an archive with these images in it.
    Archive {
        container: Container,
        images: Vec<String>,
    },
}

impl Gathered {
    fn of(files: &[PathBuf], wanted: Option<FirmwareKind>) -> Result<Self, FirmwareBuildError> {
        let (mut inputs, mut left_out, mut kind) = (Vec::new(), Vec::new(), wanted);
        for path in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let named = ImageName::parse(&name);
            let is_archive = is_archive(path).map_err(FirmwareBuildError::io("read", path))?;
            // A qualification package is text; in an archive of that name there is one.
            let is_image = |it: &ImageName| it.kind != FirmwareKind::Qualification || !is_archive;
            let holds = match named {
                Ok(image) if is_image(&image) => {
                    let wanted = *kind.get_or_insert(image.kind);
                    check_kind(path, image.kind, wanted)?;
                    Holds::Image(name.into_owned())
                }
                Err(problem) if !is_archive => {
                    let path = path.clone();
                    return Err(FirmwareBuildError::NotAnImage { path, problem });
                }
                Ok(_) | Err(_) => {
                    let (container, images) = pick(path, &mut kind, wanted, &mut left_out)?;
                    Holds::Archive { container, images }
                }
            };
            let path = path.clone();
            inputs.push(Input { path, holds });
        }
        Ok(Self {
            kind: kind.ok_or(FirmwareBuildError::Nothing)?,
            inputs,
            left_out,
        })
    }

    /// Tells `each` of every image, in order, with its content.
    fn read(
        &mut self,
        mut each: impl FnMut(&str, Part<'_>) -> Result<(), FirmwareBuildError>,
    ) -> Result<(), FirmwareBuildError> {
        for input in &mut self.inputs {
            match &mut input.holds {
                Holds::Image(name) => read_file(&input.path, name, &mut each)?,
                Holds::Archive { container, images } => {
                    let read =
                        container.read(|path, part| match images.iter().any(|it| it == path) {
                            true => each(bare(path), part),
                            false => Ok(()),
                        });
                    read.map_err(|halt| match halt {
                        Halt::Refused(source) => refused(&input.path, source),
                        Halt::Told(error) => error,
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn refused(path: &Path, source: FirmwareError) -> FirmwareBuildError {
    let path = path.to_owned();
    FirmwareBuildError::Input { path, source }
}

fn check_kind(
    path: &Path,
    found: FirmwareKind,
    wanted: FirmwareKind,
) -> Result<(), FirmwareBuildError> {
    if found == wanted {
        return Ok(());
    }
    Err(FirmwareBuildError::OtherKind {
        path: path.to_owned(),
        found,
        wanted,
    })
}

fn is_archive(path: &Path) -> io::Result<bool> {
    let mut start = [0; 2];
    match File::open(path)?.read_exact(&mut start) {
        Ok(()) => Ok(matches!(start, [b'P', b'K'] | [0x1f, 0x8b])),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The images of an archive. Those of another kind than was asked for, and all that is no image, are left out;
/// where no kind was asked for, another kind is an error.
fn pick(
    path: &Path,
    kind: &mut Option<FirmwareKind>,
    wanted: Option<FirmwareKind>,
    left_out: &mut Vec<String>,
) -> Result<(Container, Vec<String>), FirmwareBuildError> {
    let container = Container::open(path, MAX_UNPACKED_BYTES).map_err(|it| refused(path, it))?;
    let mut images = Vec::new();
    for file in &container.files {
        let named = ImageName::parse(bare(&file.path)).ok();
        match named.filter(|name| wanted.is_none_or(|wanted| name.kind == wanted)) {
            Some(name) => {
                check_kind(path, name.kind, *kind.get_or_insert(name.kind))?;
                images.push(file.path.clone());
            }
            None => left_out.push(file.path.clone()),
        }
    }
    Ok((container, images))
}

fn read_file(
    path: &Path,
    name: &str,
    each: &mut impl FnMut(&str, Part<'_>) -> Result<(), FirmwareBuildError>,
) -> Result<(), FirmwareBuildError> {
    let mut file = File::open(path).map_err(FirmwareBuildError::io("open", path))?;
    each(name, Part::Begin)?;
    let mut piece = vec![0; READ_BYTES];
    loop {
        let n = file
            .read(&mut piece)
            .map_err(FirmwareBuildError::io("read", path))?;
        if n == 0 {
            return each(name, Part::End);
        }
        each(name, Part::Data(&piece[..n]))?;
    }
}

/// An image as it was read first.
struct Seen {
    found: Found,
    crc: u32,
}

fn look_at(gathered: &mut Gathered) -> Result<Vec<Seen>, FirmwareBuildError> {
    let kind = gathered.kind;
    let mut seen = Vec::new();
    let (mut looking, mut crc) = (Looking::new(kind), flate2::Crc::new());
    gathered.read(|file, part| {
        match part {
            Part::Begin => (looking, crc) = (Looking::new(kind), flate2::Crc::new()),
            Part::Data(bytes) => {
                looking.data(bytes);
                crc.update(bytes);
            }
            Part::End => {
                let looked = std::mem::replace(&mut looking, Looking::new(kind));
                let found = looked
                    .end(file)
                    .map_err(|it| refused(Path::new(file), it))?;
                let crc = crc.sum();
                seen.push(Seen { found, crc });
            }
        }
        Ok(())
    })?;
    Ok(seen)
}

fn newest(files: &[PathBuf]) -> Result<WallTime, FirmwareBuildError> {
    use std::os::unix::fs::MetadataExt;
    let mut newest = 0;
    for path in files {
        let meta = fs::metadata(path).map_err(FirmwareBuildError::io("examine", path))?;
        newest = newest.max(u64::try_from(meta.mtime()).unwrap_or(0));
    }
    Ok(WallTime::from_unix_seconds(newest))
}

fn make_manifest(
    kind: FirmwareKind,
    seen: &[Seen],
    options: &FirmwareBuild,
    build_time: WallTime,
) -> Result<FirmwareManifest, FirmwareBuildError> {
    let mut images = Vec::with_capacity(seen.len());
    for Seen { found, .. } in seen {
        images.push(make_image(kind, found, options)?);
    }
    let name = options.name.clone();
    let manifest = FirmwareManifest {
        format: FIRMWARE_FORMAT,
        kind,
        name: name.unwrap_or_else(|| default_name(kind, &images)),
        build_time: Some(build_time),
        notes: options.notes.clone(),
        images,
    };
    manifest.validate()?;
    Ok(manifest)
}

/// What is asked for comes first: if it contradicts the name, the manifest's own rules say so.
fn make_image(
    kind: FirmwareKind,
    found: &Found,
    options: &FirmwareBuild,
) -> Result<FirmwareImage, FirmwareBuildError> {
    let file = found.file.clone();
    let name = ImageName::parse(&file).ok();
    let (model, named) = name.map_or((None, None), |name| (name.model, name.revision));
    let model = options.model.clone().or(model);
    let revision = options.revision.clone().or(named);
    let nothing_said = |missing| FirmwareBuildError::NothingSaid {
        file: file.clone(),
        missing,
    };
    if model.is_none() && kind != FirmwareKind::Qualification {
        return Err(nothing_said("model"));
    }
    let revision = revision.or_else(|| found.revision.clone());
    let revision = revision.ok_or_else(|| nothing_said("revision"))?;
    if let Some(own) = found.revision.clone().filter(|own| *own != revision) {
        let path = Path::new(&file).to_owned();
        let source = FirmwareError::QualificationDiffers {
            file,
            listed: revision,
            found: own,
        };
        return Err(FirmwareBuildError::Input { path, source });
    }
    Ok(FirmwareImage {
        file,
        size: found.size,
        sha256: found.sha256,
        model,
        revision,
    })
}

fn write_zip(
    gathered: &mut Gathered,
    seen: &[Seen],
    manifest: &[u8],
    key: &SecretKey,
    output: &Path,
) -> Result<(), FirmwareBuildError> {
    let failed = || FirmwareBuildError::io("write", output);
    let file = File::create(output).map_err(FirmwareBuildError::io("create", output))?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let signature = key.sign(manifest).to_string();
    for (name, bytes) in [
        (FIRMWARE_MANIFEST, manifest),
        (FIRMWARE_SIGNATURE, signature.as_bytes()),
    ] {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let header = zip_file(name, bytes.len() as u64, crc.sum())?;
        zip.begin(&header)
            .and_then(|()| zip.data(bytes))
            .map_err(failed())?;
    }
    let mut next = seen.iter();
    gathered.read(|file, part| match part {
        Part::Begin => {
            let header = match next.next() {
                Some(Seen { found, crc }) => zip_file(&found.file, found.size, *crc)?,
                // It is there since it was looked at; what comes of it is found when all is proven.
                None => zip_file(file, 0, 0)?,
            };
            zip.begin(&header).map_err(failed())
        }
        Part::Data(bytes) => zip.data(bytes).map_err(failed()),
        Part::End => Ok(()),
    })?;
    let mut file = zip.finish().map_err(failed())?;
    file.flush().map_err(failed())?;
    file.get_ref()
        .sync_all()
        .map_err(FirmwareBuildError::io("sync", output))
}

fn zip_file(name: &str, size: u64, crc: u32) -> Result<ZipFile, FirmwareBuildError> {
    let too_large = |_| FirmwareBuildError::TooLarge {
        file: name.to_owned(),
        limit: MAX_UNPACKED_BYTES,
    };
    Ok(ZipFile {
        name: name.to_owned(),
        size: u32::try_from(size).map_err(too_large)?,
        crc,
    })
}

/// The files may have changed between the two times that they were read.
fn prove_written(path: &Path, key: &SecretKey) -> Result<(), FirmwareBuildError> {
    let policy = Policy::trusting([key.public()].into_iter().collect());
    let proven = verify_firmware(path, &policy).map(|_| ());
    proven.map_err(FirmwareBuildError::Changed)
}
