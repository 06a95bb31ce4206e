//! What a package says about itself. A package's identity is the SHA-256 of the exact bytes of its
//! manifest; the manifest lists every entry with its digest, so the identity covers the content.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, PlatformName, Version};
use crate::time::WallTime;

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
/// What Linux file systems allow for one name.
const MAX_COMPONENT_BYTES: usize = 255;
/// Longest target of a symlink, in bytes.
const MAX_TARGET_BYTES: usize = 1024;
/// A summary travels inside events, which are at most 64 KiB.
const MAX_SUMMARY_BYTES: usize = 24 << 10;
/// Longest notes, in bytes.
const MAX_NOTES_BYTES: usize = 64 << 10;

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
    pub checks: Vec<Bundled>,
    /// What a person must see to before the update; shown as "Manual checks".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manual_steps: Vec<String>,
    /// Firmware it brings. The kind of each is read from its content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<Bundled>,
    /// Release notes, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Every file, directory and symlink, in the order in which the archive holds them; a directory
    /// comes before what is in it.
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

/// One file, directory or symlink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EntryWire", into = "EntryWire")]
pub struct Entry {
    /// Relative to the slot, components joined with `/`, none of them `.` or `..`.
    pub path: String,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Digest of the content.
        sha256: Digest,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Relative to the link's directory; stays inside the package.
        target: String,
    },
}

impl EntryKind {
    /// `file`, `dir` or `symlink`, as in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory => "dir",
            Self::Symlink { .. } => "symlink",
        }
    }
}

impl Entry {
    /// Bytes of content: a file's size, else 0.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory | EntryKind::Symlink { .. } => 0,
        }
    }
}

/// An entry as in JSON: flat, the mode in octal as `ls` and `chmod` show it.
#[derive(Serialize, Deserialize)]
struct EntryWire {
    path: String,
    kind: String,
    mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl TryFrom<EntryWire> for Entry {
    type Error = String;

    fn try_from(wire: EntryWire) -> Result<Self, String> {
        let path = wire.path;
        let mode = u32::from_str_radix(&wire.mode, 8)
            .map_err(|_| format!("entry {path:?} has mode {:?}, not octal digits", wire.mode))?;
        let kind = match (wire.kind.as_str(), wire.size, wire.sha256, wire.target) {
            ("file", Some(size), Some(sha256), None) => EntryKind::File { size, sha256 },
            ("dir", None, None, None) => EntryKind::Directory,
            ("symlink", None, None, Some(target)) => EntryKind::Symlink { target },
            ("file" | "dir" | "symlink", ..) => {
                return Err(format!(
                    "entry {path:?} lacks or exceeds the fields of its kind"
                ));
            }
            (other, ..) => return Err(format!("entry {path:?} is of the unknown kind {other:?}")),
        };
        Ok(Self { path, mode, kind })
    }
}

impl From<Entry> for EntryWire {
    fn from(entry: Entry) -> Self {
        let mode = format!("{:04o}", entry.mode);
        let kind = entry.kind.as_str().to_owned();
        let (size, sha256, target) = match entry.kind {
            EntryKind::File { size, sha256 } => (Some(size), Some(sha256), None),
            EntryKind::Directory => (None, None, None),
            EntryKind::Symlink { target } => (None, None, Some(target)),
        };
        Self {
            path: entry.path,
            kind,
            mode,
            size,
            sha256,
            target,
        }
    }
}

/// The part of a manifest that events and answers carry: all but the entries, checks and notes.
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
    /// See [`Manifest::unpacked_bytes`].
    pub unpacked_bytes: u64,
    /// How many entries it has.
    pub entry_count: u64,
    /// See [`Manifest::build_time`].
    pub build_time: WallTime,
}

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// Nothing, or nothing between two slashes.
    #[error("has an empty component")]
    Empty,
    /// Starts with a slash.
    #[error("is absolute")]
    Absolute,
    /// Has a component `..`.
    #[error("has a component `..`")]
    Parent,
    /// Has a component `.`.
    #[error("has a component `.`")]
    Dot,
    /// A control character or NUL.
    #[error("has a control character")]
    Control,
    /// Too long as a whole or in one component.
    #[error("is too long")]
    TooLong,
    /// At or below [`RESERVED_DIR`].
    #[error("is reserved for the manifest")]
    Reserved,
}

/// Checks an entry's path by itself.
pub fn check_entry_path(path: &str) -> Result<(), PathProblem> {
    if path.starts_with('/') {
        return Err(PathProblem::Absolute);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(PathProblem::TooLong);
    }
    if path.chars().any(char::is_control) {
        return Err(PathProblem::Control);
    }
    for component in path.split('/') {
        match component {
            "" => return Err(PathProblem::Empty),
            "." => return Err(PathProblem::Dot),
            ".." => return Err(PathProblem::Parent),
            long if long.len() > MAX_COMPONENT_BYTES => return Err(PathProblem::TooLong),
            _ => {}
        }
    }
    match path.split('/').next() {
        Some(RESERVED_DIR) => Err(PathProblem::Reserved),
        Some(_) | None => Ok(()),
    }
}

/// Whether a symlink at `path` with `target` stays inside the package, whatever other links exist.
///
/// `..` may stand only at the front of a target: there it climbs from the link's own directory, which
/// is a real one. After a name it could climb from wherever another link led.
pub fn link_stays_inside(path: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return false;
    }
    let mut room = path.split('/').count() - 1;
    let mut named = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if named || room == 0 => return false,
            ".." => room -= 1,
            _ => named = true,
        }
    }
    true
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of this shape.
    #[error("the manifest cannot be read")]
    Syntax(#[source] serde_json::Error),
    /// Of a format that this build does not know.
    #[error("the manifest has format {found}, but this release reads format {MANIFEST_FORMAT}")]
    Format {
        /// The manifest's format.
        found: u32,
    },
    /// A text field that is empty, too long, or has control characters.
    #[error("the manifest's field `{field}` is empty, too long, or has control characters")]
    Text {
        /// Which field.
        field: &'static str,
    },
    /// More entries than [`MAX_ENTRIES`].
    #[error("the manifest lists {count} entries, more than the {MAX_ENTRIES} allowed")]
    TooManyEntries {
        /// How many it lists.
        count: usize,
    },
    /// An entry's path is not acceptable.
    #[error("entry path {path:?} {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// The same path twice.
    #[error("entry {path:?} is listed twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// An entry whose directory is not listed before it.
    #[error("entry {path:?} comes without, or before, its directory")]
    NoParent {
        /// The path.
        path: String,
    },
    /// An entry below a symlink: writing it would follow the link.
    #[error("entry {path:?} lies below the symlink {link:?}")]
    BelowSymlink {
        /// The path.
        path: String,
        /// The symlink.
        link: String,
    },
    /// An entry below a file.
    #[error("entry {path:?} lies below the file {file:?}")]
    BelowFile {
        /// The path.
        path: String,
        /// The file.
        file: String,
    },
    /// A symlink that is absolute, climbs out, or has `..` after a name.
    #[error(
        "symlink {path:?} points to {target:?}, which may lie outside the package \
         (a target is relative and has `..` only at its front)"
    )]
    LinkOut {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A symlink target that is empty, too long, or has control characters.
    #[error("symlink {path:?} has a target that is empty, too long, or has control characters")]
    LinkTarget {
        /// The link.
        path: String,
    },
    /// Bits beyond the permission bits.
    #[error("entry {path:?} has mode {mode:o}, which is more than permission bits")]
    Mode {
        /// The path.
        path: String,
        /// The mode.
        mode: u32,
    },
    /// The sizes do not add up.
    #[error("the manifest says {stated} bytes unpacked, but its files have {sum}")]
    UnpackedBytes {
        /// What `unpacked_bytes` says.
        stated: u64,
        /// What the files have; saturated.
        sum: u64,
    },
    /// A check or firmware that is not a file of the package.
    #[error("`{field}` names {path:?}, which is no file of the package")]
    NotAFile {
        /// `checks` or `firmware`.
        field: &'static str,
        /// The path.
        path: String,
    },
    /// Source versions, manual steps and firmware together are too big to travel in an event.
    #[error("source versions, manual steps and firmware list take {bytes} bytes, too many to keep")]
    SummaryTooLarge {
        /// Size of the summary as JSON.
        bytes: usize,
    },
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

    /// Holds every rule that makes it safe to unpack the entries into an empty directory.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format != MANIFEST_FORMAT {
            return Err(ManifestError::Format { found: self.format });
        }
        if self.entries.len() > MAX_ENTRIES {
            return Err(ManifestError::TooManyEntries {
                count: self.entries.len(),
            });
        }
        self.validate_texts()?;
        let kinds = self.validate_entries()?;
        self.validate_sizes()?;
        for (field, list) in [("checks", &self.checks), ("firmware", &self.firmware)] {
            for Bundled { path } in list {
                if !matches!(kinds.get(path.as_str()), Some(EntryKind::File { .. })) {
                    return Err(ManifestError::NotAFile {
                        field,
                        path: path.clone(),
                    });
                }
            }
        }
        let bytes = serde_json::to_vec(&self.summary())
            .expect("a summary is plain JSON")
            .len();
        if bytes > MAX_SUMMARY_BYTES {
            return Err(ManifestError::SummaryTooLarge { bytes });
        }
        Ok(())
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
            unpacked_bytes: self.unpacked_bytes,
            entry_count: self.entries.len() as u64,
            build_time: self.build_time,
        }
    }

    fn validate_texts(&self) -> Result<(), ManifestError> {
        let line = |s: &str, limit: usize| {
            !s.trim().is_empty() && s.len() <= limit && !s.chars().any(char::is_control)
        };
        let block = |s: &str| {
            s.chars()
                .all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'))
        };
        let steps_ok = self.manual_steps.iter().all(|s| line(s, 2048));
        let refuse = |field| Err(ManifestError::Text { field });
        match () {
            () if !line(&self.name, 128) => refuse("name"),
            () if self.variant.as_deref().is_some_and(|v| !line(v, 64)) => refuse("variant"),
            () if !self.features.iter().all(|f| line(f, 64)) => refuse("features"),
            () if !steps_ok => refuse("manual_steps"),
            () if self.notes.len() > MAX_NOTES_BYTES || !block(&self.notes) => refuse("notes"),
            () => Ok(()),
        }
    }

    fn validate_entries(&self) -> Result<HashMap<&str, &EntryKind>, ManifestError> {
        let mut kinds = HashMap::with_capacity(self.entries.len());
        for entry in &self.entries {
            validate_entry(entry)?;
            validate_parent(&entry.path, &kinds)?;
            if kinds.insert(entry.path.as_str(), &entry.kind).is_some() {
                return Err(ManifestError::Duplicate {
                    path: entry.path.clone(),
                });
            }
        }
        Ok(kinds)
    }

    fn validate_sizes(&self) -> Result<(), ManifestError> {
        let sum = self
            .entries
            .iter()
            .try_fold(0u64, |sum, e| sum.checked_add(e.size()));
        match sum {
            Some(sum) if sum == self.unpacked_bytes => Ok(()),
            other => Err(ManifestError::UnpackedBytes {
                stated: self.unpacked_bytes,
                sum: other.unwrap_or(u64::MAX),
            }),
        }
    }
}

fn validate_entry(entry: &Entry) -> Result<(), ManifestError> {
    let path = || entry.path.clone();
    check_entry_path(&entry.path).map_err(|problem| ManifestError::Path {
        path: path(),
        problem,
    })?;
    if entry.mode & !0o7777 != 0 {
        return Err(ManifestError::Mode {
            path: path(),
            mode: entry.mode,
        });
    }
    if let EntryKind::Symlink { target } = &entry.kind {
        let bad = target.is_empty() || target.len() > MAX_TARGET_BYTES;
        if bad || target.chars().any(char::is_control) {
            return Err(ManifestError::LinkTarget { path: path() });
        }
        if !link_stays_inside(&entry.path, target) {
            return Err(ManifestError::LinkOut {
                path: path(),
                target: target.clone(),
            });
        }
    }
    Ok(())
}

/// The nearest listed ancestor must be the parent, and a directory.
fn validate_parent(path: &str, kinds: &HashMap<&str, &EntryKind>) -> Result<(), ManifestError> {
    let Some((parent, _)) = path.rsplit_once('/') else {
        return Ok(());
    };
    if matches!(kinds.get(parent), Some(EntryKind::Directory)) {
        return Ok(());
    }
    let path = path.to_owned();
    let mut above = Some(parent);
    while let Some(ancestor) = above {
        match kinds.get(ancestor) {
            Some(EntryKind::Symlink { .. }) => {
                return Err(ManifestError::BelowSymlink {
                    path,
                    link: ancestor.to_owned(),
                });
            }
            Some(EntryKind::File { .. }) => {
                return Err(ManifestError::BelowFile {
                    path,
                    file: ancestor.to_owned(),
                });
            }
            Some(EntryKind::Directory) | None => {}
        }
        above = ancestor.rsplit_once('/').map(|(parent, _)| parent);
    }
    Err(ManifestError::NoParent { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> Entry {
        let kind = EntryKind::File {
            size,
            sha256: Digest([7; 32]),
        };
        Entry {
            path: path.into(),
            mode: 0o644,
            kind,
        }
    }

    fn dir(path: &str) -> Entry {
        Entry {
            path: path.into(),
            mode: 0o755,
            kind: EntryKind::Directory,
        }
    }

    fn link(path: &str, target: &str) -> Entry {
        let kind = EntryKind::Symlink {
            target: target.into(),
        };
        Entry {
            path: path.into(),
            mode: 0o777,
            kind,
        }
    }

    fn manifest(entries: Vec<Entry>) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            name: "lab".into(),
            version: Version::new("2.0").unwrap(),
            platform: PlatformName::new("lab").unwrap(),
            variant: None,
            features: vec![],
            source_versions: SourceVersions::Any,
            build_time: WallTime::new("2026-01-02T03:04:05Z".parse().unwrap()),
            unpacked_bytes: entries.iter().map(Entry::size).fold(0, u64::saturating_add),
            checks: vec![],
            manual_steps: vec![],
            firmware: vec![],
            notes: String::new(),
            entries,
        }
    }

    fn refused(entries: Vec<Entry>) -> String {
        manifest(entries).validate().unwrap_err().to_string()
    }

    #[test]
    fn reads_back_what_it_writes_and_ignores_unknown_fields() {
        let mut written = manifest(vec![dir("a"), file("a/b", 3), link("a/l", "../a/b")]);
        written.source_versions = SourceVersions::Only(vec![Version::new("1.0").unwrap()]);
        let mut value = serde_json::to_value(&written).unwrap();
        value["later"] = 1.into();
        value["entries"][1]["later"] = 1.into();
        let read = Manifest::parse(&serde_json::to_vec(&value).unwrap()).unwrap();
        assert_eq!(read, written);
        assert!(read.source_versions.allows(&Version::new("1.0").unwrap()));
        assert!(!read.source_versions.allows(&Version::new("1.0 ").unwrap()));
    }

    #[test]
    fn any_source_version_is_a_lone_star() {
        let read = |json| serde_json::from_str::<SourceVersions>(json);
        assert_eq!(read(r#"["*"]"#).unwrap(), SourceVersions::Any);
        assert!(read(r#"["*","1"]"#).is_err());
        assert_eq!(read("[]").unwrap(), SourceVersions::Only(vec![]));
    }

    #[test]
    fn another_format_is_named_even_if_its_shape_differs() {
        let error = Manifest::parse(br#"{"format": 2, "parts": []}"#).unwrap_err();
        assert!(matches!(error, ManifestError::Format { found: 2 }));
    }

    #[test]
    fn refuses_paths_that_leave_the_slot_or_take_the_reserved_place() {
        for (path, why) in [
            ("/etc/passwd", "is absolute"),
            ("a/../../b", "`..`"),
            ("./a", "`.`"),
            ("a//b", "empty"),
            ("a/", "empty"),
            ("", "empty"),
            ("a\nb", "control"),
            (".evenkeel", "reserved"),
            (".evenkeel/manifest.json", "reserved"),
        ] {
            let text = refused(vec![dir("a"), file(path, 0)]);
            assert!(text.contains(why), "{path:?}: {text}");
        }
        assert!(refused(vec![file(&"x".repeat(256), 0)]).contains("too long"));
    }

    #[test]
    fn refuses_structure_that_would_write_elsewhere() {
        assert!(refused(vec![file("a", 0), file("a", 0)]).contains("twice"));
        assert!(refused(vec![file("a/b", 0)]).contains("without"));
        assert!(refused(vec![file("a", 0), file("a/b", 0)]).contains("below the file"));
        assert!(refused(vec![link("a", "."), file("a/b/c", 0)]).contains("below the symlink"));
    }

    #[test]
    fn refuses_links_that_could_lead_out() {
        for (path, target) in [
            ("l", "/etc"),
            ("l", ".."),
            ("d/l", "../.."),
            // Inside by text, outside once `x` is a link to `..`.
            ("d/l", "x/../.."),
        ] {
            let text = refused(vec![dir("d"), link(path, target)]);
            assert!(text.contains("outside"), "{path} -> {target}: {text}");
        }
        manifest(vec![dir("d"), link("d/l", ".."), link("d/m", "../gone")])
            .validate()
            .unwrap();
    }

    #[test]
    fn refuses_wrong_sums_and_overflow() {
        let mut wrong = manifest(vec![file("a", 3)]);
        wrong.unpacked_bytes = 4;
        assert!(matches!(
            wrong.validate(),
            Err(ManifestError::UnpackedBytes { sum: 3, .. })
        ));
        let big = manifest(vec![file("a", u64::MAX), file("b", 2)]);
        assert!(matches!(
            big.validate(),
            Err(ManifestError::UnpackedBytes { .. })
        ));
    }

    #[test]
    fn firmware_and_checks_are_files_of_the_package() {
        let mut wrong = manifest(vec![dir("fw")]);
        wrong.firmware = vec![Bundled { path: "fw".into() }];
        assert!(matches!(
            wrong.validate(),
            Err(ManifestError::NotAFile { .. })
        ));
    }

    #[test]
    fn a_summary_fits_an_event() {
        let mut wrong = manifest(vec![]);
        wrong.manual_steps = vec!["x".repeat(2000); 20];
        assert!(matches!(
            wrong.validate(),
            Err(ManifestError::SummaryTooLarge { .. })
        ));
    }
}
