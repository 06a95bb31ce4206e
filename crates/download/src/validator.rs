//! What tells one file on a server from another that took its place.

use serde::{Deserialize, Serialize};

/// Names the content that a transfer began with, as the server described it. Kept beside what was
/// received, so that a later try, or a later daemon, can ask for the rest of the same file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// A strong entity tag.
    #[serde(default)]
    pub etag: Option<String>,
    /// When the file was changed last: HTTP's `Last-Modified`, or the answer to FTP's `MDTM`.
    #[serde(default)]
    pub modified: Option<String>,
    /// Bytes of the whole file.
    #[serde(default)]
    pub total: Option<u64>,
}

impl Validator {
    /// Whether it can prove that a file is still the same one.
    pub fn is_usable(&self) -> bool {
        self.etag.is_some() || (self.modified.is_some() && self.total.is_some())
    }

    /// Whether `now` describes another file. What one of the two does not say proves nothing.
    pub(crate) fn differs_from(&self, now: &Self) -> bool {
        fn differ<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
            matches!((a, b), (Some(a), Some(b)) if a != b)
        }
        // A tag that stayed proves more than a date: copies of one file on several servers differ in theirs.
        let tags = match (&self.etag, &now.etag) {
            (Some(a), Some(b)) => Some(a != b),
            _ => None,
        };
        differ(&self.total, &now.total)
            || tags.unwrap_or_else(|| differ(&self.modified, &now.modified))
    }
}
