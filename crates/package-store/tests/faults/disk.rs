//! A small ext4 on a loop device, for a process in a mount namespace of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::reexec::is_child;

/// Threads of a store that was just dropped may still be closing its files: unmounting is tried this often…
const UNMOUNT_ATTEMPTS: u32 = 200;
/// …with this pause, 5 s in all.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(25);

/// Cuts the power of a file system: ext4 drops whatever it has not written, its journal included.
const POWER: &str = "
import fcntl, os, struct, sys
for line in sys.stdin:
    fd = os.open(line.rstrip('\\n'), os.O_RDONLY)
    fcntl.ioctl(fd, 0x8004587D, struct.pack('I', 2))
    os.close(fd)
    print('off', flush=True)
";

/// A folder in memory, where the machine has some: what is lost here is lost by the file system on the loop
/// device, or by a kill, and neither depends on the disk below.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

pub(crate) struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes the file system below `dir` and mounts it.
    pub(crate) fn new(dir: &Path, megabytes: u32) -> Self {
        assert!(is_child(), "only in a mount namespace of its own");
        let disk = Self {
            image: dir.join("disk.img"),
            mount: dir.join("disk"),
        };
        fs::create_dir(&disk.mount).unwrap();
        let size = format!("{megabytes}M");
        // Without reserved blocks and lazy work: the free bytes are those of the packages alone.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-m0", "-b1024", "-E", options])
            .arg(&disk.image)
            .arg(size));
        disk.mount();
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    pub(crate) fn mount(&self) {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .args([&self.image, &self.mount]));
    }

    pub(crate) fn unmount(&self) {
        for _ in 0..UNMOUNT_ATTEMPTS {
            let output = Command::new("umount").arg(&self.mount).output().unwrap();
            if output.status.success() {
                return;
            }
            std::thread::sleep(UNMOUNT_PAUSE);
        }
        panic!("{} stays busy", self.mount.display());
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.mount).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }

    /// Leaves only so much free.
    pub(crate) fn fill_to(&self, free: u64) {
        // What was removed just now can be taken when the journal says so.
        nix::unistd::syncfs(fs::File::open(&self.mount).unwrap()).unwrap();
        let ballast = fs::File::create(self.mount.join("ballast")).unwrap();
        // Extents cost blocks too: so it takes a few tries to come close.
        let mut size = 0;
        for _ in 0..4 {
            size += self.free_bytes().saturating_sub(free);
            let length = i64::try_from(size).unwrap();
            let flags = nix::fcntl::FallocateFlags::empty();
            match nix::fcntl::fallocate(&ballast, flags, 0, length) {
                // How many blocks the extents themselves cost depends on what is free where: what could be
                // had is had.
                Ok(()) | Err(nix::Error::ENOSPC) => {}
                Err(error) => panic!("cannot fill the disk: {error}"),
            }
        }
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.mount.join("ballast")).unwrap();
        // Blocks of a removed file are free when the journal says so.
        nix::unistd::syncfs(fs::File::open(&self.mount).unwrap()).unwrap();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}

/// A hand on the power switch.
pub(crate) struct Power {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Power {
    pub(crate) fn new() -> Self {
        let mut process = Command::new("python3")
            .args(["-c", POWER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    pub(crate) fn cut(&mut self, mount: &Path) {
        let mut stdin = self.process.stdin.as_ref().unwrap();
        writeln!(stdin, "{}", mount.display()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "off\n");
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
