//! `evenkeel firmware`: signs, shows and proves firmware packages, which needs no cluster; and brings them in.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use evenkeel_model::{
    DeviceModel, FirmwareImage, FirmwareKind, FirmwareRevision, Qualification, WallTime,
    error_chain,
};
use evenkeel_package_store::{
    FirmwareBuild, FirmwareBuildError, FirmwareError, Policy, SecretKey, SignedFirmware,
    build_firmware, read_unproven_firmware, verify_firmware,
};

use crate::args::{Get, OnOff};
use crate::client::Client;
use crate::devices;
use crate::outcome::{Stop, print, print_json};
use crate::package::{failed, megabytes, parse_time, trusted};
use crate::waiting;

/// Make and examine firmware packages, and bring devices up to date with them.
#[derive(Subcommand)]
pub(crate) enum FirmwareCommand {
    /// Bring firmware in, from a file here or by the cluster from an address, and watch how devices are brought up to
    /// date with it. What it is for is read from its content.
    #[command(visible_alias = "upload")]
    Get(Get),
    /// End the firmware update that runs: nothing more begins, and what is being written comes to its end. With FILE,
    /// withdraw one that waits to begin.
    Cancel {
        /// Name of the file of the one that waits, as `firmware show` has it, or the digest of its package.
        file: Option<String>,
    },
    /// Show the newest firmware update, what devices do now, and the firmware updates that wait to begin.
    Show,
    /// Show every firmware update, and how it went on each node.
    History,
    /// Show the devices that take firmware, and what they run.
    Inventory,
    /// Show or set whether firmware goes to disks that hold data (on, unless set), or to spares only (off).
    Background {
        /// Set it, from the next firmware update on.
        #[arg(value_name = "ON|OFF")]
        set: Option<OnOff>,
    },
    /// Put firmware together and sign it. FILE is an image, or a zip or tgz with images in it, as vendors pack
    /// them: what is no image in one is left out.
    Build(Box<BuildArgs>),
    /// Show what a firmware package holds, and of a disk qualification package how many records of each kind. Does
    /// not check the signature.
    Inspect {
        /// The firmware package: a zip or a tgz.
        file: PathBuf,
    },
    /// Prove a firmware package: its signature and every byte.
    Verify {
        /// The firmware package: a zip or a tgz.
        file: PathBuf,
        /// A public key whose packages are believed. May be given more than once.
        #[arg(long, value_name = "KEY.pub", required = true)]
        trust: Vec<PathBuf>,
    },
}

/// What a firmware package is made of.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Images, or archives of images.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The private key to sign with.
    #[arg(long)]
    key: PathBuf,
    /// The firmware package to write, a zip.
    #[arg(short, long = "output", value_name = "OUT.zip")]
    output: PathBuf,
    /// Take images of this kind only. Without it, all of them must be of one kind.
    #[arg(long)]
    kind: Option<Kind>,
    /// The model that it is for. Needed for an SP or BMC, whose file does not name it.
    #[arg(long)]
    model: Option<DeviceModel>,
    /// What a device says once it runs it. Needed for an SP or BMC, whose file does not name it.
    #[arg(long)]
    revision: Option<FirmwareRevision>,
    /// The package's name; without it, one that says what is in it.
    #[arg(long)]
    name: Option<String>,
    /// Release notes.
    #[arg(long, default_value = "")]
    notes: String,
    /// When it was put together, as in 2026-01-31T12:00:00Z; without it, the time of the newest file.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    build_time: Option<WallTime>,
}

/// A kind of firmware, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The disk qualification package, `qual_devices*`.
    Dqp,
    /// Disks, `MODEL.REVISION.LOD`.
    Disk,
    /// Shelves, `MODULE.VERSION.SFW`.
    Shelf,
    /// Service processors and BMCs, `*_SP_FW.zip` and `*BMC*.zip`.
    Sp,
}

impl From<Kind> for FirmwareKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Dqp => Self::Qualification,
            Kind::Disk => Self::Disk,
            Kind::Shelf => Self::Shelf,
            Kind::Sp => Self::ServiceProcessor,
        }
    }
}

impl FirmwareCommand {
    /// Does it.
    pub(crate) fn run(
        self,
        client: impl FnOnce() -> Result<Client, Stop>,
        json: bool,
    ) -> Result<(), Stop> {
        match self {
            Self::Get(source) => devices::bring(&client()?, &source, json),
            Self::Cancel { file: None } => devices::cancel(&client()?, json),
            Self::Cancel { file: Some(file) } => waiting::withdraw(&client()?, &file, json),
            Self::Show => devices::show(&client()?, json),
            Self::History => devices::show_history(&client()?, json),
            Self::Inventory => devices::inventory(&client()?, json),
            Self::Background { set } => waiting::background(&client()?, set, json),
            Self::Build(args) => build(*args, json),
            Self::Inspect { file } => inspect(&file, json),
            Self::Verify { file, trust } => verify(&file, &trust, json),
        }
    }
}

fn build(args: BuildArgs, json: bool) -> Result<(), Stop> {
    let key = SecretKey::load(&args.key).map_err(|e| failed(&e))?;
    let options = FirmwareBuild {
        kind: args.kind.map(FirmwareKind::from),
        name: args.name,
        model: args.model,
        revision: args.revision,
        notes: args.notes,
        build_time: args.build_time,
    };
    let output = &args.output;
    let built = build_firmware(&args.files, &key, options, output).map_err(|error| {
        let (output, cause) = (output.display(), error_chain(&error));
        Stop::Failed(format!(
            "cannot build {output}: {cause}; {}",
            advice(&error)
        ))
    })?;
    let key_id = key.public().id().to_string();
    if json {
        return print_json(&serde_json::json!({
            "digest": built.digest,
            "file": output,
            "manifest": built.manifest,
            "archive_bytes": built.archive_bytes,
            "left_out": built.left_out,
            "signed_by": key_id,
        }));
    }
    print(&format!("{} {}\n", built.digest, output.display()))?;
    for path in &built.left_out {
        eprintln!("left out: {path}");
    }
    eprintln!(
        "{}: {}, {} packed, signed by key {key_id}",
        built.manifest.name,
        count(built.manifest.images.len()),
        megabytes(built.archive_bytes),
    );
    Ok(())
}

/// What to do about it.
fn advice(error: &FirmwareBuildError) -> &'static str {
    match error {
        FirmwareBuildError::NothingSaid { .. } => "say it with --model and --revision",
        FirmwareBuildError::OtherKind { .. } => {
            "build one package for each kind, or choose one with --kind"
        }
        FirmwareBuildError::NotAnImage { .. } | FirmwareBuildError::Nothing => {
            "docs/firmware.md says how files are named"
        }
        FirmwareBuildError::Manifest(_) => "docs/firmware.md has the rules",
        FirmwareBuildError::TooLarge { .. } => "build several packages",
        FirmwareBuildError::Input { source, .. } => source.advice(),
        FirmwareBuildError::Changed(_) => "try it again when nobody writes to them",
        FirmwareBuildError::Output(_) | FirmwareBuildError::Io { .. } => {
            "see that the files are there and that you may read and write them"
        }
    }
}

fn inspect(file: &Path, json: bool) -> Result<(), Stop> {
    let (signed, qualification) = read_unproven_firmware(file).map_err(|e| refused(file, &e))?;
    if json {
        return print_json(&serde_json::json!({
            "digest": signed.digest,
            "signed_by": signed.signed_by().map(|key| key.to_string()),
            "signature_checked": false,
            "manifest": signed.manifest,
            "qualification": qualification.as_ref().map(qualified),
        }));
    }
    print(&describe(&signed, qualification.as_ref()))
}

fn qualified(it: &Qualification) -> serde_json::Value {
    let counts = it.counts();
    serde_json::json!({
        "version": it.version(),
        "revision": it.revision(),
        "record_count": {
            "drive": counts.drive,
            "alias": counts.alias,
            "device": counts.device,
            "system": counts.system,
        },
    })
}

fn describe(signed: &SignedFirmware, qualification: Option<&Qualification>) -> String {
    let manifest = &signed.manifest;
    let key = signed.signed_by().map_or_else(
        || "nobody".to_owned(),
        |key| format!("key {key} (not checked; see `firmware verify`)"),
    );
    let built = manifest.build_time.map(|time| time.to_string());
    let mut rows = vec![
        ("Name", manifest.name.clone()),
        ("Kind", manifest.kind.to_string()),
        ("Built", built.unwrap_or_else(|| "-".to_owned())),
        ("Digest", signed.digest.to_string()),
        ("Signed by", key),
    ];
    rows.extend(manifest.images.iter().map(|it| ("Image", shown(it))));
    if let Some(it) = qualification {
        let counts = it.counts();
        rows.push(("Version", it.version().to_owned()));
        rows.push(("Revision", it.revision().to_string()));
        rows.push((
            "Records",
            format!(
                "{} drive, {} alias, {} device, {} system",
                counts.drive, counts.alias, counts.device, counts.system
            ),
        ));
    }
    let notes = manifest.notes.lines();
    rows.extend(notes.map(|line| ("Notes", line.to_owned())));
    rows.into_iter()
        .map(|(name, value)| format!("{name:>12}: {value}\n"))
        .collect()
}

fn shown(image: &FirmwareImage) -> String {
    let model = image.model.as_ref().map(|model| format!("{model} "));
    format!(
        "{}: {}{}, {} bytes",
        image.file,
        model.unwrap_or_default(),
        image.revision,
        image.size
    )
}

fn verify(file: &Path, trust: &[PathBuf], json: bool) -> Result<(), Stop> {
    let policy = Policy::trusting(trusted(trust)?);
    let signed = verify_firmware(file, &policy).map_err(|e| refused(file, &e))?;
    let key = signed.signed_by().map(|key| key.to_string());
    if json {
        return print_json(&serde_json::json!({
            "digest": signed.digest,
            "kind": signed.manifest.kind,
            "images": signed.manifest.images.len(),
            "signed_by": key,
            "signature_checked": true,
        }));
    }
    print(&format!("{} {}\n", signed.digest, file.display()))?;
    eprintln!(
        "{} is whole: {}, signed by key {}",
        signed.manifest.name,
        count(signed.manifest.images.len()),
        key.as_deref().unwrap_or("-"),
    );
    Ok(())
}

fn count(images: usize) -> String {
    match images {
        1 => "1 image".to_owned(),
        images => format!("{images} images"),
    }
}

/// What was wrong, with which file, and what to do about it.
fn refused(file: &Path, error: &FirmwareError) -> Stop {
    Stop::Failed(format!(
        "{}: {}; {}",
        file.display(),
        error_chain(error),
        error.advice()
    ))
}
