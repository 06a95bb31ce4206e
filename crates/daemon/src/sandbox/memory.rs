//! What a check and all that it starts use of the machine's memory, together: summed up again and again, since
//! a limit of the kernel's holds for each process alone, and control groups are not everywhere ours to make.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Dir, Mode, OFlags, openat};
use tokio::time::{Instant, sleep};

/// Most that all processes of a check may use together. A script needs a tenth of it.
pub(super) const MAX_BYTES: u64 = 512 << 20;
/// Between two looks: what a few cores can fill meanwhile is small beside the bound.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A look that takes long, on a machine with many processes, is followed by so many times its pause.
const PAUSES: u32 = 9;

/// The machine's `/proc`, opened before the root folder is another one: the check's view shuts it out.
pub(super) struct Proc(OwnedFd);

impl Proc {
    /// Opens it.
    pub(super) fn open() -> io::Result<Self> {
        fs::File::open("/proc").map(|folder| Self(folder.into()))
    }

    /// Returns when the process and its descendants use more than they may, or cannot be looked at, with why.
    pub(super) async fn outgrown(&self, root: u32) -> String {
        loop {
            let begun = Instant::now();
            match self.used(root) {
                Ok(bytes) if bytes > MAX_BYTES => {
                    return format!(
                        "its processes use more than {} MiB of memory together",
                        MAX_BYTES >> 20
                    );
                }
                Ok(_) => {}
                Err(error) => return format!("what memory it uses cannot be seen: {error}"),
            }
            sleep(LOOK_EVERY.max(begun.elapsed() * PAUSES)).await;
        }
    }

    /// Bytes in memory and in swap. Pages that are shared count for each process that has them.
    fn used(&self, root: u32) -> io::Result<u64> {
        let children = self.children()?;
        let (mut bytes, mut left) = (0, vec![root]);
        while let Some(pid) = left.pop() {
            bytes += self.read(pid, "status").map_or(0, |it| in_memory(&it));
            left.extend(children.get(&pid).into_iter().flatten());
        }
        Ok(bytes)
    }

    /// Every process of the machine, below the one that it would report to. An orphan of a process namespace is
    /// below the namespace's first process, so none gets away.
    fn children(&self) -> io::Result<BTreeMap<u32, Vec<u32>>> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let Some(pid) = entry
                .file_name()
                .to_str()
                .ok()
                .and_then(|it| it.parse().ok())
            else {
                continue;
            };
            let stat = self.read(pid, "stat");
            if let Some(parent) = stat.and_then(|stat| parent_of(&stat)) {
                children.entry(parent).or_default().push(pid);
            }
        }
        Ok(children)
    }

    /// What the kernel says of a process. One that has ended meanwhile uses nothing.
    fn read(&self, pid: u32, name: &str) -> Option<String> {
        let path = format!("{pid}/{name}");
        let file = openat(
            &self.0,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok()?;
        io::read_to_string(fs::File::from(file)).ok()
    }
}

/// The parent in a line of `stat`: the second word behind the name, which may hold anything.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn in_memory(status: &str) -> u64 {
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse::<u64>().ok())
    };
    let lines = ["VmRSS:", "VmSwap:"];
    lines.into_iter().filter_map(kilobytes).sum::<u64>() << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        assert_eq!(parent_of("7 (a) b)) S 3 7 7"), Some(3));
        assert_eq!(parent_of("7 (a"), None);
        let status = "Name:\tsh\nVmRSS:\t    2048 kB\nVmSwap:\t      1 kB\n";
        assert_eq!(in_memory(status), 2049 << 10);
        assert_eq!(in_memory("Name:\tgone\n"), 0);
        let proc = Proc::open().unwrap();
        assert!(proc.used(std::process::id()).unwrap() > 0);
    }
}
