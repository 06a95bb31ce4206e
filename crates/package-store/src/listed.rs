//! Compares what an archive holds with what its manifest lists, entry by entry.

use evenkeel_model::{
    Attributes, Entry, EntryKind, MANIFEST_PATH, SIGNATURE_PATH, check_entry_path,
    link_stays_inside,
};

use crate::tar::{TarAttributes, TarEntry, TarKind};
use crate::verify_error::VerifyError;

/// `Err(None)`: acceptable by itself, but not the entry whose turn it is.
pub(crate) fn check_header(found: &TarEntry, listed: &Entry) -> Result<(), Option<VerifyError>> {
    check_archive_path(found).map_err(Some)?;
    if found.path != listed.path {
        return Err(None);
    }
    let differs = |what| {
        Some(VerifyError::Differs {
            path: listed.path.clone(),
            what,
        })
    };
    match (&found.kind, &listed.kind) {
        (TarKind::File, EntryKind::File { .. }) | (TarKind::Directory, EntryKind::Directory) => {}
        (TarKind::Symlink { target: found }, EntryKind::Symlink { target }) => {
            if found != target {
                return Err(differs("link target"));
            }
        }
        (TarKind::HardLink { target: found }, EntryKind::HardLink { target }) => {
            if found != target {
                return Err(differs("link target"));
            }
        }
        (
            TarKind::File | TarKind::Directory | TarKind::Symlink { .. } | TarKind::HardLink { .. },
            _,
        ) => {
            return Err(differs("kind"));
        }
    }
    if found.size != listed.size() {
        let (listed, path) = (listed.size(), listed.path.clone());
        return Err(Some(VerifyError::SizeLie {
            path,
            listed,
            found: found.size,
        }));
    }
    if found.mode != listed.mode {
        return Err(differs("mode"));
    }
    match differing_attribute(&found.attributes, &listed.attributes) {
        Some(what) => Err(differs(what)),
        None => Ok(()),
    }
}

/// Owner and time count where they are listed: where not, another tool may have repacked the archive.
/// Extended attributes that are not listed are never there.
fn differing_attribute(found: &TarAttributes, listed: &Attributes) -> Option<&'static str> {
    let Attributes {
        owner,
        mtime,
        xattrs,
    } = listed;
    let same_owner = owner.is_none_or(|owner| {
        (found.uid, found.gid) == (Some(owner.uid.into()), Some(owner.gid.into()))
    });
    match () {
        () if !same_owner => Some("owner"),
        () if mtime.is_some() && *mtime != found.mtime => Some("time"),
        () if *xattrs != found.xattrs => Some("extended attributes"),
        () => None,
    }
}

/// Dangers that have a name of their own, whatever the manifest lists.
pub(crate) fn check_archive_path(found: &TarEntry) -> Result<(), VerifyError> {
    if [MANIFEST_PATH, SIGNATURE_PATH].contains(&found.path.as_str()) {
        return Err(VerifyError::Duplicate {
            path: found.path.clone(),
        });
    }
    check_entry_path(&found.path).map_err(|problem| VerifyError::Path {
        path: found.path.clone(),
        problem,
    })?;
    match &found.kind {
        TarKind::Symlink { target } if !link_stays_inside(&found.path, target) => {
            Err(VerifyError::LinkOut {
                path: found.path.clone(),
                target: target.clone(),
            })
        }
        TarKind::HardLink { target } if check_entry_path(target).is_err() => {
            Err(VerifyError::HardLink {
                path: found.path.clone(),
                target: target.clone(),
            })
        }
        TarKind::Symlink { .. } | TarKind::HardLink { .. } | TarKind::File | TarKind::Directory => {
            Ok(())
        }
    }
}

/// Names what is wrong with an entry that came when it was the turn of `entries[at]`.
pub(crate) fn misplaced(entries: &[Entry], at: usize, found: &TarEntry) -> VerifyError {
    let path = found.path.clone();
    match entries.iter().position(|entry| entry.path == path) {
        None => VerifyError::Unlisted { path },
        Some(earlier) if earlier < at => VerifyError::Duplicate { path },
        Some(_) => VerifyError::OutOfOrder {
            expected: entries[at].path.clone(),
            found: path,
        },
    }
}
