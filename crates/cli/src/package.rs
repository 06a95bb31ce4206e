//! `evenkeel package`: makes, shows, proves and unpacks packages. Needs no cluster.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::{Args, Subcommand};
use evenkeel_model::{
    BundledCheck, MAX_CHECK_SECONDS, Owner, PlatformName, SourceVersions, Version, WallTime,
    error_chain,
};
use evenkeel_package_store::{
    BuildOptions, Built, Compression, ExtractError, ExtractProgress, ExtractRequest, KeyId, Owners,
    Policy, PublicKey, Recorded, SecretKey, SignedFirmware, SignedManifest, TrustedKeys,
    VerifyError, ZipEntry, ZipError, ZipLimits, ZipReader, build, extract_archive,
    read_slot_manifest, read_unproven_manifest, verify_archive,
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::outcome::{Stop, print, print_json};

/// Make and examine software packages.
#[derive(Debug, Subcommand)]
pub(crate) enum PackageCommand {
    /// Make a signing key: writes KEY (keep it secret) and KEY.pub.
    Keygen {
        /// The file to write; `.pub` is added for the public half.
        #[arg(long = "out", value_name = "KEY")]
        out: PathBuf,
    },
    /// Build and sign a package from a tree of files.
    Build(Box<BuildArgs>),
    /// Show what a package says about itself. Does not check the signature. Of a zip file, as firmware comes
    /// in, shows the entries, and proves that it is sound.
    Inspect {
        /// The package, or a zip file.
        file: PathBuf,
    },
    /// Prove a package: its signature and every byte.
    Verify {
        /// The package.
        file: PathBuf,
        /// A public key whose packages are believed. May be given more than once.
        #[arg(long, value_name = "KEY.pub", required = true)]
        trust: Vec<PathBuf>,
    },
    /// Prove a package while unpacking it, as an update does. DIR becomes exactly the package.
    Extract {
        /// The package.
        file: PathBuf,
        /// Where to: a new or empty directory, or one that a package was extracted into before.
        #[arg(short = 'C', long = "directory", value_name = "DIR")]
        directory: PathBuf,
        /// A public key whose packages are believed. May be given more than once.
        #[arg(long, value_name = "KEY.pub", required = true)]
        trust: Vec<PathBuf>,
    },
}

/// What a package is built from.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The package's version, shown and compared exactly as given.
    #[arg(long)]
    version: Version,
    /// The tree of files that becomes the slot's content.
    #[arg(long, value_name = "TREE")]
    root: PathBuf,
    /// The private key to sign with.
    #[arg(long)]
    key: PathBuf,
    /// The package to write.
    #[arg(short, long = "output", value_name = "FILE")]
    output: PathBuf,
    /// The hardware platform it is for.
    #[arg(long, default_value_t = default_platform())]
    platform: PlatformName,
    /// The variant, for a build that not every node may take.
    #[arg(long)]
    variant: Option<String>,
    /// A feature that the image supports: a node that uses one takes only packages that have it. May be
    /// given more than once.
    #[arg(long = "feature", value_name = "NAME")]
    features: Vec<String>,
    /// A version that updates to this one may start from. May be given more than once; without it, any.
    #[arg(long = "source-version", value_name = "VERSION")]
    source_versions: Vec<Version>,
    /// The product's name.
    #[arg(long, default_value = "evenkeel")]
    name: String,
    /// Something a person must see to before an update. May be given more than once.
    #[arg(long = "manual-step", value_name = "TEXT")]
    manual_steps: Vec<String>,
    /// The path, within the tree, of firmware it brings. May be given more than once.
    #[arg(long, value_name = "PATH")]
    firmware: Vec<String>,
    /// A check it brings, run on every node before an update: the path, within the tree, of an executable
    /// file, and how long it may take (60 seconds without it, 600 at most). May be given more than once.
    #[arg(long = "check", value_name = "PATH[:SECONDS]", value_parser = parse_check)]
    checks: Vec<BundledCheck>,
    /// Release notes.
    #[arg(long, default_value = "")]
    notes: String,
    /// Whose the installed files are, by number: `UID:GID` for all of them, or `tree` for each its owner
    /// in the tree. Without it they belong to who installs.
    #[arg(long, value_name = "UID:GID|tree", value_parser = parse_owners)]
    owners: Option<Owners>,
    /// Keep the times of files, directories and links.
    #[arg(long)]
    times: bool,
    /// Keep extended attributes: `user.*` and `security.capability`.
    #[arg(long)]
    xattrs: bool,
    /// Make a file of its own of each name of a hard-linked file.
    #[arg(long)]
    split_hard_links: bool,
    /// When it was built, as in 2026-01-31T12:00:00Z; without it, the time of the newest file.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    build_time: Option<WallTime>,
    /// How small it becomes: a level of gzip from 1, the fastest, to 9, the smallest; 6 without it.
    #[arg(long, value_name = "LEVEL", value_parser = parse_compression)]
    compression: Option<Compression>,
}

fn default_platform() -> PlatformName {
    evenkeel_lab::PLATFORM
        .parse()
        .expect("the lab's platform is a word")
}

pub(crate) fn parse_time(text: &str) -> Result<WallTime, serde_json::Error> {
    serde_json::from_value(text.into())
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    let level = text.parse().ok().and_then(Compression::new);
    level.ok_or_else(|| "a level is a number from 1 to 9".to_owned())
}

fn parse_check(text: &str) -> Result<BundledCheck, String> {
    let timed = text.rsplit_once(':').filter(|(_, seconds)| {
        !seconds.is_empty() && seconds.bytes().all(|digit| digit.is_ascii_digit())
    });
    let Some((path, seconds)) = timed else {
        let path = text.to_owned();
        return Ok(BundledCheck {
            path,
            timeout_seconds: None,
        });
    };
    let wrong = || format!("a check takes from 1 to {MAX_CHECK_SECONDS} seconds");
    let seconds = seconds.parse().ok();
    let seconds = seconds.filter(|seconds| (1..=MAX_CHECK_SECONDS).contains(seconds));
    Ok(BundledCheck {
        path: path.to_owned(),
        timeout_seconds: Some(seconds.ok_or_else(wrong)?),
    })
}

fn parse_owners(text: &str) -> Result<Owners, String> {
    let number = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
    match text.split_once(':') {
        None if text == "tree" => Ok(Owners::AsInTree),
        Some((uid, gid)) => match (number(uid), number(gid)) {
            (Some(uid), Some(gid)) => Ok(Owners::All(Owner { uid, gid })),
            (None, _) | (_, None) => Err("owner and group are numbers".to_owned()),
        },
        None => Err("write UID:GID, or `tree`".to_owned()),
    }
}

impl PackageCommand {
    /// Does it.
    pub(crate) fn run(self, json: bool) -> Result<(), Stop> {
        match self {
            Self::Keygen { out } => keygen(&out, json),
            Self::Build(args) => build_package(*args, json),
            Self::Inspect { file } => inspect(&file, json),
            Self::Verify { file, trust } => verify(&file, &trust, json),
            Self::Extract {
                file,
                directory,
                trust,
            } => extract(&file, &directory, &trust, json),
        }
    }
}

fn keygen(out: &Path, json: bool) -> Result<(), Stop> {
    let key = SecretKey::generate().map_err(|e| failed(&e))?;
    let public = key.save_pair(out).map_err(|e| failed(&e))?;
    if json {
        return print_json(&serde_json::json!({
            "key": out,
            "public_key": public,
            "key_id": key.public().id().to_string(),
        }));
    }
    print(&format!("{}\n{}\n", out.display(), public.display()))?;
    eprintln!(
        "key {}: keep {} secret; nodes need only the .pub",
        key.public().id(),
        out.display()
    );
    Ok(())
}

fn build_package(args: BuildArgs, json: bool) -> Result<(), Stop> {
    let key = SecretKey::load(&args.key).map_err(|e| failed(&e))?;
    let source_versions = match args.source_versions {
        list if list.is_empty() => SourceVersions::Any,
        list => SourceVersions::Only(list),
    };
    let options = BuildOptions {
        name: args.name,
        version: args.version,
        platform: args.platform,
        variant: args.variant,
        features: args.features,
        source_versions,
        checks: args.checks,
        manual_steps: args.manual_steps,
        firmware: args.firmware,
        notes: args.notes,
        recorded: Recorded {
            owners: args.owners.unwrap_or_default(),
            times: args.times,
            xattrs: args.xattrs,
            split_hard_links: args.split_hard_links,
        },
        build_time: args.build_time,
        compression: args.compression.unwrap_or_default(),
    };
    let (root, output) = (&args.root, &args.output);
    let built = build(root, &key, options, output).map_err(|error| {
        let (root, output) = (root.display(), output.display());
        let advice = error.advice().map(|advice| format!("; {advice}"));
        Stop::Failed(format!(
            "cannot build {output} from {root}: {}{}",
            error_chain(&error),
            advice.unwrap_or_default()
        ))
    })?;
    let key_id = key.public().id();
    if json {
        return print_json(&serde_json::json!({
            "digest": built.manifest_digest,
            "file": output,
            "version": built.manifest.version,
            "entries": built.manifest.entries.len(),
            "unpacked_bytes": built.manifest.unpacked_bytes,
            "archive_bytes": built.archive_bytes,
            "firmware": brought(&built).map(firmware_json).collect::<Vec<_>>(),
            "signed_by": key_id.to_string(),
        }));
    }
    print(&format!("{} {}\n", built.manifest_digest, output.display()))?;
    for (path, firmware) in brought(&built) {
        let (name, signer) = (&firmware.manifest.name, signer(firmware, key_id));
        eprintln!("brings {path}: {name}, {signer}");
    }
    eprintln!(
        "version {}: {} entries, {} unpacked, {} packed, signed by key {key_id}",
        built.manifest.version,
        built.manifest.entries.len(),
        megabytes(built.manifest.unpacked_bytes),
        megabytes(built.archive_bytes),
    );
    Ok(())
}

/// The firmware in a package, with its paths.
fn brought(built: &Built) -> impl Iterator<Item = (&str, &SignedFirmware)> {
    let paths = built.manifest.firmware.iter().map(|it| it.path.as_str());
    paths.zip(&built.firmware)
}

fn firmware_json((path, firmware): (&str, &SignedFirmware)) -> serde_json::Value {
    serde_json::json!({
        "path": path,
        "digest": firmware.digest,
        "kind": firmware.manifest.kind,
        "name": firmware.manifest.name,
        "signed_by": firmware.signed_by().map(|key| key.to_string()),
    })
}

/// Whether the cluster takes the firmware too shows only after its update: another key is better named now.
fn signer(firmware: &SignedFirmware, package_key: KeyId) -> String {
    match firmware.signed_by() {
        Some(key) if key != package_key => {
            format!("signed by key {key}, which the cluster must trust too")
        }
        Some(_) | None => "signed by the same key".to_owned(),
    }
}

fn inspect(file: &Path, json: bool) -> Result<(), Stop> {
    if is_zip(file).map_err(|error| refused(file, &VerifyError::Read(error)))? {
        return inspect_zip(file, json);
    }
    let signed = read_unproven_manifest(file).map_err(|e| refused(file, &e))?;
    if json {
        return print_json(&serde_json::json!({
            "digest": signed.digest,
            "signed_by": signed.signed_by().map(|key| key.to_string()),
            "signature_checked": false,
            "manifest": signed.manifest,
        }));
    }
    print(&describe(&signed))
}

fn is_zip(file: &Path) -> io::Result<bool> {
    let mut start = [0; 2];
    match File::open(file)?.read_exact(&mut start) {
        Ok(()) => Ok(&start == b"PK"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn inspect_zip(file: &Path, json: bool) -> Result<(), Stop> {
    let entries = read_zip(file).map_err(|error| {
        let (file, cause) = (file.display(), error_chain(&error));
        Stop::Failed(format!(
            "{file}: {cause}; get it again from where it was built"
        ))
    })?;
    if json {
        let entry = |entry: &ZipEntry| {
            serde_json::json!({
                "path": entry.path,
                "kind": if entry.is_dir { "dir" } else { "file" },
                "size": entry.size,
                "packed_bytes": entry.packed_bytes,
            })
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        return print_json(&serde_json::json!({ "zip": true, "entries": entries }));
    }
    let line = |entry: &ZipEntry| {
        let slash = if entry.is_dir { "/" } else { "" };
        format!("{:>12} {}{slash}\n", entry.size, entry.path)
    };
    print(&entries.iter().map(line).collect::<String>())?;
    eprintln!(
        "a sound zip file of {} entries; `evenkeel firmware inspect` shows firmware",
        entries.len()
    );
    Ok(())
}

fn read_zip(file: &Path) -> Result<Vec<ZipEntry>, ZipError> {
    let mut zip = ZipReader::open(File::open(file)?, ZipLimits::default())?;
    zip.prove()?;
    Ok(zip.entries().to_vec())
}

fn describe(signed: &SignedManifest) -> String {
    let manifest = &signed.manifest;
    let sources = match &manifest.source_versions {
        SourceVersions::Any => "any version".to_owned(),
        SourceVersions::Only(list) => list
            .iter()
            .map(Version::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let key = signed.signed_by().map_or_else(
        || "nobody".to_owned(),
        |key| format!("key {key} (not checked; see `package verify`)"),
    );
    let mut rows = vec![
        ("Name", manifest.name.clone()),
        ("Version", manifest.version.to_string()),
        ("Platform", manifest.platform.to_string()),
        (
            "Variant",
            manifest.variant.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("Features", listed(&manifest.features)),
        ("Update from", sources),
        ("Built", manifest.build_time.to_string()),
        ("Entries", manifest.entries.len().to_string()),
        ("Unpacked", megabytes(manifest.unpacked_bytes)),
        ("Digest", signed.digest.to_string()),
        ("Signed by", key),
    ];
    rows.extend(
        manifest
            .manual_steps
            .iter()
            .map(|step| ("Manual step", step.clone())),
    );
    rows.extend(
        manifest
            .checks
            .iter()
            .map(|check| ("Check", shown_check(check))),
    );
    rows.extend(
        manifest
            .firmware
            .iter()
            .map(|firmware| ("Firmware", firmware.path.clone())),
    );
    rows.extend(
        manifest
            .notes
            .lines()
            .map(|line| ("Notes", line.to_owned())),
    );
    rows.into_iter()
        .map(|(name, value)| format!("{name:>12}: {value}\n"))
        .collect()
}

fn shown_check(check: &BundledCheck) -> String {
    let seconds = check.within().as_secs();
    format!("{}, within {seconds} s", check.path)
}

fn listed(words: &[String]) -> String {
    match words {
        [] => "-".to_owned(),
        words => words.join(", "),
    }
}

fn verify(file: &Path, trust: &[PathBuf], json: bool) -> Result<(), Stop> {
    let policy = Policy::trusting(trusted(trust)?);
    let signed = verify_archive(file, &policy).map_err(|error| refused(file, &error))?;
    if json {
        return print_json(&proven(&signed));
    }
    print(&format!("{} {}\n", signed.digest, file.display()))?;
    eprintln!(
        "version {} is whole: {} entries, signed by key {}",
        signed.manifest.version,
        signed.manifest.entries.len(),
        signed
            .signed_by()
            .map_or_else(|| "-".to_owned(), |key| key.to_string())
    );
    Ok(())
}

fn extract(file: &Path, directory: &Path, trust: &[PathBuf], json: bool) -> Result<(), Stop> {
    let policy = Policy::trusting(trusted(trust)?);
    refuse_foreign(directory)?;
    let archive = File::open(file).map_err(|error| refused(file, &VerifyError::Read(error)))?;
    // No slot is known here; what must not be wiped in any case is the system itself.
    let running = Some(Path::new("/usr"));
    let request = ExtractRequest {
        slot_dir: directory,
        running,
        expected: None,
        policy: &policy,
    };
    let template = "{bar:40} {bytes}/{total_bytes}";
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    let bar = ProgressBar::new(0).with_style(style);
    let mut progress = |p: ExtractProgress| {
        bar.set_length(p.total_bytes);
        bar.set_position(p.done_bytes);
    };
    let done = extract_archive(archive, request, &mut progress, &AtomicBool::new(false));
    bar.finish_and_clear();
    let signed = done.map_err(|error| match error {
        ExtractError::Refused(error) => refused(file, &error),
        other => failed(&other),
    })?;
    if json {
        return print_json(&proven(&signed));
    }
    print(&format!("{} {}\n", signed.digest, directory.display()))
}

fn proven(signed: &SignedManifest) -> serde_json::Value {
    serde_json::json!({
        "digest": signed.digest,
        "version": signed.manifest.version,
        "entries": signed.manifest.entries.len(),
        "signed_by": signed.signed_by().map(|key| key.to_string()),
        "signature_checked": true,
    })
}

/// Extracting empties the directory first: a mistyped name must not cost a home.
fn refuse_foreign(directory: &Path) -> Result<(), Stop> {
    let mut content = match fs::read_dir(directory) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Stop::Failed(format!(
                "cannot list {}: {error}",
                directory.display()
            )));
        }
    };
    let known = read_slot_manifest(directory).map_err(|e| failed(&e))?;
    if content.next().is_none() || known.is_some() {
        return Ok(());
    }
    Err(Stop::Failed(format!(
        "{} holds files that are no package, and extracting would remove them: \
         empty it yourself or name another directory",
        directory.display()
    )))
}

pub(crate) fn trusted(paths: &[PathBuf]) -> Result<TrustedKeys, Stop> {
    paths
        .iter()
        .map(|path| PublicKey::load(path).map_err(|e| failed(&e)))
        .collect()
}

/// What was wrong, with which file, and what to do about it.
fn refused(file: &Path, error: &VerifyError) -> Stop {
    Stop::Failed(format!(
        "{}: {}; {}",
        file.display(),
        error_chain(error),
        error.advice()
    ))
}

pub(crate) fn failed(error: &dyn Error) -> Stop {
    Stop::Failed(error_chain(error))
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
