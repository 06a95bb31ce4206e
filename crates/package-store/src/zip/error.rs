//! Why a zip file is refused.

use std::io;

use evenkeel_model::PathProblem;

/// Why a zip file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// The file could not be read; says nothing about its content.
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
    /// No end of a zip, or it is not at the end of the file.
    #[error("this is no zip file, or it is cut short: it does not end as one")]
    NoEnd,
    /// More than one end: which one counts depends on the program.
    #[error("the zip file has more than one end, so that programs differ about what is in it")]
    TwoEnds,
    /// Of several volumes.
    #[error("the zip file is one volume of several")]
    Volumes,
    /// Of the form for more than 4 GiB or 65534 entries.
    #[error("the zip file is of the form for more than 4 GiB (zip64)")]
    Zip64,
    /// More entries than allowed.
    #[error("the zip file has {count} entries, more than the {limit} allowed")]
    TooManyEntries {
        /// How many it says.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Directory records that are malformed, or not as many as stated.
    #[error("the zip file's directory is damaged at byte {at}: {why}")]
    BadDirectory {
        /// Where in the file.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A dangerous or malformed name.
    #[error("the zip file has an entry {path:?} whose path {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// A name that is not UTF-8.
    #[error("the zip file has a name that is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where in the file.
        at: u64,
    },
    /// A name with a backslash, which is a separator to some programs and not to others.
    #[error("the zip file has an entry {path:?} with a backslash in its name")]
    Backslash {
        /// The path.
        path: String,
    },
    /// The same path twice, or a file where another entry needs a directory.
    #[error("the zip file holds {path:?} twice, or as a file and as a directory")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// Neither file nor directory.
    #[error("the zip file holds {path:?}, which is {kind}")]
    Kind {
        /// The path.
        path: String,
        /// What it is.
        kind: ZipKindProblem,
    },
    /// Encrypted.
    #[error("the zip file holds {path:?} encrypted")]
    Encrypted {
        /// The path.
        path: String,
    },
    /// Packed by a method other than deflate.
    #[error("the zip file holds {path:?} packed by method {method}, which is not supported")]
    Method {
        /// The path.
        path: String,
        /// zip's number for it.
        method: u16,
    },
    /// What stands before an entry's content is not what the directory says.
    #[error("the zip file says two things about {path:?}: its {what} differs")]
    Mismatch {
        /// The path, by the directory.
        path: String,
        /// What differs.
        what: &'static str,
    },
    /// An entry that is not wholly in the part of the file that is for entries.
    #[error("the zip file's entry {path:?} lies outside the file")]
    Outside {
        /// The path.
        path: String,
    },
    /// Two entries share bytes of the file.
    #[error("the zip file's entries {first:?} and {second:?} overlap")]
    Overlap {
        /// The one that begins first.
        first: String,
        /// The other.
        second: String,
    },
    /// Bytes that belong to no entry: before the first, between two, or after the last.
    #[error("the zip file has data at byte {at} that belongs to no entry")]
    HiddenData {
        /// Where in the file.
        at: u64,
    },
    /// More content than allowed.
    #[error("the zip file unpacks to {unpacked} bytes, more than the {limit} allowed")]
    TooLarge {
        /// By its directory.
        unpacked: u64,
        /// The limit.
        limit: u64,
    },
    /// Packed better than real content can be.
    #[error("the zip file is a bomb: {file_bytes} bytes that unpack to {unpacked}")]
    Bomb {
        /// By its directory.
        unpacked: u64,
        /// Size of the file.
        file_bytes: u64,
    },
    /// More or less content than listed.
    #[error("the zip file lists {path:?} with {listed} bytes, but it holds more or fewer")]
    SizeLie {
        /// The path.
        path: String,
        /// The directory's size.
        listed: u64,
    },
    /// Content that does not inflate, or not to what its checksum says.
    #[error("the content of {path:?} in the zip file is damaged")]
    Damaged {
        /// The path.
        path: String,
    },
}

/// What an entry is that a firmware package does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZipKindProblem {
    /// A symbolic link.
    #[error("a symlink")]
    Symlink,
    /// A device, FIFO or socket.
    #[error("a device, a FIFO or a socket")]
    Special,
    /// A directory by its mode and not by its name, or the other way round, or one with content.
    #[error("a directory in one respect and a file in another")]
    Contradiction,
}
