//! Small file operations. Each passes a [`step`], where tests make it fail or the power go.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::statvfs::statvfs;

use crate::step::step;

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    step("sync folder", dir)?;
    File::open(dir)?.sync_all()
}

/// Makes a file's content durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    step("sync file", path)?;
    file.sync_all()
}

/// Makes a folder that was not there.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    step("create folder", path)?;
    fs::create_dir(path)
}

/// Makes a file that was not there.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    step("create file", path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
}

/// Writes all of `bytes` where the file stands.
pub(crate) fn write_all(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    step("write", path)?;
    file.write_all(bytes)
}

/// Cuts a file to its first `bytes`.
pub(crate) fn truncate(file: &File, path: &Path, bytes: u64) -> io::Result<()> {
    step("cut", path)?;
    file.set_len(bytes)
}

/// Writes a file that did not exist and syncs it; its name becomes durable with [`sync_dir`].
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = create_file(path)?;
    write_all(&file, path, bytes)?;
    sync_file(&file, path)
}

/// Replaces a file in one step, durably: after a crash it is the old one or the new one.
pub(crate) fn replace_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    remove_all(&unfinished)?;
    let written = write_synced(&unfinished, bytes).and_then(|()| rename(&unfinished, path));
    if written.is_err() {
        // The error that counts is the first one; what cannot be removed goes with its folder.
        let _ = remove_all(&unfinished);
    }
    written?;
    sync_dir(&parent_of(path))
}

/// Renames; durable with a [`sync_dir`] of both folders.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step("rename", from)?;
    fs::rename(from, to)
}

/// Lets two files or folders change places in one step.
pub(crate) fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    step("exchange", b)?;
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).map_err(io::Error::from)
}

/// Bytes that an unprivileged process may still write to the file system of `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = statvfs(path)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Removes everything in `dir`, never following a link; `keep` names what stays.
pub(crate) fn clear_dir(dir: &Path, keep: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !keep.iter().any(|name| entry.file_name() == *name) {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file, a link, or a folder with all that is in it. What is not there is fine.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    match remove_present(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a file or a link.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    step("remove file", path)?;
    fs::remove_file(path)
}

fn remove_present(path: &Path) -> io::Result<()> {
    if !path.symlink_metadata()?.is_dir() {
        return remove_file(path);
    }
    // A package may hold folders without write permission; ours to delete all the same.
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    clear_dir(path, &[])?;
    step("remove folder", path)?;
    fs::remove_dir(path)
}

/// Whether a write failed because there is no room: the file system's or the quota's.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether the medium, or the file system on it, gives bytes back no more: what was there is damaged. Everything
/// else is trouble of ours.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    const MEDIUM: [nix::Error; 3] = [nix::Error::EIO, nix::Error::EBADMSG, nix::Error::EUCLEAN];
    let code = error.raw_os_error().map(nix::Error::from_raw);
    code.is_some_and(|code| MEDIUM.contains(&code))
}

/// Whether nothing has that name.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_medium_lost_counts_as_lost() {
        let is_lost = |error: nix::Error| is_lost(&error.into());
        assert!(is_lost(nix::Error::EIO) && is_lost(nix::Error::EUCLEAN));
        assert!(!is_lost(nix::Error::EMFILE) && !is_lost(nix::Error::ENOMEM));
    }
}
