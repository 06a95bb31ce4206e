//! What a slot held before. It is moved aside and removed when the new content is whole, where there is room
//! for both: ext4 does not reuse an inode that was just freed, and looks at each such one in turn when it
//! makes a file, so that removing first makes the extraction several times dearer.
//!
//! It lies below the reserved folder, which packages cannot touch, in the slot's own file system. The slot
//! has no mark while it is needed; what a crash leaves goes with the next extraction.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::RESERVED_DIR;

use crate::fsutil;

/// A file system's own folder at the root of a volume.
const KEPT: &[&str] = &["lost+found", RESERVED_DIR];

fn place(slot_dir: &Path) -> PathBuf {
    slot_dir.join(RESERVED_DIR).join("replaced")
}

/// Empties an unmarked slot that is to take `needed` bytes.
pub(crate) fn set_aside(slot_dir: &Path, needed: u64) -> io::Result<()> {
    // The old mark's rest, and what an extraction that was killed had set aside.
    fsutil::remove_all(&slot_dir.join(RESERVED_DIR))?;
    if fsutil::free_bytes(slot_dir)? < needed || fs::read_dir(slot_dir)?.next().is_none() {
        return fsutil::clear_dir(slot_dir, KEPT);
    }
    let aside = place(slot_dir);
    fs::create_dir(slot_dir.join(RESERVED_DIR))?;
    fs::create_dir(&aside)?;
    for entry in fs::read_dir(slot_dir)? {
        let name = entry?.file_name();
        if KEPT.iter().any(|kept| name == *kept) {
            continue;
        }
        let path = slot_dir.join(&name);
        // A folder that is not writable cannot be moved by all who can remove it.
        if fs::rename(&path, aside.join(&name)).is_err() {
            fsutil::remove_all(&path)?;
        }
    }
    Ok(())
}

/// The new content is whole: the old can go.
pub(crate) fn remove(slot_dir: &Path) {
    let aside = place(slot_dir);
    if let Err(error) = fsutil::remove_all(&aside) {
        tracing::warn!(path = %aside.display(), %error, "what the slot held before remains");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("old/deep")).unwrap();
        fs::write(dir.path().join("old/deep/file"), "old").unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        fs::create_dir_all(place(dir.path()).join("older")).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn with_room_for_both_the_old_content_goes_last() {
        let dir = filled();
        set_aside(dir.path(), 1).unwrap();
        assert_eq!(names(dir.path()), [RESERVED_DIR, "lost+found"]);
        assert_eq!(names(&place(dir.path())), ["old"]);
        remove(dir.path());
        assert!(names(&dir.path().join(RESERVED_DIR)).is_empty());
    }

    #[test]
    fn without_room_for_both_it_goes_first() {
        let dir = filled();
        set_aside(dir.path(), u64::MAX).unwrap();
        assert_eq!(names(dir.path()), ["lost+found"]);
    }
}
