//! The end of a zip file, and its central directory.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use evenkeel_model::check_entry_path;

use super::error::{ZipError, ZipKindProblem};
use super::{Method, ZipLimits};

const END_MARK: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const MAX_COMMENT_BYTES: usize = 0xffff;
const ENTRY_MARK: [u8; 4] = *b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
/// Names and extra fields beside them: what the directory of [`ZipLimits::max_entries`] may take per entry.
const MAX_ENTRY_BYTES: u64 = 4096;

/// Encrypted, strongly encrypted, or with a hidden directory.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Patch data instead of content.
const FLAG_PATCH: u16 = 1 << 5;

/// What the end of a zip file says.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) directory_at: u64,
    directory_bytes: u64,
    count: usize,
}

/// An entry as the directory has it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) path: String,
    /// As in the file.
    pub(super) raw_name: Vec<u8>,
    pub(super) is_dir: bool,
    pub(super) flags: u16,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) size: u64,
    pub(super) header_at: u64,
}

/// Little-endian numbers at fixed places of a record.
pub(super) struct Record<'a>(pub(super) &'a [u8]);

impl Record<'_> {
    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }
}

pub(super) fn read_at(
    input: &mut (impl Read + Seek),
    at: u64,
    bytes: usize,
) -> Result<Vec<u8>, ZipError> {
    input.seek(SeekFrom::Start(at))?;
    let mut buffer = vec![0; bytes];
    input.read_exact(&mut buffer)?;
    Ok(buffer)
}

/// Finds the end, which must be that of the file: only its own comment may follow it.
pub(super) fn find_end(input: &mut (impl Read + Seek), file_bytes: u64) -> Result<End, ZipError> {
    let tail_bytes = file_bytes.min((END_BYTES + MAX_COMMENT_BYTES) as u64);
    let tail_at = file_bytes - tail_bytes;
    let tail = read_at(input, tail_at, tail_bytes as usize)?;
    let fits = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(&END_MARK)
            && record.len() == END_BYTES + usize::from(Record(record).u16(20))
    };
    let mut found = (0..(tail.len() + 1).saturating_sub(END_BYTES)).filter(fits);
    let at = found.next().ok_or(ZipError::NoEnd)?;
    if found.next().is_some() {
        return Err(ZipError::TwoEnds);
    }
    let record = Record(&tail[at..]);
    if record.u16(4) != 0 || record.u16(6) != 0 || record.u16(8) != record.u16(10) {
        return Err(ZipError::Volumes);
    }
    let (count, bytes, offset) = (record.u16(10), record.u32(12), record.u32(16));
    if count == u16::MAX || bytes == u32::MAX || offset == u32::MAX {
        return Err(ZipError::Zip64);
    }
    let end = End {
        directory_at: offset.into(),
        directory_bytes: bytes.into(),
        count: count.into(),
    };
    // What lies between directory and end, or before a file that was prepended to, belongs to no one.
    match end.directory_at + end.directory_bytes {
        directory_end if directory_end == tail_at + at as u64 => Ok(end),
        directory_end => Err(ZipError::HiddenData { at: directory_end }),
    }
}

/// Reads the directory's entries, each acceptable by itself and no two in each other's way.
pub(super) fn read(
    input: &mut (impl Read + Seek),
    end: &End,
    limits: ZipLimits,
) -> Result<Vec<Listed>, ZipError> {
    let (count, limit) = (end.count, limits.max_entries);
    if count > limit {
        return Err(ZipError::TooManyEntries { count, limit });
    }
    let bad = |at: usize, why| ZipError::BadDirectory {
        at: end.directory_at + at as u64,
        why,
    };
    if end.directory_bytes > count as u64 * MAX_ENTRY_BYTES {
        return Err(bad(0, "more bytes than its entries can take"));
    }
    let bytes = read_at(input, end.directory_at, end.directory_bytes as usize)?;
    let (mut at, mut listed) = (0, Vec::with_capacity(count));
    for _ in 0..count {
        let record = &bytes[at..];
        if record.len() < ENTRY_BYTES || !record.starts_with(&ENTRY_MARK) {
            return Err(bad(at, "no entry where one is stated"));
        }
        let fixed = Record(record);
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(fixed.u16(at)));
        let next = ENTRY_BYTES + name + extra + comment;
        if record.len() < next {
            return Err(bad(at, "an entry that goes beyond it"));
        }
        let name = &record[ENTRY_BYTES..ENTRY_BYTES + name];
        listed.push(list(&fixed, name, end.directory_at + at as u64)?);
        at += next;
    }
    if at != bytes.len() {
        return Err(bad(at, "bytes after its last entry"));
    }
    check_tree(&listed)?;
    Ok(listed)
}

fn list(record: &Record<'_>, name: &[u8], at: u64) -> Result<Listed, ZipError> {
    let text = std::str::from_utf8(name).map_err(|_| ZipError::NotUtf8 { at })?;
    let (path, is_dir) = match text.strip_suffix('/') {
        Some(path) => (path.to_owned(), true),
        None => (text.to_owned(), false),
    };
    if path.contains('\\') {
        return Err(ZipError::Backslash { path });
    }
    if let Err(problem) = check_entry_path(&path) {
        return Err(ZipError::Path { path, problem });
    }
    let flags = record.u16(8);
    if flags & FLAGS_ENCRYPTED != 0 {
        return Err(ZipError::Encrypted { path });
    }
    let method = match record.u16(10) {
        0 => Method::Stored,
        8 if flags & FLAG_PATCH == 0 => Method::Deflated,
        method => return Err(ZipError::Method { path, method }),
    };
    let [packed, size, header_at] = [20, 24, 42].map(|at| record.u32(at));
    if [packed, size, header_at].contains(&u32::MAX) {
        return Err(ZipError::Zip64);
    }
    if record.u16(34) != 0 {
        return Err(ZipError::Volumes);
    }
    if let Some(kind) = kind_problem(record, is_dir, size) {
        return Err(ZipError::Kind { path, kind });
    }
    if method == Method::Stored && packed != size {
        let listed = size.into();
        return Err(ZipError::SizeLie { path, listed });
    }
    Ok(Listed {
        path,
        raw_name: name.to_vec(),
        is_dir,
        flags,
        method,
        crc: record.u32(16),
        packed_bytes: packed.into(),
        size: size.into(),
        header_at: header_at.into(),
    })
}

/// Systems of the Unix family keep the whole mode in the upper half of the attributes. It is looked at whatever
/// the system is said to be, since some programs do so.
fn kind_problem(record: &Record<'_>, is_dir: bool, size: u32) -> Option<ZipKindProblem> {
    const S_IFMT: u32 = 0o170_000;
    let by_mode = match (record.u32(38) >> 16) & S_IFMT {
        0 => None,
        0o040_000 => Some(true),
        0o100_000 => Some(false),
        0o120_000 => return Some(ZipKindProblem::Symlink),
        _ => return Some(ZipKindProblem::Special),
    };
    let contradicted = by_mode.is_some_and(|dir| dir != is_dir) || (is_dir && size != 0);
    contradicted.then_some(ZipKindProblem::Contradiction)
}

fn check_tree(listed: &[Listed]) -> Result<(), ZipError> {
    let duplicate = |path: &str| {
        Err(ZipError::Duplicate {
            path: path.to_owned(),
        })
    };
    let mut seen = HashMap::with_capacity(listed.len());
    for entry in listed {
        if seen.insert(entry.path.as_str(), entry.is_dir).is_some() {
            return duplicate(&entry.path);
        }
    }
    for entry in listed {
        let mut path = entry.path.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            if seen.get(parent) == Some(&false) {
                return duplicate(parent);
            }
            path = parent;
        }
    }
    Ok(())
}
