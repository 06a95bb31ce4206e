//! Reads tar, believing nothing: checksums hold, extension records are bounded, and whatever is not a
//! plain file, directory, symlink or hard link is refused by name.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use bytes::Bytes;

use crate::gzip::Blocks;
use crate::verify_error::VerifyError;

const BLOCK: usize = 512;
/// Long names and pax records: far above the longest path allowed, far below what hurts.
const MAX_EXTENSION_BYTES: u64 = 64 << 10;
/// Extensions before one entry: a long name, a long target and a pax record, with one to spare. Without a
/// bound, a small archive could keep a core busy for hours.
const MAX_EXTENSIONS: u32 = 4;
/// Zeros after the end-of-archive mark. tar pads to its record size, 10 KiB unless told otherwise.
const MAX_PADDING_BYTES: u64 = 1 << 20;

/// One entry's header, extensions applied. Its content is read from the [`TarReader`].
#[derive(Debug)]
pub(crate) struct TarEntry {
    /// As in the archive, without the slash that ends a directory's name.
    pub(crate) path: String,
    pub(crate) kind: TarKind,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) attributes: TarAttributes,
}

/// What else the archive says; `None` where it is not a number that can be listed.
#[derive(Debug, Default)]
pub(crate) struct TarAttributes {
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    /// Whole seconds since 1970.
    pub(crate) mtime: Option<u64>,
    /// Access lists and labels are among them, by the names that the kernel has for them.
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TarKind {
    File,
    Directory,
    Symlink { target: String },
    HardLink { target: String },
}

/// Reads entries one after another from inflated bytes.
pub(crate) struct TarReader<R> {
    input: R,
    /// Bytes taken from `input`.
    offset: u64,
    /// Content of the current entry that is still to be read.
    remaining: u64,
    /// Zeros that fill the current entry's last block.
    padding: u64,
}

/// What an extension says about the entry that follows it.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    target: Option<String>,
    size: Option<u64>,
    /// Taken instead of the header's where a record says so, even if it is not a number we know.
    uid: Option<Option<u64>>,
    gid: Option<Option<u64>>,
    mtime: Option<Option<u64>>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl<R: Blocks> TarReader<R> {
    /// Takes the next piece of the current entry's content, at most `most` bytes; `None` at its end.
    pub(crate) fn take_piece(&mut self, most: usize) -> Result<Option<Bytes>, VerifyError> {
        let n = self.piece()?.len().min(most);
        if n == 0 {
            return Ok(None);
        }
        let piece = self.input.share(n);
        self.consume(n);
        Ok(Some(piece))
    }
}

impl<R: BufRead> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            remaining: 0,
            padding: 0,
        }
    }

    /// The next entry, or `None` after a well-formed end with nothing behind it.
    pub(crate) fn next(&mut self) -> Result<Option<TarEntry>, VerifyError> {
        debug_assert_eq!(self.remaining, 0, "the caller reads each entry's content");
        self.skip_padding()?;
        let mut extension = Extension::default();
        let mut blocks = 0;
        loop {
            let at = self.offset;
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            if block == [0; BLOCK] {
                return self.finish().map(|()| None);
            }
            let header = Header { block: &block, at };
            header.check()?;
            blocks += 1;
            if blocks > MAX_EXTENSIONS + 1 {
                return Err(header.bad("too many extensions of one entry"));
            }
            match header.kind_byte() {
                b'L' => extension.path = Some(self.long_name(&header)?),
                b'K' => extension.target = Some(self.long_name(&header)?),
                b'x' => self.pax(&header, &mut extension)?,
                _ => {
                    let entry = header.entry(extension)?;
                    self.remaining = entry.size;
                    self.padding = padding_of(entry.size);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The next piece of the current entry's content; empty at its end.
    pub(crate) fn piece(&mut self) -> Result<&[u8], VerifyError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let available = self.input.fill_buf().map_err(unwrap)?;
        if available.is_empty() {
            return Err(VerifyError::Truncated { after: self.offset });
        }
        let n = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(available.len());
        Ok(&available[..n])
    }

    /// Takes `n` bytes of the last piece as read.
    pub(crate) fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.offset += n as u64;
        self.remaining -= n as u64;
    }

    /// The whole content of the current entry, which the caller has bounded.
    pub(crate) fn content(&mut self) -> Result<Vec<u8>, VerifyError> {
        let mut content = Vec::new();
        loop {
            let piece = self.piece()?;
            if piece.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(piece);
            let n = piece.len();
            self.consume(n);
        }
    }

    fn read_exact(&mut self, out: &mut [u8]) -> Result<(), VerifyError> {
        self.input
            .read_exact(out)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => VerifyError::Truncated { after: self.offset },
                _ => unwrap(error),
            })?;
        self.offset += out.len() as u64;
        Ok(())
    }

    fn skip_padding(&mut self) -> Result<(), VerifyError> {
        let mut block = [0; BLOCK];
        let n = std::mem::take(&mut self.padding) as usize;
        let at = self.offset;
        self.read_exact(&mut block[..n])?;
        if block != [0; BLOCK] {
            return Err(VerifyError::BadHeader {
                at,
                why: "data in the padding of an entry",
            });
        }
        Ok(())
    }

    /// After the first zero block: another, then zeros only, up to the end of the stream.
    fn finish(&mut self) -> Result<(), VerifyError> {
        let mut zeros = 0u64;
        loop {
            let available = self.input.fill_buf().map_err(unwrap)?;
            if available.is_empty() {
                break;
            }
            if available.iter().any(|byte| *byte != 0) {
                return Err(VerifyError::TrailingData { at: self.offset });
            }
            let n = available.len();
            self.input.consume(n);
            zeros += n as u64;
            self.offset += n as u64;
            if zeros > MAX_PADDING_BYTES {
                return Err(VerifyError::Bomb {
                    limit: MAX_PADDING_BYTES,
                });
            }
        }
        if zeros < BLOCK as u64 {
            return Err(VerifyError::Truncated { after: self.offset });
        }
        Ok(())
    }

    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, VerifyError> {
        let size = header.size()?;
        if size > MAX_EXTENSION_BYTES {
            return Err(header.bad("a long name or pax header of unreasonable size"));
        }
        let mut bytes = vec![0; size as usize];
        self.read_exact(&mut bytes)?;
        self.padding = padding_of(size);
        self.skip_padding()?;
        Ok(bytes)
    }

    /// GNU's way to give a long name: as the content of an entry of its own.
    fn long_name(&mut self, header: &Header<'_>) -> Result<String, VerifyError> {
        let mut bytes = self.extension(header)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        String::from_utf8(bytes).map_err(|_| header.bad("a name that is not UTF-8"))
    }

    fn pax(&mut self, header: &Header<'_>, extension: &mut Extension) -> Result<(), VerifyError> {
        let bytes = self.extension(header)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (key, value, after) =
                pax_record(rest).ok_or_else(|| header.bad("a malformed pax record"))?;
            rest = after;
            extension.record(header, key, value)?;
        }
        Ok(())
    }
}

impl Extension {
    fn record(&mut self, header: &Header<'_>, key: &str, value: &[u8]) -> Result<(), VerifyError> {
        let text = || std::str::from_utf8(value);
        let name = || text().map_err(|_| header.bad("a name that is not UTF-8"));
        let number = || text().ok().and_then(|text| text.parse().ok());
        match key {
            "path" => self.path = Some(name()?.to_owned()),
            "linkpath" => self.target = Some(name()?.to_owned()),
            "size" => {
                let size = number().ok_or_else(|| header.bad("a malformed pax size"))?;
                self.size = Some(size);
            }
            "uid" => self.uid = Some(number()),
            "gid" => self.gid = Some(number()),
            // Other tools write fractions of seconds too.
            "mtime" => {
                let seconds = text().ok().and_then(|text| text.split('.').next());
                self.mtime = Some(seconds.and_then(|seconds| seconds.parse().ok()));
            }
            "SCHILY.acl.access" => self.xattr("system.posix_acl_access", value),
            "SCHILY.acl.default" => self.xattr("system.posix_acl_default", value),
            "RHT.security.selinux" => self.xattr("security.selinux", value),
            sparse if sparse.starts_with("GNU.sparse") => {
                return Err(header.bad("a sparse file, which packages may not hold"));
            }
            other => {
                if let Some(name) = other.strip_prefix("SCHILY.xattr.") {
                    self.xattr(name, value);
                }
                // Access times, names of owners and the like are nowhere restored.
            }
        }
        Ok(())
    }

    fn xattr(&mut self, name: &str, value: &[u8]) {
        self.xattrs.insert(name.to_owned(), value.to_vec());
    }
}

/// `"LENGTH KEY=VALUE\n"`, the length counting all of it; the value may be any bytes.
fn pax_record(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let digits = &bytes[..space];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let record = bytes.get(..length)?.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = std::str::from_utf8(&record[..equals]).ok()?;
    Some((key, &record[equals + 1..], &bytes[length..]))
}

fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Brings back the error that the inflating thread wrapped.
pub(crate) fn unwrap(error: io::Error) -> VerifyError {
    match error.downcast::<VerifyError>() {
        Ok(error) => error,
        Err(error) => VerifyError::Read(error),
    }
}

/// One 512-byte header block.
struct Header<'a> {
    block: &'a [u8; BLOCK],
    at: u64,
}

impl Header<'_> {
    fn bad(&self, why: &'static str) -> VerifyError {
        VerifyError::BadHeader { at: self.at, why }
    }

    fn check(&self) -> Result<(), VerifyError> {
        let stored = self
            .number(148..156)
            .ok_or_else(|| self.bad("no checksum"))?;
        let before: u64 = self.block[..148].iter().map(|b| u64::from(*b)).sum();
        let after: u64 = self.block[156..].iter().map(|b| u64::from(*b)).sum();
        if stored != before + after + 8 * u64::from(b' ') {
            return Err(self.bad("a wrong checksum"));
        }
        Ok(())
    }

    fn kind_byte(&self) -> u8 {
        self.block[156]
    }

    fn size(&self) -> Result<u64, VerifyError> {
        self.number(124..136)
            .ok_or_else(|| self.bad("a malformed size"))
    }

    /// Octal text, or GNU's base 256 for numbers that need more digits.
    fn number(&self, range: std::ops::Range<usize>) -> Option<u64> {
        let field = &self.block[range];
        if let [0x80, digits @ ..] = field {
            let (high, low) = digits.split_at(digits.len().saturating_sub(8));
            let fits = high.iter().all(|b| *b == 0);
            return fits.then(|| low.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
        }
        let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        u64::from_str_radix(if text.is_empty() { "0" } else { text }, 8).ok()
    }

    fn text(&self, range: std::ops::Range<usize>) -> Result<String, VerifyError> {
        let field = &self.block[range];
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        let text = std::str::from_utf8(&field[..end]);
        text.map(str::to_owned)
            .map_err(|_| self.bad("a name that is not UTF-8"))
    }

    fn name(&self) -> Result<String, VerifyError> {
        let name = self.text(0..100)?;
        // Only POSIX headers have a prefix; GNU keeps times in these bytes.
        let prefix = match &self.block[257..263] == b"ustar\0" {
            true => self.text(345..500)?,
            false => String::new(),
        };
        Ok(if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        })
    }

    fn entry(&self, extension: Extension) -> Result<TarEntry, VerifyError> {
        let mut path = match extension.path {
            Some(path) => path,
            None => self.name()?,
        };
        let target = |given: Option<String>| given.map_or_else(|| self.text(157..257), Ok);
        let kind = match self.kind_byte() {
            b'0' | 0 => TarKind::File,
            b'5' => TarKind::Directory,
            b'2' => TarKind::Symlink {
                target: target(extension.target)?,
            },
            b'1' => TarKind::HardLink {
                target: target(extension.target)?,
            },
            b'3' | b'4' | b'6' => return Err(VerifyError::DeviceNode { path }),
            other => {
                return Err(VerifyError::UnsupportedKind {
                    path,
                    kind: char::from(other),
                });
            }
        };
        if matches!(kind, TarKind::Directory) && path.len() > 1 {
            path = path.strip_suffix('/').map(str::to_owned).unwrap_or(path);
        }
        let size = match extension.size {
            Some(size) => size,
            None => self.size()?,
        };
        let mode = self
            .number(100..108)
            .ok_or_else(|| self.bad("a malformed mode"))?;
        Ok(TarEntry {
            path,
            kind,
            mode: mode as u32 & 0o7777,
            size,
            attributes: TarAttributes {
                uid: extension.uid.unwrap_or_else(|| self.number(108..116)),
                gid: extension.gid.unwrap_or_else(|| self.number(116..124)),
                mtime: extension.mtime.unwrap_or_else(|| self.number(136..148)),
                xattrs: extension.xattrs,
            },
        })
    }
}
