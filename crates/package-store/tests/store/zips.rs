//! Every hostile or damaged zip file gets its own error.

use std::io::{Cursor, Write};
use std::process::Command;

use evenkeel_model::PathProblem;
use evenkeel_package_store::{ZipEntry, ZipError, ZipKindProblem, ZipLimits, ZipReader};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::common::noise;

/// One entry, each field free to lie. What is `None` in the header in front is as in the directory.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc: u32,
    pub(crate) size: u32,
    pub(crate) attributes: u32,
    /// Where the directory says it begins.
    pub(crate) at: Option<u32>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) local_size: Option<u32>,
    pub(crate) local_method: Option<u16>,
    pub(crate) local_flags: Option<u16>,
    pub(crate) descriptor: Vec<u8>,
    /// Bytes between it and the next.
    pub(crate) gap: Vec<u8>,
}

impl Part {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        Self {
            name: name.into(),
            content: content.to_vec(),
            packed: encoder.finish().unwrap(),
            method: 8,
            flags: 0,
            crc: crc.sum(),
            size: content.len() as u32,
            attributes: 0,
            at: None,
            local_name: None,
            local_size: None,
            local_method: None,
            local_flags: None,
            descriptor: vec![],
            gap: vec![],
        }
    }

    pub(crate) fn stored(mut self) -> Self {
        self.packed = self.content.clone();
        self.method = 0;
        self
    }
}

/// Checksum, size and name's length as both kinds of header have them.
fn common(flags: u16, method: u16, crc: u32, packed: u32, size: u32, name: usize) -> Vec<u8> {
    let mut bytes = vec![20, 0];
    bytes.extend(flags.to_le_bytes());
    bytes.extend(method.to_le_bytes());
    bytes.extend([0; 4]);
    for number in [crc, packed, size] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend((name as u16).to_le_bytes());
    bytes
}

pub(crate) fn pack(parts: &[Part]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for part in parts {
        let at = part.at.unwrap_or(file.len() as u32);
        let packed = part.packed.len() as u32;
        let local = part.local_name.as_ref().unwrap_or(&part.name);
        let deferred = part.flags & 8 != 0 && !part.descriptor.is_empty();
        let size = part.local_size.unwrap_or(part.size);
        let numbers = if deferred {
            [0; 3]
        } else {
            [part.crc, packed, size]
        };
        file.extend(b"PK\x03\x04");
        file.extend(common(
            part.local_flags.unwrap_or(part.flags),
            part.local_method.unwrap_or(part.method),
            numbers[0],
            numbers[1],
            numbers[2],
            local.len(),
        ));
        file.extend([0; 2]);
        file.extend(local);
        file.extend(&part.packed);
        file.extend(&part.descriptor);
        file.extend(&part.gap);
        directory.extend(b"PK\x01\x02\x14\x03");
        let name = part.name.len();
        directory.extend(common(
            part.flags,
            part.method,
            part.crc,
            packed,
            part.size,
            name,
        ));
        directory.extend([0; 8]);
        directory.extend(part.attributes.to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(&part.name);
    }
    let (at, bytes) = (file.len() as u32, directory.len() as u32);
    file.extend(directory);
    end(&mut file, parts.len() as u16, bytes, at);
    file
}

fn end(file: &mut Vec<u8>, count: u16, bytes: u32, at: u32) {
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(bytes.to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0; 2]);
}

pub(crate) fn good() -> Vec<Part> {
    vec![
        Part::new("SHELF/", b"").stored(),
        Part::new("SHELF/IOM12.0300.SFW", &noise(5000, 3)),
        Part::new("readme.txt", b"text").stored(),
    ]
}

/// Sizes of one entry stand after its content, behind `mark`.
pub(crate) fn with_descriptors(mark: &[u8]) -> Vec<Part> {
    let mut parts = good();
    let part = &mut parts[1];
    part.flags = 8;
    part.descriptor = mark.to_vec();
    for number in [part.crc, part.packed.len() as u32, part.size] {
        part.descriptor.extend(number.to_le_bytes());
    }
    parts
}

fn read(bytes: &[u8]) -> Result<Vec<ZipEntry>, ZipError> {
    read_with(bytes, ZipLimits::default())
}

fn read_with(bytes: &[u8], limits: ZipLimits) -> Result<Vec<ZipEntry>, ZipError> {
    let mut zip = ZipReader::open(Cursor::new(bytes), limits)?;
    zip.prove()?;
    Ok(zip.entries().to_vec())
}

fn refuse(bytes: &[u8]) -> ZipError {
    read(bytes).unwrap_err()
}

fn crafted(change: impl FnOnce(&mut Vec<Part>)) -> ZipError {
    let mut parts = good();
    change(&mut parts);
    refuse(&pack(&parts))
}

macro_rules! assert_is {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
    }};
}

#[test]
fn what_is_good_is_read() {
    let bytes = pack(&good());
    let mut zip = ZipReader::open(Cursor::new(&bytes), ZipLimits::default()).unwrap();
    let entries = zip.entries().to_vec();
    let facts: Vec<_> = entries
        .iter()
        .map(|e| (e.path.as_str(), e.is_dir, e.size))
        .collect();
    assert_eq!(
        facts,
        [
            ("SHELF", true, 0),
            ("SHELF/IOM12.0300.SFW", false, 5000),
            ("readme.txt", false, 4)
        ]
    );
    let mut content = Vec::new();
    zip.read(&entries[1], |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })
    .unwrap();
    assert!(content == noise(5000, 3));
    assert!(read(&pack(&[])).unwrap().is_empty());
    // Sizes after the content, with and without a mark, as streaming packers write them.
    for mark in [&b""[..], b"PK\x07\x08"] {
        let mut parts = with_descriptors(mark);
        read(&pack(&parts)).unwrap();
        parts[1].descriptor[mark.len()] ^= 1;
        let error = refuse(&pack(&parts));
        assert_is!(
            error,
            ZipError::Mismatch {
                what: "descriptor",
                ..
            }
        );
    }
}

#[test]
fn what_other_programs_make_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/X423.NA02.LOD"), noise(70_000, 9)).unwrap();
    std::fs::write(dir.path().join("d/text"), "text ".repeat(5000)).unwrap();
    let programs: [&[&str]; 2] = [
        &["zip", "-q", "-r", "out.zip", "d"],
        &["python3", "-m", "zipfile", "-c", "out.zip", "d"],
    ];
    let mut ran = 0;
    for program in programs {
        let _ = std::fs::remove_file(dir.path().join("out.zip"));
        let made = Command::new(program[0])
            .args(&program[1..])
            .current_dir(dir.path())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("NOT RUN: {} is not here", program[0]);
            continue;
        }
        ran += 1;
        let entries = read(&std::fs::read(dir.path().join("out.zip")).unwrap()).unwrap();
        assert_eq!(entries.len(), 3, "{program:?}");
    }
    assert!(
        ran > 0,
        "neither zip nor python3 is here to make a zip file"
    );
}

#[test]
fn where_it_ends_and_what_surrounds_it() {
    let bytes = pack(&good());
    assert_is!(refuse(b""), ZipError::NoEnd);
    assert_is!(refuse(b"PK\x03\x04 that is no zip"), ZipError::NoEnd);
    assert_is!(refuse(&[&bytes[..], b"x"].concat()), ZipError::NoEnd);
    for cut in 0..bytes.len() {
        refuse(&bytes[..cut]);
    }
    // A program to be run before the zip: its own numbers, or corrected ones.
    assert_is!(
        refuse(&[b"#!/bin/sh\n", &bytes[..]].concat()),
        ZipError::HiddenData { .. }
    );
    assert_is!(
        crafted(|parts| parts[2].gap = b"hidden".to_vec()),
        ZipError::HiddenData { .. }
    );
    assert_is!(
        crafted(|parts| parts[0].gap = b"hidden".to_vec()),
        ZipError::HiddenData { .. }
    );
    let mut commented = bytes.clone();
    let length = commented.len();
    commented[length - 2] = 22;
    let mut two = commented.clone();
    commented.extend([b'c'; 22]);
    read(&commented).unwrap();
    end(&mut two, 0, 0, length as u32);
    assert_is!(refuse(&two), ZipError::TwoEnds);
    let mut volumes = bytes.clone();
    volumes[length - 18] = 1;
    assert_is!(refuse(&volumes), ZipError::Volumes);
    let mut big = bytes.clone();
    big[length - 6..length - 2].fill(0xff);
    assert_is!(refuse(&big), ZipError::Zip64);
    assert_is!(crafted(|parts| parts[1].size = u32::MAX), ZipError::Zip64);
    let mut fewer = bytes.clone();
    for at in [length - 14, length - 12] {
        fewer[at] = 2;
    }
    assert_is!(refuse(&fewer), ZipError::BadDirectory { .. });
    for at in [length - 14, length - 12] {
        fewer[at] = 4;
    }
    assert_is!(refuse(&fewer), ZipError::BadDirectory { .. });
}

#[test]
fn names_and_kinds() {
    let named = |name: &[u8]| crafted(|parts| parts[2].name = name.to_vec());
    for (name, problem) in [
        (&b"/etc/passwd"[..], PathProblem::Absolute),
        (b"../up", PathProblem::Parent),
        (b"a/../../up", PathProblem::Parent),
        (b"a//b", PathProblem::Empty),
        (b"", PathProblem::Empty),
        (b"a\0b", PathProblem::Control),
        (&[b'x'; 300], PathProblem::TooLong),
    ] {
        assert_is!(named(name), ZipError::Path { problem: p, .. } if *p == problem);
    }
    assert_is!(named(b"\xff"), ZipError::NotUtf8 { .. });
    assert_is!(named(b"..\\up"), ZipError::Backslash { .. });
    assert_is!(named(b"SHELF/IOM12.0300.SFW"), ZipError::Duplicate { .. });
    assert_is!(named(b"SHELF"), ZipError::Duplicate { .. });
    assert_is!(named(b"SHELF/IOM12.0300.SFW/x"), ZipError::Duplicate { .. });
    for (mode, problem) in [
        (0o120_777, ZipKindProblem::Symlink),
        (0o020_644, ZipKindProblem::Special),
        (0o010_644, ZipKindProblem::Special),
        (0o140_644, ZipKindProblem::Special),
        (0o040_755, ZipKindProblem::Contradiction),
    ] {
        let error = crafted(|parts| parts[2].attributes = mode << 16);
        assert_is!(error, ZipError::Kind { kind, .. } if *kind == problem);
    }
    assert_is!(
        crafted(|parts| parts[2].name = b"dir/".to_vec()),
        ZipError::Kind {
            kind: ZipKindProblem::Contradiction,
            ..
        }
    );
    for flag in [1, 1 << 6, 1 << 13] {
        let error = crafted(|parts| parts[1].flags = flag);
        assert_is!(error, ZipError::Encrypted { .. });
    }
    for method in [1, 9, 12, 14, 93, 99] {
        let error = crafted(|parts| parts[1].method = method);
        assert_is!(error, ZipError::Method { method: m, .. } if *m == method);
    }
}

#[test]
fn what_is_said_twice_must_be_the_same() {
    let differs = |change: fn(&mut Part)| match crafted(|parts| change(&mut parts[1])) {
        ZipError::Mismatch { what, .. } => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        differs(|part| part.local_name = Some(b"other".to_vec())),
        "name"
    );
    assert_eq!(
        differs(|part| part.local_size = Some(1)),
        "checksum or size"
    );
    assert_eq!(differs(|part| part.local_method = Some(0)), "method");
    assert_eq!(differs(|part| part.local_flags = Some(1)), "flags");
    assert_eq!(differs(|part| part.local_flags = Some(8)), "flags");
    assert_eq!(differs(|part| part.at = Some(3)), "header");
}

#[test]
fn entries_that_overlap_or_lie_outside() {
    // Many entries of one content: the bomb of David Fifield without its inner headers.
    let shared = crafted(|parts| {
        parts[1].name = b"again".to_vec();
        parts[1].at = Some(0);
    });
    assert_is!(shared, ZipError::Mismatch { .. });
    // An entry whose content holds the next entry whole.
    let inner = Part::new("inner", b"content").stored();
    let mut outer = Part::new("outer", b"").stored();
    let alone = pack(std::slice::from_ref(&inner));
    let body = alone.len() - 22 - 46 - 5;
    outer.content = alone[..body].to_vec();
    outer = Part::new("outer", &outer.content).stored();
    let mut hidden = inner.clone();
    hidden.at = Some(30 + 5);
    let mut bytes = pack(&[outer, hidden]);
    // Take away the second copy, so that only the directory knows two.
    let second = 30 + 5 + body;
    bytes.drain(second..second + body);
    let length = bytes.len();
    let at = u32::from_le_bytes(bytes[length - 6..length - 2].try_into().unwrap());
    bytes[length - 6..length - 2].copy_from_slice(&(at - body as u32).to_le_bytes());
    assert_is!(refuse(&bytes), ZipError::Overlap { first, second } if first == "outer" && second == "inner");
    assert_is!(
        crafted(|parts| parts[2].at = Some(1 << 30)),
        ZipError::Outside { .. }
    );
    let error = crafted(|parts| {
        parts[2].packed = vec![0; 4];
        parts[2].at = Some(5100);
    });
    assert_is!(error, ZipError::Outside { .. } | ZipError::Mismatch { .. });
}

#[test]
fn sizes_bombs_and_damage() {
    let limits = ZipLimits {
        max_entries: 2,
        max_unpacked_bytes: 5003,
    };
    let bytes = pack(&good());
    assert_is!(
        read_with(&bytes, limits).unwrap_err(),
        ZipError::TooManyEntries { count: 3, limit: 2 }
    );
    let limits = ZipLimits {
        max_entries: 3,
        ..limits
    };
    assert_is!(
        read_with(&bytes, limits).unwrap_err(),
        ZipError::TooLarge {
            unpacked: 5004,
            limit: 5003
        }
    );
    assert_is!(
        crafted(|parts| parts[1].size = 5001),
        ZipError::SizeLie { .. }
    );
    assert_is!(
        crafted(|parts| parts[1].size = 4999),
        ZipError::SizeLie { .. }
    );
    assert_is!(crafted(|parts| parts[2].size = 5), ZipError::SizeLie { .. });
    assert_is!(crafted(|parts| parts[1].crc ^= 1), ZipError::Damaged { .. });
    assert_is!(
        crafted(|parts| parts[1].packed[0] = 0xff),
        ZipError::Damaged { .. }
    );
    let error = crafted(|parts| parts[1].packed.extend(b"hidden"));
    assert_is!(error, ZipError::HiddenData { .. });
    let bomb = pack(&[Part::new("zeros", &vec![0; 20 << 20])]);
    assert_is!(refuse(&bomb), ZipError::Bomb { .. });
    // It lies about being one.
    let error = crafted(|parts| {
        parts[1] = Part::new("zeros", &vec![0; 20 << 20]);
        parts[1].size = 1000;
    });
    assert_is!(error, ZipError::SizeLie { .. });
}

#[test]
fn any_changed_byte_is_refused_or_changes_nothing() {
    let bytes = pack(&good());
    let expected: Vec<_> = read(&bytes).unwrap();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            if let Ok(entries) = read(&changed) {
                // Times, versions, attributes without a kind.
                let same = |a: &ZipEntry, b: &ZipEntry| (&a.path, a.size) == (&b.path, b.size);
                let alike = entries.iter().zip(&expected).all(|(a, b)| same(a, b));
                assert!(alike && entries.len() == expected.len(), "byte {at}");
            }
        }
    }
}
