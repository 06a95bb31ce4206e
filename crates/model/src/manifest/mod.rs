//! What a package says about itself. A package's identity is the SHA-256 of the exact bytes of its
//! manifest; the manifest lists every entry with its digest, so the identity covers the content.

mod entry;
mod error;
mod path;
#[cfg(test)]
mod tests;
mod validate;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{PlatformName, Version};
use crate::time::WallTime;

pub use entry::{Attributes, Entry, EntryKind, Owner, XattrProblem, check_xattr};
pub use error::ManifestError;
pub use path::{PathProblem, check_entry_path, link_stays_inside};

/// The manifest format that this build writes and reads.
pub const MANIFEST_FORMAT: u32 = 1;
/// Where manifest and signature live, in the archive as in a slot. No entry may be below it.
pub const RESERVED_DIR: &str = ".evenkeel";
/// The manifest's path in the archive and in a slot.
pub const MANIFEST_PATH: &str = ".evenkeel/manifest.json";
/// The signature's path in the archive and in a slot.
pub const SIGNATURE_PATH: &str = ".evenkeel/manifest.sig";
/// A manifest is the one part of a package held in memory as a whole, so it is bounded.
pub const MAX_MANIFEST_BYTES: u64 = 32 << 20;
/// More entries than any operating system image has; bounds the memory of a parsed manifest.
pub const MAX_ENTRIES: usize = 250_000;
/// Longest path of an entry, in bytes: leaves room for the slot's own path below PATH_MAX.
pub const MAX_PATH_BYTES: usize = 1024;
/// A summary travels inside events, which are at most 128 KiB.
const MAX_SUMMARY_BYTES: usize = 24 << 10;

/// The description of a package. Unknown fields are ignored, so that a later release may add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`MANIFEST_FORMAT`]; raised when an old reader could not understand a package.
    pub format: u32,
    /// The product's name, for people.
    pub name: String,
    /// The version a node has once it booted this package.
    pub version: Version,
    /// The hardware it is made for.
    pub platform: PlatformName,
    /// A build that differs in what it may do (for example one without encryption). A node takes only
    /// packages of its own variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What the image supports. A node that uses a feature takes only packages that list it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The versions that an update to this one may start from.
    pub source_versions: SourceVersions,
    /// When it was built.
    pub build_time: WallTime,
    /// Sum of the sizes of all files.
    pub unpacked_bytes: u64,
    /// Checks it brings, run before an update to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<BundledCheck>,
    /// What a person must see to before the update; shown as "Manual checks".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manual_steps: Vec<String>,
    /// Firmware it brings. The kind of each is read from its content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<Bundled>,
    /// Release notes, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Every file, directory, symlink and hard link, in the order in which the archive holds them; a directory
    /// comes before what is in it, a file before the hard links to it.
    pub entries: Vec<Entry>,
}

/// The versions that an update may start from. In JSON a list of versions; `["*"]` is any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum SourceVersions {
    /// Any version, written `["*"]`.
    Any,
    /// Only these. Empty: the package serves for first installation only.
    Only(Vec<Version>),
}

impl SourceVersions {
    /// Whether an update may start from `version`, compared byte for byte.
    pub fn allows(&self, version: &Version) -> bool {
        match self {
            Self::Any => true,
            Self::Only(versions) => versions.contains(version),
        }
    }
}

impl TryFrom<Vec<String>> for SourceVersions {
    type Error = String;

    fn try_from(list: Vec<String>) -> Result<Self, String> {
        if list == ["*"] {
            return Ok(Self::Any);
        }
        if list.iter().any(|v| v == "*") {
            return Err("\"*\" (any source version) stands alone or not at all".to_owned());
        }
        let versions = list.into_iter().map(Version::new).collect::<Result<_, _>>();
        versions.map(Self::Only).map_err(|e| e.to_string())
    }
}

impl From<SourceVersions> for Vec<String> {
    fn from(versions: SourceVersions) -> Self {
        match versions {
            SourceVersions::Any => vec!["*".to_owned()],
            SourceVersions::Only(list) => list.into_iter().map(String::from).collect(),
        }
    }
}

/// A file of the package with a purpose beyond being installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundled {
    /// The path of a file entry.
    pub path: String,
}

/// How long a check may take when the manifest does not say.
pub const CHECK_SECONDS: u32 = 60;
/// The longest that a manifest may give a check: an update waits for it.
pub const MAX_CHECK_SECONDS: u32 = 600;

/// Most that the checks of a package may have beside them, together: it is unpacked into memory.
pub const MAX_CHECKS_BYTES: u64 = 32 << 20;

/// A check that the package brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledCheck {
    /// The path of a file entry: what is run, and the check's name.
    pub path: String,
    /// How long it may take; [`CHECK_SECONDS`] without it, [`MAX_CHECK_SECONDS`] at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

impl BundledCheck {
    /// How long it may take.
    pub fn within(&self) -> Duration {
        let seconds = self.timeout_seconds.unwrap_or(CHECK_SECONDS);
        Duration::from_secs(seconds.clamp(1, MAX_CHECK_SECONDS).into())
    }
}

/// The part of a manifest that events and answers carry: all but the entries and notes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSummary {
    /// See [`Manifest::version`].
    pub version: Version,
    /// See [`Manifest::name`].
    pub name: String,
    /// See [`Manifest::platform`].
    pub platform: PlatformName,
    /// See [`Manifest::variant`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// See [`Manifest::features`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// See [`Manifest::source_versions`].
    pub source_versions: SourceVersions,
    /// See [`Manifest::manual_steps`].
    #[serde(default)]
    pub manual_steps: Vec<String>,
    /// See [`Manifest::firmware`].
    #[serde(default)]
    pub firmware: Vec<Bundled>,
    /// See [`Manifest::checks`]. Empty also for a package that came in before they were run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<BundledCheck>,
    /// See [`Manifest::unpacked_bytes`].
    pub unpacked_bytes: u64,
    /// How many entries it has.
    pub entry_count: u64,
    /// See [`Manifest::build_time`].
    pub build_time: WallTime,
}

impl Manifest {
    /// Reads and validates a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        // The format comes first: a manifest of another one may not even have our shape.
        let probe: Probe = serde_json::from_slice(bytes).map_err(ManifestError::Syntax)?;
        if probe.format != MANIFEST_FORMAT {
            return Err(ManifestError::Format {
                found: probe.format,
            });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Syntax)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// What the checks have beside them when they run: everything in their folders and below. A check that
    /// lies in no folder is alone.
    pub fn check_entries(&self) -> impl Iterator<Item = &Entry> {
        let folder = |check: &BundledCheck| check.path.rsplit_once('/').map(|(f, _)| f.to_owned());
        let mut folders: Vec<String> = self.checks.iter().filter_map(folder).collect();
        folders.sort_unstable();
        folders.dedup();
        let below = move |path: &str, folder: &String| {
            let rest = path.strip_prefix(folder.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.entries.iter().filter(move |entry| {
            let path = entry.path.as_str();
            let is_check = self.checks.iter().any(|check| check.path == path);
            is_check || folders.iter().any(|folder| below(path, folder))
        })
    }

    /// What events and answers say about the package.
    pub fn summary(&self) -> ManifestSummary {
        ManifestSummary {
            version: self.version.clone(),
            name: self.name.clone(),
            platform: self.platform.clone(),
            variant: self.variant.clone(),
            features: self.features.clone(),
            source_versions: self.source_versions.clone(),
            manual_steps: self.manual_steps.clone(),
            firmware: self.firmware.clone(),
            checks: self.checks.clone(),
            unpacked_bytes: self.unpacked_bytes,
            entry_count: self.entries.len() as u64,
            build_time: self.build_time,
        }
    }
}
