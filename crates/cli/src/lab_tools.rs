//! What a lab needs of the package format: keys, and the first image of each node.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use evenkeel_lab::{FirstImage, Tools};
use evenkeel_model::SourceVersions;
use evenkeel_package_store::{
    ExtractRequest, Policy, PublicKey, SecretKey, Target, TrustedKeys, extract_archive,
};

use crate::demo::content::{Programs, pack, place_programs};

/// Version of the image that a lab starts with unless it is given one.
const FIRST_VERSION: &str = "9.10.1";

/// The real package format.
pub(crate) struct PackageTools;

impl Tools for PackageTools {
    fn make_keys(&self, secret: &Path) -> Result<()> {
        let key = SecretKey::generate().context("cannot make a key")?;
        key.save_pair(secret)
            .map(drop)
            .context("cannot keep the key")
    }

    /// The same code as an update's installation.
    fn first_image(&self, request: &FirstImage) -> Result<()> {
        let package = match &request.package {
            Some(package) => package.clone(),
            None => own_package(request)?,
        };
        let mut trusted = TrustedKeys::none();
        trusted.add(PublicKey::load(&request.public_key)?);
        let platform = request.platform.clone();
        let target = Some(Target {
            platform,
            variant: None,
            features: vec![],
        });
        let policy = Policy {
            target,
            ..Policy::trusting(trusted)
        };
        let archive = File::open(&package);
        let archive = archive.with_context(|| format!("cannot read {}", package.display()))?;
        let extract = ExtractRequest {
            slot_dir: &request.slot,
            running: None,
            expected: None,
            policy: &policy,
        };
        extract_archive(archive, extract, &mut |_| {}, &AtomicBool::new(false))
            .map(drop)
            .with_context(|| format!("cannot install {}", package.display()))
    }
}

/// A package of this build's programs and nothing else; made once for all nodes.
fn own_package(request: &FirstImage) -> Result<PathBuf> {
    let package = request.scratch.join("first.tgz");
    if package.exists() {
        return Ok(package);
    }
    let tree = request.scratch.join("tree");
    let programs = Programs {
        evenkeel: std::env::current_exe().context("cannot find this program")?,
        evenkeeld: request.evenkeeld.clone(),
    };
    place_programs(&tree, &programs)?;
    let key = SecretKey::load(&request.signing_key)?;
    let version = FIRST_VERSION.parse()?;
    pack(
        &tree,
        &key,
        &version,
        SourceVersions::Any,
        &request.platform,
        &package,
    )?;
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    Ok(package)
}
