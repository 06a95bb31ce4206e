//! Reads zip files, believing nothing: what the central directory says must be what the file holds, byte for
//! byte, without an overlap or a gap, before any entry is given out.
//!
//! A zip describes every entry twice and is read from its end, so that two programs may see two different
//! archives in one file. What leaves any room for that is refused; so is what a firmware package never is:
//! encrypted, split over volumes, bigger than 4 GiB, packed otherwise than by deflate.

mod directory;
mod error;
mod layout;

use std::io::{self, Read, Seek, SeekFrom};

use flate2::CrcReader;
use flate2::bufread::DeflateDecoder;

pub use error::{ZipError, ZipKindProblem};

use layout::Spans;

/// Pieces in which content is given out.
const PIECE_BYTES: usize = 64 << 10;
/// Deflate packs at most about 1030 to 1. Firmware is often padded, but not by that much.
const MAX_RATIO: u64 = 500;
/// Below this, a ratio says nothing.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// Bounds on a zip file. Its directory is held in memory.
#[derive(Clone, Copy, Debug)]
pub struct ZipLimits {
    /// Most entries.
    pub max_entries: usize,
    /// Most bytes of content in all.
    pub max_unpacked_bytes: u64,
}

impl Default for ZipLimits {
    /// 10 000 entries and 4 GiB: far above any firmware package.
    fn default() -> Self {
        Self {
            max_entries: 10_000,
            max_unpacked_bytes: 4 << 30,
        }
    }
}

/// One entry of a zip file. It is a directory if it has no content and its path had a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZipEntry {
    /// Relative, components joined by `/`, none of them `.` or `..`; without the slash of a directory.
    pub path: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes of content.
    pub size: u64,
    /// Bytes in the file.
    pub packed_bytes: u64,
    crc: u32,
    method: Method,
    /// Where its content begins in the file.
    content_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
}

/// A zip file whose structure has been proven. The content of each entry is proven when it is read.
#[derive(Debug)]
pub struct ZipReader<R> {
    input: R,
    entries: Vec<ZipEntry>,
}

impl<R: Read + Seek> ZipReader<R> {
    /// Proves the structure of a zip file.
    pub fn open(mut input: R, limits: ZipLimits) -> Result<Self, ZipError> {
        let file_bytes = input.seek(SeekFrom::End(0))?;
        let end = directory::find_end(&mut input, file_bytes)?;
        let listed = directory::read(&mut input, &end, limits)?;
        let entries = Spans::prove(&mut input, listed, end.directory_at)?;
        let unpacked: u64 = entries.iter().map(|entry| entry.size).sum();
        if unpacked > limits.max_unpacked_bytes {
            return Err(ZipError::TooLarge {
                unpacked,
                limit: limits.max_unpacked_bytes,
            });
        }
        if unpacked.saturating_sub(RATIO_FREE_BYTES) / MAX_RATIO > file_bytes {
            return Err(ZipError::Bomb {
                unpacked,
                file_bytes,
            });
        }
        Ok(Self { input, entries })
    }

    /// The entries, in the directory's order.
    pub fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// Gives the content of an entry of this file to `each`, piece by piece. It is proven only when this
    /// returns well.
    pub fn read(
        &mut self,
        entry: &ZipEntry,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ZipError> {
        self.input.seek(SeekFrom::Start(entry.content_at))?;
        let packed = (&mut self.input).take(entry.packed_bytes);
        let mut packed = io::BufReader::with_capacity(PIECE_BYTES, packed);
        let crc = match entry.method {
            Method::Stored => give_out(&mut packed, entry, &mut each)?,
            Method::Deflated => give_out(DeflateDecoder::new(&mut packed), entry, &mut each)?,
        };
        let mut more = [0];
        if packed.read(&mut more)? != 0 {
            return Err(ZipError::HiddenData {
                at: entry.content_at + entry.packed_bytes,
            });
        }
        if crc != entry.crc {
            return Err(ZipError::Damaged {
                path: entry.path.clone(),
            });
        }
        Ok(())
    }

    /// Reads every entry to its end, so that all of the file is proven.
    pub fn prove(&mut self) -> Result<(), ZipError> {
        let entries = self.entries.clone();
        entries
            .iter()
            .try_for_each(|entry| self.read(entry, |_| Ok(())))
    }
}

/// The content's checksum, if it is as long as listed.
fn give_out(
    content: impl Read,
    entry: &ZipEntry,
    each: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<u32, ZipError> {
    let mut content = CrcReader::new(content);
    let mut piece = vec![0; PIECE_BYTES];
    let mut found = 0u64;
    loop {
        let n = match content.read(&mut piece) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Of the file itself, or of what deflate made of it.
            Err(error) if error.raw_os_error().is_some() => return Err(error.into()),
            Err(_) => {
                return Err(ZipError::Damaged {
                    path: entry.path.clone(),
                });
            }
        };
        found += n as u64;
        if found > entry.size || (n == 0 && found < entry.size) {
            return Err(ZipError::SizeLie {
                path: entry.path.clone(),
                listed: entry.size,
            });
        }
        if n == 0 {
            return Ok(content.crc().sum());
        }
        each(&piece[..n])?;
    }
}
