//! What is mounted where: `/proc/self/mountinfo`, as `proc_pid_mountinfo(5)` describes it.

use std::path::{Path, PathBuf};

use super::unavailable;
use crate::host::Host;
use evenkeel_platform::PlatformError;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor` of the file system.
    pub(super) device: String,
    /// The folder of the file system that is seen here: it tells subvolumes and bind mounts apart.
    pub(super) root: String,
    /// Where.
    pub(super) point: PathBuf,
    /// The mount or its file system is read-only.
    pub(super) read_only: bool,
    /// The kind of file system.
    pub(super) kind: String,
}

impl Mount {
    /// Whether both show the same files.
    pub(super) fn shows_same(&self, other: &Self) -> bool {
        (&self.device, &self.root) == (&other.device, &other.root)
    }
}

/// All mounts that this process sees, in the order in which they were made.
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    pub(super) fn read(host: &Host) -> Result<Self, PlatformError> {
        let text = host.read("/proc/self/mountinfo")?;
        let mounts: Option<Vec<Mount>> = text.lines().map(parse).collect();
        match mounts {
            Some(mounts) => Ok(Self(mounts)),
            None => unavailable("/proc/self/mountinfo is not as the kernel documents it"),
        }
    }

    /// What is mounted at exactly this place; of several, the one that covers the others.
    pub(super) fn at(&self, point: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == point)
    }

    /// The mount that a path lies in.
    pub(super) fn of(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|ancestor| self.at(ancestor))
    }
}

/// `36 35 98:0 /root /point rw,noatime optional:1 - ext3 /dev/root rw,errors=continue`
fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    let (device, root, point, options) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let mut after = after.split(' ');
    let (kind, _source, super_options) = (after.next()?, after.next()?, after.next()?);
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        device: device.to_owned(),
        root: unescape(root),
        point: PathBuf::from(unescape(point)),
        read_only: is_read_only(options) || is_read_only(super_options),
        kind: kind.to_owned(),
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let codes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    codes.iter().fold(text.to_owned(), |text, (code, char)| {
        text.replace(code, char)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_is_read() {
        let line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root ro,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/mnt 2"));
        assert_eq!((&*mount.device, &*mount.root), ("98:0", "/mnt1"));
        assert!(mount.read_only && mount.kind == "ext3");
        let bare = "1 1 0:2 / / rw - rootfs rootfs rw";
        assert!(!parse(bare).unwrap().read_only);
        assert_eq!(parse("36 35 98:0 /"), None);
    }

    #[test]
    fn the_newest_mount_covers() {
        let mounts =
            "1 1 8:1 / / rw - ext4 a rw\n2 1 8:2 / /x rw - ext4 b rw\n3 1 8:3 / /x rw - xfs c rw";
        let mounts = Mounts(mounts.lines().map(|line| parse(line).unwrap()).collect());
        assert_eq!(mounts.of(Path::new("/x/y")).unwrap().device, "8:3");
        assert_eq!(mounts.of(Path::new("/xy")).unwrap().device, "8:1");
        assert_eq!(mounts.at(Path::new("/y")), None);
    }
}
