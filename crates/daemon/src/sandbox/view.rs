//! The filesystem that a check sees: its package's files, the system's programs and libraries, all of it
//! read-only, and an empty folder of its own in memory.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::CheckJob;

/// Where a check finds the files of its package.
pub(super) const PACKAGE: &str = "/package";
/// Where it may write, and starts.
pub(super) const TMP: &str = "/tmp";

/// Programs and libraries: folders, or links to some.
const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What programs need to find others, and the time zone. Nothing of the node's own configuration.
const ETC: [&str; 3] = ["ld.so.cache", "alternatives", "localtime"];
/// Devices that are the same for everyone.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// The package's files are copied here: `MAX_CHECKS_BYTES`, and what folders cost.
const ROOT_OPTIONS: &str = "mode=755,size=40m,nr_inodes=16384";
/// What a check may write.
const TMP_OPTIONS: &str = "mode=1777,size=32m,nr_inodes=4096";

type Done = Result<(), String>;

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> String + use<> {
    let text = format!("{what} {}", path.display());
    move |error| format!("{text}: {error}")
}

/// Makes it the whole filesystem of this process, which is the first of its mount namespace's own.
pub(super) fn build(job: &CheckJob) -> Done {
    let root = &job.root;
    let none: Option<&str> = None;
    // What is unmounted outside goes here too: a view of its own would keep a pool in use after Pacemaker has unmounted it.
    let follows = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(none, "/", none, follows, none)
        .map_err(|e| failed("keep to itself", Path::new("/"))(e.into()))?;
    memory(root, ROOT_OPTIONS)?;
    for name in SYSTEM {
        show(&Path::new("/").join(name), &root.join(name))?;
    }
    make_dir(&root.join("etc"))?;
    for name in ETC {
        show(&Path::new("/etc").join(name), &root.join("etc").join(name))?;
    }
    make_dir(&root.join("dev"))?;
    for name in DEVICES {
        show(&Path::new("/dev").join(name), &root.join("dev").join(name))?;
    }
    copy(&job.files, &root.join("package"))?;
    let tmp = root.join("tmp");
    make_dir(&tmp)?;
    lock(root)?;
    memory(&tmp, TMP_OPTIONS)?;
    enter(root)
}

/// An empty filesystem in memory.
fn memory(at: &Path, options: &str) -> Done {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options))
        .map_err(|e| failed("mount memory at", at)(e.into()))
}

fn make_dir(path: &Path) -> Done {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
        .map_err(failed("create", path))
}

/// Shows a file or folder of the machine; what it does not have is not there.
fn show(from: &Path, to: &Path) -> Done {
    let Ok(kind) = fs::symlink_metadata(from).map(|found| found.file_type()) else {
        return Ok(());
    };
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(failed("read", from))?;
        return symlink(target, to).map_err(failed("link", to));
    }
    match kind.is_dir() {
        true => make_dir(to)?,
        false => drop(File::create(to).map_err(failed("create", to))?),
    }
    let (flags, none): (MsFlags, Option<&str>) = (MsFlags::MS_BIND | MsFlags::MS_REC, None);
    mount(Some(from), to, none, flags, none).map_err(|e| failed("show", from)(e.into()))
}

/// The files as they are, for all to read and run.
fn copy(from: &Path, to: &Path) -> Done {
    make_dir(to)?;
    for entry in fs::read_dir(from).map_err(failed("read", from))? {
        let entry = entry.map_err(failed("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed("examine", &source))?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(failed("read", &source))?;
            symlink(link, &target).map_err(failed("link", &target))?;
        } else {
            fs::copy(&source, &target).map_err(failed("copy", &source))?;
            let mode = Permissions::from_mode(0o555);
            fs::set_permissions(&target, mode).map_err(failed("copy", &source))?;
        }
    }
    Ok(())
}

/// Makes everything below the root read-only, whatever came along with it; devices stay what they are.
fn lock(root: &Path) -> Done {
    let mounts = fs::read_to_string("/proc/self/mountinfo");
    let mounts = mounts.map_err(failed("read", Path::new("/proc/self/mountinfo")))?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.map(decode) {
        if point.starts_with(root) && !point.starts_with(root.join("dev")) {
            lock_one(&point)?;
        }
    }
    Ok(())
}

/// A mount's own restrictions stay: without saying them again the kernel would refuse.
fn lock_one(point: &Path) -> Done {
    let own = statvfs(point).map_err(|e| failed("examine", point)(e.into()))?;
    let mut flags = MsFlags::MS_REMOUNT
        | MsFlags::MS_BIND
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    if own.flags().contains(FsFlags::ST_NOEXEC) {
        flags |= MsFlags::MS_NOEXEC;
    }
    let none: Option<&str> = None;
    mount(none, point, none, flags, none).map_err(|e| failed("lock", point)(e.into()))
}

/// Undoes how the kernel writes blanks in paths: `\040`.
fn decode(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal.filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The new root takes the place of the old one, which is let go of.
fn enter(root: &Path) -> Done {
    let failed = |e: nix::Error| failed("enter", root)(e.into());
    chdir(root).map_err(failed)?;
    pivot_root(".", ".").map_err(|e| format!("enter {}: {e}", root.display()))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|e| format!("leave the machine: {e}"))?;
    chdir("/").map_err(|e| format!("enter /: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_paths_are_understood() {
        assert_eq!(decode("/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(decode("/a\\"), Path::new("/a\\"));
    }
}
