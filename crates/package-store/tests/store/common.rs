//! What the tests share: a small tree, keys, packages, and a hand for hostile archives.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use evenkeel_model::{Digest, PlatformName, SourceVersions, Version, WallTime};
use evenkeel_package_store::{
    BuildOptions, Built, Compression, ExtractError, ExtractRequest, Policy, Recorded, SecretKey,
    SignedManifest, StageError, StageLimits, Store, StoredPackage, build, extract_archive,
};
use std::sync::atomic::AtomicBool;

pub(crate) fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

pub(crate) fn policy() -> Policy {
    Policy::trusting([key().public()].into_iter().collect())
}

pub(crate) fn options(version: &str) -> BuildOptions {
    BuildOptions {
        name: "lab image".into(),
        version: Version::new(version).unwrap(),
        platform: PlatformName::new("lab").unwrap(),
        variant: None,
        features: vec![],
        source_versions: SourceVersions::Any,
        checks: vec![],
        manual_steps: vec![],
        firmware: vec![],
        notes: String::new(),
        recorded: Recorded::default(),
        build_time: Some(WallTime::new("2026-01-02T03:04:05Z".parse().unwrap())),
        compression: Compression::default(),
    }
}

/// A tree with everything that packages hold: nested and read-only folders, an empty file, a file of more
/// than one gzip member, long names, links, odd modes.
pub(crate) fn make_tree(dir: &Path) -> PathBuf {
    let tree = dir.join("tree");
    let long = format!("{}/{}", "d".repeat(120), "e".repeat(90));
    for folder in ["bin", "etc/deep", "ro", &long] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    fs::write(tree.join("bin/evenkeeld"), noise(2_500_000, 7)).unwrap();
    fs::write(tree.join("etc/empty"), "").unwrap();
    fs::write(tree.join("etc/deep/conf"), "key = 1\n".repeat(200)).unwrap();
    fs::write(tree.join(&long).join("f".repeat(150)), "far down").unwrap();
    fs::write(tree.join("ro/file"), "kept").unwrap();
    fs::write(tree.join("ünïcode \\x2d"), "name").unwrap();
    symlink("../bin/evenkeeld", tree.join("etc/link")).unwrap();
    symlink("g".repeat(150), tree.join("etc/dangling")).unwrap();
    set_mode(&tree.join("bin/evenkeeld"), 0o755);
    set_mode(&tree.join("etc/deep/conf"), 0o640);
    set_mode(&tree.join("ro/file"), 0o400);
    set_mode(&tree.join("ro"), 0o555);
    tree
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Bytes that do not compress well, the same on every run.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state & 0x7f) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn make_package(dir: &Path, version: &str) -> (Built, PathBuf) {
    let tree = dir.join("tree");
    if !tree.exists() {
        make_tree(dir);
    }
    let output = dir.join(format!("{version}.tgz"));
    let built = build(&tree, &key(), options(version), &output).unwrap();
    (built, output)
}

/// A package of a few hundred bytes.
pub(crate) fn make_small_package(dir: &Path, version: &str) -> (Built, PathBuf) {
    let tree = dir.join("small");
    fs::create_dir_all(tree.join("d")).unwrap();
    fs::write(tree.join("d/file"), "some text, some text, some text").unwrap();
    if tree.join("link").symlink_metadata().is_err() {
        symlink("d/file", tree.join("link")).unwrap();
    }
    let output = dir.join(format!("{version}.tgz"));
    let built = build(&tree, &key(), options(version), &output).unwrap();
    (built, output)
}

pub(crate) fn stage_with(
    store: &Store,
    bytes: &[u8],
    chunk: usize,
    policy: Policy,
    limits: StageLimits,
) -> Result<StoredPackage, StageError> {
    let mut staging = store.begin("stage-1", policy, limits)?;
    for piece in bytes.chunks(chunk) {
        staging.write_blocking(Bytes::copy_from_slice(piece))?;
    }
    staging.finish_blocking()
}

pub(crate) fn stage(store: &Store, bytes: &[u8]) -> Result<StoredPackage, StageError> {
    stage_with(
        store,
        bytes,
        64 << 10,
        policy(),
        StageLimits {
            reserve_bytes: 0,
            ..Default::default()
        },
    )
}

/// Everything below a folder: kind, mode and content by path. Manifest files left out.
pub(crate) fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    walk(dir, "", &mut all);
    all
}

fn walk(dir: &Path, prefix: &str, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if name == ".evenkeel" {
            continue;
        }
        let meta = entry.path().symlink_metadata().unwrap();
        let mode = meta.permissions().mode() & 0o7777;
        let what = if meta.is_dir() {
            walk(&entry.path(), &format!("{name}/"), all);
            format!("dir {mode:o}")
        } else if meta.is_symlink() {
            format!("link {}", fs::read_link(entry.path()).unwrap().display())
        } else {
            let content = fs::read(entry.path()).unwrap();
            format!("file {mode:o} {} {}", content.len(), digest(&content))
        };
        all.insert(name, what);
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

/// The digest that an archive has: that of the list of its chunks' digests.
pub(crate) fn archive_digest(bytes: &[u8]) -> Digest {
    let digests: Vec<u8> = bytes.chunks(1 << 20).flat_map(|c| digest(c).0).collect();
    digest(&digests)
}

/// Names of everything in the store's folders for packages, but for what is deleted and goes later.
pub(crate) fn on_disk(store_dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["packages", "incoming", "aside"] {
        for entry in fs::read_dir(store_dir.join(folder)).unwrap() {
            names.push(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    names.retain(|name| !name.ends_with(".deleted"));
    names
}

pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut out).unwrap();
    out
}

pub(crate) fn extract_file(
    package: &Path,
    slot: &Path,
) -> Result<std::sync::Arc<SignedManifest>, ExtractError> {
    let request = ExtractRequest {
        slot_dir: slot,
        running: None,
        expected: None,
        policy: &policy(),
    };
    let archive = fs::File::open(package).unwrap();
    extract_archive(archive, request, &mut |_| {}, &AtomicBool::new(false))
}
