//! Gives what was extracted its owner, extended attributes, mode and times, **in this order**: a change of
//! owner takes setuid bits and capabilities away, a file that may only be read takes no attributes, and
//! whatever is done to a file changes its times.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown, lchown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use evenkeel_model::{Attributes, Entry};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use rustix::fs::{XattrFlags, fsetxattr};

/// What could not be given, as in "cannot … FILE", and why.
pub(crate) type Failed = (&'static str, io::Error);

fn step(name: &'static str) -> impl FnOnce(io::Error) -> Failed {
    move |error| (name, error)
}

/// A file whose content is complete, or a directory that nothing more is put into.
pub(crate) fn restore_open(file: &File, entry: &Entry) -> Result<(), Failed> {
    let Attributes {
        owner,
        mtime,
        xattrs,
    } = &entry.attributes;
    if let Some(owner) = owner {
        fchown(file, Some(owner.uid), Some(owner.gid)).map_err(step("set the owner of"))?;
    }
    set_xattrs(file, xattrs).map_err(step("set the extended attributes of"))?;
    file.set_permissions(Permissions::from_mode(entry.mode))
        .map_err(step("set the mode of"))?;
    if let Some(mtime) = mtime {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(*mtime);
        file.set_times(FileTimes::new().set_modified(time))
            .map_err(step("set the time of"))?;
    }
    Ok(())
}

fn set_xattrs(file: &File, xattrs: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for (name, value) in xattrs {
        fsetxattr(file, name.as_str(), value, XattrFlags::empty())?;
    }
    Ok(())
}

/// A directory, once its content is complete. Its parents are done after it.
pub(crate) fn restore_directory(path: &Path, entry: &Entry) -> Result<(), Failed> {
    let directory = File::open(path).map_err(step("open"))?;
    restore_open(&directory, entry)
}

/// A symlink, never what it points to. It has no mode, and no attributes that packages may set.
pub(crate) fn restore_symlink(path: &Path, entry: &Entry) -> Result<(), Failed> {
    if let Some(owner) = entry.attributes.owner {
        lchown(path, Some(owner.uid), Some(owner.gid)).map_err(step("set the owner of"))?;
    }
    if let Some(mtime) = entry.attributes.mtime {
        let time = TimeSpec::new(mtime.cast_signed(), 0);
        let omit = TimeSpec::UTIME_OMIT;
        utimensat(
            AT_FDCWD,
            path,
            &omit,
            &time,
            UtimensatFlags::NoFollowSymlink,
        )
        .map_err(|errno| step("set the time of")(errno.into()))?;
    }
    Ok(())
}

/// A further name of a file of the same package. The file must be there, its content need not be.
///
/// Nothing is followed: the components before the last are the package's own directories, and a last one
/// that is a symlink would be linked itself.
pub(crate) fn hard_link(dir: &Path, target: &str, path: &Path) -> io::Result<()> {
    fs::hard_link(dir.join(target), path)
}
