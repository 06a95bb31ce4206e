//! What is mounted, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use crate::Host;
use crate::look::{Answer, unavailable};

/// Where a node's own system is mounted.
pub(crate) const SYSTEM: [&str; 6] = ["/", "/boot", "/boot/efi", "/efi", "/usr", "/var"];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Major and minor number of the device, as in `8:1`; made up where no device stands behind it.
    pub(crate) dev: String,
    /// Where.
    pub(crate) folder: String,
    /// The filesystem's type.
    pub(crate) kind: String,
    /// The device.
    pub(crate) source: String,
    /// The filesystem itself takes no writes. A sandbox that lets this process not write there is another matter.
    pub(crate) read_only: bool,
}

/// All mounts that this process sees, later ones over earlier ones.
pub(crate) fn mounts(host: &Host) -> Answer<Vec<Mount>> {
    let text = host.read("/proc/self/mountinfo")?;
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            parse(line).ok_or_else(|| {
                unavailable(format!("/proc/self/mountinfo has a strange line: {line}"))
            })
        })
        .collect()
}

/// What is mounted on a folder: the last one hides those before.
pub(crate) fn on(mounts: &[Mount], folder: &str) -> Option<Mount> {
    let mut found = mounts.iter().rev();
    found.find(|mount| mount.folder == folder).cloned()
}

fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let mut right = right.split(' ');
    let (kind, source, options) = (right.next()?, right.next()?, right.next()?);
    Some(Mount {
        dev: (*left.get(2)?).to_owned(),
        folder: unescape(left.get(4)?),
        kind: kind.to_owned(),
        source: unescape(source),
        read_only: options.split(',').any(|option| option == "ro"),
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
        let line = r"36 35 98:0 /mnt1 /srv/two\040words ro,noatime shared:1 master:2 - ext4 /dev/vg/lv rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.folder, "/srv/two words");
        assert_eq!(
            (mount.kind.as_str(), mount.source.as_str()),
            ("ext4", "/dev/vg/lv")
        );
        // Only this process may not write: the filesystem takes writes.
        assert!(!mount.read_only);
        assert!(
            parse("36 35 98:0 / / rw - xfs /dev/a ro")
                .unwrap()
                .read_only
        );
        assert_eq!(parse("36 35 98:0"), None);
    }
}
