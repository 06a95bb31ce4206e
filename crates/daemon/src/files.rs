//! Files that are followed: whatever they hold is taken up soon after it has changed, without a restart. What cannot be used is said
//! once, and read again until it can be.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often they are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What tells one content of files from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(u64, i64, i64, u64)>>);

impl Stamp {
    /// Of these files as they are now.
    pub(crate) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let stamp = |path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
        };
        Self(paths.into_iter().map(stamp).collect())
    }
}

/// What went wrong last, so that it is said when it is news.
#[derive(Debug, Default)]
pub(crate) struct Trouble(String);

impl Trouble {
    /// Notes how it went, and calls `say` with what is news of it.
    pub(crate) fn note(&mut self, outcome: Result<(), String>, say: impl FnOnce(&str)) {
        let now = outcome.err().unwrap_or_default();
        if self.0 != now && !now.is_empty() {
            say(&now);
        }
        self.0 = now;
    }

    fn is_there(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Several files that belong together, as they were seen last.
pub(crate) struct Followed {
    seen: Stamp,
    pub(crate) trouble: Trouble,
}

impl Followed {
    /// From what has been taken up.
    pub(crate) fn from(seen: Stamp) -> Self {
        let trouble = Trouble::default();
        Self { seen, trouble }
    }

    /// Whether they are to be read. They do not change all at once: what did not fit together is read again until it does.
    pub(crate) fn is_due(&mut self, now: Stamp) -> bool {
        let is_due = self.seen != now || self.trouble.is_there();
        self.seen = now;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_due_when_they_have_changed_and_while_they_do_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let now = || Stamp::of([one.as_path(), other.as_path()]);
        let mut followed = Followed::from(now());
        assert!(!followed.is_due(now()));
        fs::write(&one, "1").unwrap();
        assert!(followed.is_due(now()));
        let mut said = Vec::new();
        for why in ["half", "half", "cut"] {
            followed
                .trouble
                .note(Err(why.to_owned()), |it| said.push(it.to_owned()));
            assert!(followed.is_due(now()));
        }
        assert_eq!(said, ["half", "cut"]);
        followed.trouble.note(Ok(()), |it| panic!("{it}"));
        assert!(!followed.is_due(now()));
    }
}
