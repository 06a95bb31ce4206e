//! What is mounted where, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

use crate::Host;
use crate::look::{Answer, unavailable};

/// Where a node's own system is mounted.
const SYSTEM: [&str; 6] = ["/", "/boot", "/boot/efi", "/efi", "/usr", "/var"];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Major and minor number of the device, as in `8:1`; made up where no device stands behind it.
    pub(crate) dev: String,
    /// The folder of the filesystem that is seen here: it tells subvolumes and bind mounts apart.
    pub(crate) root: String,
    /// Where.
    pub(crate) folder: PathBuf,
    /// The filesystem's type.
    pub(crate) kind: String,
    /// The device, or what else the filesystem is of.
    pub(crate) source: String,
    /// The filesystem itself takes no writes.
    pub(crate) read_only: bool,
    /// This mount of it takes none, whatever the filesystem does: a sandbox makes such ones.
    pub(crate) forbids_writes: bool,
}

impl Mount {
    /// Whether both show the same files.
    pub(crate) fn shows_same(&self, other: &Self) -> bool {
        (&self.dev, &self.root) == (&other.dev, &other.root)
    }

    /// Whether files can be written here.
    pub(crate) fn takes_writes(&self) -> bool {
        !self.read_only && !self.forbids_writes
    }

    /// Whether a node's own system is mounted here.
    pub(crate) fn is_system(&self) -> bool {
        SYSTEM.iter().any(|folder| self.folder == Path::new(folder))
    }

    /// The ZFS pool that it is of; none if it is of no dataset.
    pub(crate) fn zpool(&self) -> Option<&str> {
        match self.kind.as_str() {
            "zfs" => self.source.split('/').next(),
            _ => None,
        }
    }
}

/// All mounts that this process sees, in the order in which they were made.
#[derive(Clone, Debug)]
pub(crate) struct Mounts(Vec<Mount>);

impl Mounts {
    pub(crate) fn read(host: &Host) -> Answer<Self> {
        let text = host.read("/proc/self/mountinfo")?;
        let lines = text.lines().filter(|line| !line.is_empty());
        let mounts = lines.map(|line| {
            parse(line).ok_or_else(|| {
                unavailable(format!("/proc/self/mountinfo has a strange line: {line}"))
            })
        });
        mounts.collect::<Answer<_>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// What is mounted at exactly this place; of several, the one that covers the others.
    pub(crate) fn at(&self, folder: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.folder == folder)
    }

    /// The mount that a path lies in.
    pub(crate) fn of(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|ancestor| self.at(ancestor))
    }
}

/// `36 35 98:0 /root /folder rw,noatime optional:1 - ext3 /dev/root rw,errors=continue`
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (dev, root, folder, here) = (left.next()?, left.next()?, left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, source, options) = (right.next()?, right.next()?, right.next()?);
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        dev: dev.to_owned(),
        root: unescape(root),
        folder: PathBuf::from(unescape(folder)),
        kind: kind.to_owned(),
        source: unescape(source),
        read_only: is_read_only(options),
        forbids_writes: is_read_only(here),
    })
}

/// Blanks, tabs, line ends and backslashes stand there as octal numbers.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok());
        match code {
            Some(code) => {
                whole.push(char::from(code));
                whole.push_str(&part[3..]);
            }
            None => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_stands_between() {
        let line = r"36 35 98:0 /mnt1 /srv/two\040words\0412 ro,noatime shared:1 master:2 - ext4 /dev/vg/lv rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.folder, Path::new("/srv/two words!2"));
        assert_eq!((&*mount.dev, &*mount.root), ("98:0", "/mnt1"));
        assert_eq!((&*mount.kind, &*mount.source), ("ext4", "/dev/vg/lv"));
        // Only this process may not write: the filesystem takes writes.
        assert!(!mount.read_only && !mount.takes_writes());
        let whole = parse("36 35 98:0 / / rw - xfs /dev/a ro").unwrap();
        assert!(whole.read_only && !whole.takes_writes() && whole.is_system());
        let bare = parse("1 1 0:2 / / rw - rootfs rootfs rw").unwrap();
        assert!(bare.takes_writes() && bare.zpool().is_none());
        let dataset = parse("1 1 0:2 / / rw - zfs rpool/ROOT/debian rw").unwrap();
        assert_eq!(dataset.zpool(), Some("rpool"));
        assert_eq!(parse("36 35 98:0"), None);
    }

    #[test]
    fn the_newest_mount_covers() {
        let mounts =
            "1 1 8:1 / / rw - ext4 a rw\n2 1 8:2 / /x rw - ext4 b rw\n3 1 8:3 / /x rw - xfs c rw";
        let mounts = Mounts(mounts.lines().map(|line| parse(line).unwrap()).collect());
        assert_eq!(mounts.of(Path::new("/x/y")).unwrap().dev, "8:3");
        assert_eq!(mounts.of(Path::new("/xy")).unwrap().dev, "8:1");
        assert_eq!(mounts.at(Path::new("/y")), None);
    }
}
