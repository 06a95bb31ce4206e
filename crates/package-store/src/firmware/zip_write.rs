//! Writes a zip file of files that are stored as they are. Firmware hardly packs, and what is padded would look
//! like a bomb.

use std::io::{self, Write};

/// The version that a reader needs to know: 2.0, as every one does.
const VERSION: u16 = 20;
/// 1 January 1980, zip's first day: the same content gives the same bytes.
const NO_DATE: u16 = 1 << 5 | 1;
/// A regular file of mode 0644, as Unix has it.
const FILE_0644: u32 = 0o100_644 << 16;

/// A file that is known before it is written.
#[derive(Clone, Debug)]
pub(super) struct ZipFile {
    pub(super) name: String,
    pub(super) size: u32,
    pub(super) crc: u32,
}

/// Writes the files one after the other; `finish` writes the directory.
pub(super) struct ZipWriter<W> {
    output: W,
    at: u32,
    directory: Vec<u8>,
    count: u16,
}

impl<W: Write> ZipWriter<W> {
    pub(super) fn new(output: W) -> Self {
        Self {
            output,
            at: 0,
            directory: Vec::new(),
            count: 0,
        }
    }

    /// Writes what stands before a file's content; exactly its bytes come next, through [`data`](Self::data).
    pub(super) fn begin(&mut self, file: &ZipFile) -> io::Result<()> {
        let fixed = fixed(file)?;
        let mut directory = b"PK\x01\x02".to_vec();
        // Made on Unix, so that the mode counts.
        directory.extend([VERSION as u8, 3]);
        directory.extend(&fixed);
        // No extra field, comment or further volume; a binary file.
        directory.extend([0; 8]);
        directory.extend(FILE_0644.to_le_bytes());
        directory.extend(self.at.to_le_bytes());
        directory.extend(file.name.as_bytes());
        let mut header = b"PK\x03\x04".to_vec();
        header.extend(&fixed);
        header.extend([0; 2]);
        header.extend(file.name.as_bytes());
        self.directory.extend(directory);
        self.count = self.count.checked_add(1).ok_or_else(too_large)?;
        self.data(&header)
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let n = u32::try_from(bytes.len()).map_err(|_| too_large())?;
        self.at = self.at.checked_add(n).ok_or_else(too_large)?;
        self.output.write_all(bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        let directory_at = self.at;
        let directory = std::mem::take(&mut self.directory);
        self.data(&directory)?;
        let mut end = b"PK\x05\x06".to_vec();
        end.extend([0; 4]);
        end.extend(self.count.to_le_bytes());
        end.extend(self.count.to_le_bytes());
        end.extend((self.at - directory_at).to_le_bytes());
        end.extend(directory_at.to_le_bytes());
        end.extend([0; 2]);
        self.data(&end)?;
        Ok(self.output)
    }
}

/// What both headers of a file have alike.
fn fixed(file: &ZipFile) -> io::Result<Vec<u8>> {
    let name_bytes = u16::try_from(file.name.len()).map_err(|_| too_large())?;
    // Names may be other than ASCII; then they are UTF-8.
    let flags: u16 = if file.name.is_ascii() { 0 } else { 1 << 11 };
    let mut bytes = Vec::new();
    for short in [VERSION, flags, 0, 0, NO_DATE] {
        bytes.extend(short.to_le_bytes());
    }
    for long in [file.crc, file.size, file.size] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend(name_bytes.to_le_bytes());
    Ok(bytes)
}

fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        "a zip file holds at most 4 GiB and 65535 files",
    )
}
