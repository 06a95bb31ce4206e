//! What a package holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// More extended attributes than any file of an image has.
pub(super) const MAX_ENTRY_XATTRS: usize = 16;
/// Names and values of one entry's extended attributes together, in bytes: what ext4 has room for, with
/// some to spare for the system's own.
pub(super) const MAX_XATTR_BYTES: usize = 3072;
/// Linux's own bound on a name.
const MAX_XATTR_NAME_BYTES: usize = 255;
/// Eleven octal digits, in a tar header.
pub(super) const MAX_MTIME: u64 = 0o777_7777_7777;

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EntryWire", into = "EntryWire")]
pub struct Entry {
    /// Relative to the slot, components joined with `/`, none of them `.` or `..`.
    pub path: String,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind,
    /// What else is restored; nothing, for a hard link.
    pub attributes: Attributes,
}

/// What extraction restores beside mode and content, where it is listed. What is not listed is left to the
/// system: owner and times of who extracts and when, and no extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who owns it.
    pub owner: Option<Owner>,
    /// When it was last written, in whole seconds since 1970.
    pub mtime: Option<u64>,
    /// Extended attributes by name; see [`check_xattr`].
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// An owner, by number: names mean other people on other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
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
    /// A further name of a file.
    HardLink {
        /// The path of a file entry that is listed before it.
        target: String,
    },
}

impl EntryKind {
    /// `file`, `dir`, `symlink` or `hardlink`, as in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory => "dir",
            Self::Symlink { .. } => "symlink",
            Self::HardLink { .. } => "hardlink",
        }
    }
}

impl Entry {
    /// Bytes of content: a file's size, else 0. A hard link's content counts once, with its file.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory | EntryKind::Symlink { .. } | EntryKind::HardLink { .. } => 0,
        }
    }
}

/// Why an extended attribute was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XattrProblem {
    /// Labels, access lists and whatever else the system gives a meaning to.
    #[error(
        "is of a namespace that packages may not set (only `user.*` and `security.capability`)"
    )]
    Namespace,
    /// Linux has it on files only, or on files and directories only.
    #[error("cannot be on an entry of this kind")]
    Kind,
    /// Too long, or with characters that tar would have to escape.
    #[error("has a name that is too long or not plain")]
    Name,
    /// Capabilities in a form that Linux would not set.
    #[error("has a value that is no set of capabilities (20 bytes of revision 2, or 24 of 3)")]
    Value,
    /// More than fits beside a file.
    #[error("is more than an entry may have (16 of them, 3 KiB in all)")]
    TooMuch,
}

/// Whether an entry of `kind` may have the extended attribute `name` with this value.
pub fn check_xattr(kind: &EntryKind, name: &str, value: &[u8]) -> Result<(), XattrProblem> {
    let user = name
        .strip_prefix("user.")
        .is_some_and(|rest| !rest.is_empty());
    if !user && name != "security.capability" {
        return Err(XattrProblem::Namespace);
    }
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'=' | b'%');
    if name.len() > MAX_XATTR_NAME_BYTES || !name.bytes().all(plain) {
        return Err(XattrProblem::Name);
    }
    match kind {
        EntryKind::File { .. } if !user && !is_capability(value) => Err(XattrProblem::Value),
        EntryKind::File { .. } => Ok(()),
        EntryKind::Directory if user => Ok(()),
        EntryKind::Directory | EntryKind::Symlink { .. } | EntryKind::HardLink { .. } => {
            Err(XattrProblem::Kind)
        }
    }
}

/// Whether the kernel takes it for a file's capabilities (`struct vfs_cap_data`): otherwise the fault would show
/// only when a slot is half written.
fn is_capability(value: &[u8]) -> bool {
    const EFFECTIVE: u32 = 1;
    let Some((magic, _)) = value.split_first_chunk() else {
        return false;
    };
    let revision = u32::from_le_bytes(*magic) & !EFFECTIVE;
    matches!(
        (revision, value.len()),
        (0x0200_0000, 20) | (0x0300_0000, 24)
    )
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
}

impl TryFrom<EntryWire> for Entry {
    type Error = String;

    fn try_from(wire: EntryWire) -> Result<Self, String> {
        let attributes = wire.attributes()?;
        let path = wire.path;
        let mode = u32::from_str_radix(&wire.mode, 8)
            .map_err(|_| format!("entry {path:?} has mode {:?}, not octal digits", wire.mode))?;
        let kind = match (wire.kind.as_str(), wire.size, wire.sha256, wire.target) {
            ("file", Some(size), Some(sha256), None) => EntryKind::File { size, sha256 },
            ("dir", None, None, None) => EntryKind::Directory,
            ("symlink", None, None, Some(target)) => EntryKind::Symlink { target },
            ("hardlink", None, None, Some(target)) => EntryKind::HardLink { target },
            ("file" | "dir" | "symlink" | "hardlink", ..) => {
                return Err(format!(
                    "entry {path:?} lacks or exceeds the fields of its kind"
                ));
            }
            (other, ..) => return Err(format!("entry {path:?} is of the unknown kind {other:?}")),
        };
        Ok(Self {
            path,
            mode,
            kind,
            attributes,
        })
    }
}

impl EntryWire {
    fn attributes(&self) -> Result<Attributes, String> {
        let path = &self.path;
        let owner = match (self.uid, self.gid) {
            (Some(uid), Some(gid)) => Some(Owner { uid, gid }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(format!("entry {path:?} has only one of `uid` and `gid`"));
            }
        };
        let value = |(name, text): (&String, &String)| match hex::decode(text) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(format!(
                "entry {path:?} has an xattr {name:?} that is not hex"
            )),
        };
        Ok(Attributes {
            owner,
            mtime: self.mtime,
            xattrs: self.xattrs.iter().map(value).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Entry> for EntryWire {
    fn from(entry: Entry) -> Self {
        let mode = format!("{:04o}", entry.mode);
        let kind = entry.kind.as_str().to_owned();
        let (size, sha256, target) = match entry.kind {
            EntryKind::File { size, sha256 } => (Some(size), Some(sha256), None),
            EntryKind::Directory => (None, None, None),
            EntryKind::Symlink { target } | EntryKind::HardLink { target } => {
                (None, None, Some(target))
            }
        };
        let Attributes {
            owner,
            mtime,
            xattrs,
        } = entry.attributes;
        let hex = |(name, value): (String, Vec<u8>)| (name, hex::encode(value));
        Self {
            path: entry.path,
            kind,
            mode,
            size,
            sha256,
            target,
            uid: owner.map(|owner| owner.uid),
            gid: owner.map(|owner| owner.gid),
            mtime,
            xattrs: xattrs.into_iter().map(hex).collect(),
        }
    }
}
