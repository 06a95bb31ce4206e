//! The rules that make it safe to unpack what a manifest lists into an empty directory.

use std::collections::HashMap;

use super::entry::{MAX_ENTRY_XATTRS, MAX_MTIME, MAX_XATTR_BYTES};
use super::{
    Attributes, Entry, EntryKind, MANIFEST_FORMAT, MAX_CHECK_SECONDS, MAX_ENTRIES,
    MAX_SUMMARY_BYTES, Manifest, ManifestError, XattrProblem, check_entry_path, check_xattr,
    link_stays_inside,
};

/// Longest target of a symlink, in bytes.
const MAX_TARGET_BYTES: usize = 1024;
/// Longest notes, in bytes.
const MAX_NOTES_BYTES: usize = 64 << 10;

impl Manifest {
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
        let entries = self.validate_entries()?;
        self.validate_sizes()?;
        let checks = self.checks.iter().map(|check| ("checks", &check.path));
        let firmware = self.firmware.iter().map(|image| ("firmware", &image.path));
        for (field, path) in checks.chain(firmware) {
            let kind = entries.get(path.as_str()).map(|entry| &entry.kind);
            if !matches!(kind, Some(EntryKind::File { .. })) {
                let path = path.clone();
                return Err(ManifestError::NotAFile { field, path });
            }
        }
        self.validate_check_times()?;
        let bytes = serde_json::to_vec(&self.summary())
            .expect("a summary is plain JSON")
            .len();
        if bytes > MAX_SUMMARY_BYTES {
            return Err(ManifestError::SummaryTooLarge { bytes });
        }
        Ok(())
    }

    fn validate_check_times(&self) -> Result<(), ManifestError> {
        let fits = |seconds: u32| (1..=MAX_CHECK_SECONDS).contains(&seconds);
        for check in &self.checks {
            if let Some(seconds) = check.timeout_seconds.filter(|seconds| !fits(*seconds)) {
                let path = check.path.clone();
                return Err(ManifestError::CheckTime { path, seconds });
            }
        }
        Ok(())
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

    fn validate_entries(&self) -> Result<HashMap<&str, &Entry>, ManifestError> {
        let mut seen = HashMap::with_capacity(self.entries.len());
        for entry in &self.entries {
            validate_entry(entry)?;
            validate_parent(&entry.path, &seen)?;
            validate_hard_link(entry, &seen)?;
            if seen.insert(entry.path.as_str(), entry).is_some() {
                return Err(ManifestError::Duplicate {
                    path: entry.path.clone(),
                });
            }
        }
        Ok(seen)
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
    validate_attributes(entry)?;
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

fn validate_attributes(entry: &Entry) -> Result<(), ManifestError> {
    let path = || entry.path.clone();
    let Attributes {
        owner,
        mtime,
        xattrs,
    } = &entry.attributes;
    if let Some(owner) = owner
        && [owner.uid, owner.gid].contains(&u32::MAX)
    {
        let (path, uid, gid) = (path(), owner.uid, owner.gid);
        return Err(ManifestError::Owner { path, uid, gid });
    }
    if let Some(mtime) = mtime.filter(|mtime| *mtime > MAX_MTIME) {
        return Err(ManifestError::Time {
            path: path(),
            mtime,
        });
    }
    let refuse = |name: &String, problem| {
        let (path, name) = (path(), name.clone());
        Err(ManifestError::Xattr {
            path,
            name,
            problem,
        })
    };
    let mut bytes = 0;
    for (at, (name, value)) in xattrs.iter().enumerate() {
        if let Err(problem) = check_xattr(&entry.kind, name, value) {
            return refuse(name, problem);
        }
        bytes += name.len() + value.len();
        if at >= MAX_ENTRY_XATTRS || bytes > MAX_XATTR_BYTES {
            return refuse(name, XattrProblem::TooMuch);
        }
    }
    Ok(())
}

/// A hard link is a second name of a file that is there already, and has nothing of its own.
fn validate_hard_link(entry: &Entry, seen: &HashMap<&str, &Entry>) -> Result<(), ManifestError> {
    let EntryKind::HardLink { target } = &entry.kind else {
        return Ok(());
    };
    let (path, target) = (entry.path.clone(), target.clone());
    let file = match seen.get(target.as_str()) {
        Some(file) if matches!(file.kind, EntryKind::File { .. }) => file,
        Some(_) | None => return Err(ManifestError::HardLink { path, target }),
    };
    if entry.mode != file.mode || entry.attributes != Attributes::default() {
        return Err(ManifestError::HardLinkAttributes { path, target });
    }
    Ok(())
}

/// The nearest listed ancestor must be the parent, and a directory.
fn validate_parent(path: &str, seen: &HashMap<&str, &Entry>) -> Result<(), ManifestError> {
    let Some((parent, _)) = path.rsplit_once('/') else {
        return Ok(());
    };
    let kind = |path| seen.get(path).map(|entry| &entry.kind);
    if matches!(kind(parent), Some(EntryKind::Directory)) {
        return Ok(());
    }
    let path = path.to_owned();
    let mut above = Some(parent);
    while let Some(ancestor) = above {
        match kind(ancestor) {
            Some(EntryKind::Symlink { .. }) => {
                return Err(ManifestError::BelowSymlink {
                    path,
                    link: ancestor.to_owned(),
                });
            }
            Some(EntryKind::File { .. } | EntryKind::HardLink { .. }) => {
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
