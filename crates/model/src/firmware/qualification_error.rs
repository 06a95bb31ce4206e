//! Why a disk qualification package is refused.

use super::qualification::{MAX_QUALIFICATION_BYTES, MAX_QUALIFICATION_RECORDS};

/// Why a disk qualification package was refused, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct QualificationError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: QualificationProblem,
}

/// What is wrong in a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QualificationProblem {
    /// Bigger than any such file.
    #[error("the file has more than the {MAX_QUALIFICATION_BYTES} bytes allowed")]
    TooLarge,
    /// More records than any such file.
    #[error("more than the {MAX_QUALIFICATION_RECORDS} records allowed")]
    TooManyRecords,
    /// Not plain text.
    #[error("a character that is not printable ASCII")]
    NotPlain,
    /// A line that does not end with a line feed.
    #[error("the file ends in the middle of it")]
    Unfinished,
    /// Words are separated by one space each, and none stands at the ends.
    #[error("words that are not separated by single spaces, or an empty line")]
    Spaces,
    /// The header's lines, in their order.
    #[error("{expected} expected")]
    Expected {
        /// What belongs there.
        expected: &'static str,
    },
    /// Written for a newer reader.
    #[error("format {found}, but this release reads format 1")]
    Format {
        /// What it says.
        found: String,
    },
    /// Not numbers with dots between them.
    #[error("{found:?} is no version, as in 3.18")]
    Version {
        /// What it says.
        found: String,
    },
    /// Not a day.
    #[error("{found:?} is no revision: a day, as in 20260131")]
    Revision {
        /// What it says.
        found: String,
    },
    /// A first word that is none of ours.
    #[error("{found:?} is no record: `drive`, `alias`, `device` and `system` are")]
    UnknownRecord {
        /// The word.
        found: String,
    },
    /// A record with other words than it should have.
    #[error("`{form}` expected")]
    Form {
        /// What belongs there.
        form: &'static str,
    },
    /// A model or revision with characters that they do not have, or too long.
    #[error("{0}")]
    Name(String),
    /// A record a second time, or an alias that is a drive too.
    #[error("{name} has a record before, in line {first}")]
    Duplicate {
        /// The model.
        name: String,
        /// Where the first is.
        first: usize,
    },
    /// An alias of what is not there, or of another alias.
    #[error("an alias of {target}, which has no `drive` record")]
    NoSuchDrive {
        /// The model it should be another name of.
        target: String,
    },
    /// The last line is missing.
    #[error("the file ends here without its `checksum` line")]
    NoChecksum,
    /// Not 64 lowercase hexadecimal digits.
    #[error("`checksum sha256 DIGEST` expected, with 64 lowercase hexadecimal digits")]
    ChecksumForm,
    /// The text was changed, by hand or on the way.
    #[error("the checksum does not match the lines before it")]
    WrongChecksum,
    /// Something behind the end.
    #[error("something follows the `checksum` line")]
    AfterEnd,
}
