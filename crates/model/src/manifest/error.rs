//! Why a manifest is refused.

use super::entry::XattrProblem;
use super::path::PathProblem;
use super::{MANIFEST_FORMAT, MAX_CHECK_SECONDS, MAX_ENTRIES};

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
    /// A hard link to something else than a file listed before it.
    #[error("hard link {path:?} is to {target:?}, which is no file listed before it")]
    HardLink {
        /// The link.
        path: String,
        /// What it links to.
        target: String,
    },
    /// A hard link with a mode of its own, or other attributes: it has those of its file.
    #[error("hard link {path:?} has a mode or attributes other than those of {target:?}")]
    HardLinkAttributes {
        /// The link.
        path: String,
        /// What it links to.
        target: String,
    },
    /// The owner that means "no change", to the system.
    #[error("entry {path:?} has the owner {uid}:{gid}, which no file can have")]
    Owner {
        /// The path.
        path: String,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// A time that tar cannot hold.
    #[error("entry {path:?} has a time {mtime} seconds after 1970, which is beyond what tar holds")]
    Time {
        /// The path.
        path: String,
        /// The time.
        mtime: u64,
    },
    /// An extended attribute that packages may not set.
    #[error("entry {path:?} has the extended attribute {name:?}, which {problem}")]
    Xattr {
        /// The path.
        path: String,
        /// The attribute.
        name: String,
        /// What is wrong with it.
        problem: XattrProblem,
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
    #[error(
        "`{field}` names {path:?}, which is no file of the package: name a plain file by its path within the tree"
    )]
    NotAFile {
        /// `checks` or `firmware`.
        field: &'static str,
        /// The path.
        path: String,
    },
    /// A check with no time, or more than an update waits.
    #[error("check {path:?} is given {seconds} seconds, and takes from 1 to {MAX_CHECK_SECONDS}")]
    CheckTime {
        /// The check.
        path: String,
        /// Its `timeout_seconds`.
        seconds: u32,
    },
    /// Source versions, manual steps, checks and firmware together are too big to travel in an event.
    #[error(
        "source versions, manual steps, checks and firmware list take {bytes} bytes, too many to keep"
    )]
    SummaryTooLarge {
        /// Size of the summary as JSON.
        bytes: usize,
    },
}
