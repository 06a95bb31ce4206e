//! Proves that the entries fill the file up to the directory: each where the directory says, headed by what
//! the directory says, none in another and nothing between them.

use std::io::{Read, Seek};

use super::ZipEntry;
use super::directory::{Listed, Record, read_at};
use super::error::ZipError;

const HEADER_MARK: [u8; 4] = *b"PK\x03\x04";
const HEADER_BYTES: usize = 30;
const DESCRIPTOR_MARK: [u8; 4] = *b"PK\x07\x08";
/// Checksum and sizes follow the content instead of standing before it.
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// The length of names and comments depends on it.
const FLAG_UTF8: u16 = 1 << 11;

/// The part of the file that is for entries.
pub(super) struct Spans<'a, R> {
    input: &'a mut R,
    directory_at: u64,
}

impl<R: Read + Seek> Spans<'_, R> {
    pub(super) fn prove(
        input: &mut R,
        listed: Vec<Listed>,
        directory_at: u64,
    ) -> Result<Vec<ZipEntry>, ZipError> {
        let mut spans = Spans {
            input,
            directory_at,
        };
        let entries = listed
            .iter()
            .map(|entry| spans.locate(entry))
            .collect::<Result<Vec<_>, _>>()?;
        spans.check_neighbours(&listed, &entries)?;
        Ok(entries)
    }

    /// Reads the header in front of the content.
    fn locate(&mut self, listed: &Listed) -> Result<ZipEntry, ZipError> {
        let outside = || ZipError::Outside {
            path: listed.path.clone(),
        };
        if listed.header_at + HEADER_BYTES as u64 > self.directory_at {
            return Err(outside());
        }
        let header = read_at(self.input, listed.header_at, HEADER_BYTES)?;
        let fixed = Record(&header);
        check_header(&fixed, listed)?;
        let [name, extra] = [26, 28].map(|at| u64::from(fixed.u16(at)));
        let name_at = listed.header_at + HEADER_BYTES as u64;
        let content_at = name_at + name + extra;
        if content_at + listed.packed_bytes > self.directory_at {
            return Err(outside());
        }
        if read_at(self.input, name_at, name as usize)? != listed.raw_name {
            return Err(mismatch(listed, "name"));
        }
        Ok(ZipEntry {
            path: listed.path.clone(),
            is_dir: listed.is_dir,
            size: listed.size,
            packed_bytes: listed.packed_bytes,
            crc: listed.crc,
            method: listed.method,
            content_at,
        })
    }

    fn check_neighbours(
        &mut self,
        listed: &[Listed],
        entries: &[ZipEntry],
    ) -> Result<(), ZipError> {
        let mut order: Vec<(&Listed, &ZipEntry)> = listed.iter().zip(entries).collect();
        order.sort_by_key(|(listed, _)| listed.header_at);
        let first_at = order
            .first()
            .map_or(self.directory_at, |(l, _)| l.header_at);
        if first_at != 0 {
            return Err(ZipError::HiddenData { at: 0 });
        }
        for (at, (this, entry)) in order.iter().enumerate() {
            let content_end = entry.content_at + entry.packed_bytes;
            let next = order.get(at + 1).map(|(next, _)| *next);
            let next_at = next.map_or(self.directory_at, |next| next.header_at);
            if let Some(next) = next
                && next_at < content_end
            {
                let (first, second) = (this.path.clone(), next.path.clone());
                return Err(ZipError::Overlap { first, second });
            }
            self.check_after(this, content_end, next_at)?;
        }
        Ok(())
    }

    /// Between the content and what comes next there is nothing, or the descriptor that was announced.
    fn check_after(&mut self, listed: &Listed, at: u64, next_at: u64) -> Result<(), ZipError> {
        let announced = listed.flags & FLAG_DESCRIPTOR != 0;
        let values = match (announced, next_at - at) {
            (false, 0) => return Ok(()),
            (true, 12) => read_at(self.input, at, 12)?,
            (true, 16) => {
                let descriptor = read_at(self.input, at, 16)?;
                match descriptor.strip_prefix(&DESCRIPTOR_MARK) {
                    Some(values) => values.to_vec(),
                    None => return Err(ZipError::HiddenData { at }),
                }
            }
            (true, 0) => return Err(mismatch(listed, "descriptor")),
            (true | false, _) => return Err(ZipError::HiddenData { at }),
        };
        let values = Record(&values);
        let found = [0, 4, 8].map(|at| u64::from(values.u32(at)));
        if found != [u64::from(listed.crc), listed.packed_bytes, listed.size] {
            return Err(mismatch(listed, "descriptor"));
        }
        Ok(())
    }
}

fn mismatch(listed: &Listed, what: &'static str) -> ZipError {
    ZipError::Mismatch {
        path: listed.path.clone(),
        what,
    }
}

fn check_header(header: &Record<'_>, listed: &Listed) -> Result<(), ZipError> {
    if !header.0.starts_with(&HEADER_MARK) {
        return Err(mismatch(listed, "header"));
    }
    let flags = header.u16(6);
    // Hints about how hard the packer tried may differ; what changes the reading may not.
    let meaning = !(FLAG_UTF8 | 0b110);
    if flags & meaning != listed.flags & meaning {
        return Err(mismatch(listed, "flags"));
    }
    let method = match listed.method {
        super::Method::Stored => 0,
        super::Method::Deflated => 8,
    };
    if header.u16(8) != method {
        return Err(mismatch(listed, "method"));
    }
    let found = [14, 18, 22].map(|at| u64::from(header.u32(at)));
    let expected = [u64::from(listed.crc), listed.packed_bytes, listed.size];
    let deferred = listed.flags & FLAG_DESCRIPTOR != 0 && found == [0; 3];
    if found != expected && !deferred {
        return Err(mismatch(listed, "checksum or size"));
    }
    Ok(())
}
