//! Reads from a disk, past every cache.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc;

use crate::look::{Answer, refused, unavailable};

/// What is read at each place; also what the kernel wants the buffer to be aligned to, at most.
const CHUNK: usize = 64 * 1024;
const ALIGNED: usize = 4096;

/// Reads at the beginning, in the middle and at the end of a device.
///
/// # Errors
/// Refused when the device answers that it cannot read; unavailable when it does not answer.
pub(super) fn read_test(path: &Path) -> Answer<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_DIRECT).open(path);
    let mut file = file.map_err(|error| unavailable(format!("{}: {error}", path.display())))?;
    let size = file.seek(SeekFrom::End(0));
    let size = size.map_err(|error| unavailable(format!("{}: {error}", path.display())))?;
    if size < CHUNK as u64 {
        return Err(refused(format!(
            "{} says that it has {size} bytes",
            path.display()
        )));
    }
    let align = |offset: u64| offset - offset % ALIGNED as u64;
    let last = align(size - CHUNK as u64);
    for offset in [0, align(last / 2), last] {
        chunk(&file, path, offset)?;
    }
    Ok(())
}

fn chunk(file: &File, path: &Path, offset: u64) -> Answer<()> {
    let mut room = vec![0_u8; CHUNK + ALIGNED];
    let from = room.as_ptr().align_offset(ALIGNED);
    let buffer = &mut room[from..from + CHUNK];
    let read = file.read_exact_at(buffer, offset);
    let place = format!("{} at byte {offset}", path.display());
    read.map_err(|error| match (error.kind(), error.raw_os_error()) {
        (ErrorKind::UnexpectedEof, _) => refused(format!("{place}: it ends before its end")),
        // A medium error, or one of the transport in the middle: the kernel has tried again by itself.
        (_, Some(libc::EIO | libc::EILSEQ | libc::ENODATA | libc::EREMOTEIO)) => {
            refused(format!("{place}: {error}"))
        }
        (_, _) => unavailable(format!("{place}: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the folder of the build: a memory filesystem may know no direct reads.
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
    }

    #[test]
    fn a_disk_is_read_at_its_ends() {
        let folder = folder();
        let path = folder.path().join("disk");
        let file = File::create(&path).unwrap();
        file.set_len(3 * CHUNK as u64 + 512).unwrap();
        read_test(&path).unwrap();
        file.set_len(512).unwrap();
        let said = read_test(&path).unwrap_err();
        assert!(!said.is_transient(), "{said}");
        let said = read_test(&folder.path().join("gone")).unwrap_err();
        assert!(said.is_transient(), "{said}");
    }
}
