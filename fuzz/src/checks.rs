//! What must hold for any bytes whatsoever. The fuzz targets feed these, and so do the package store's tests,
//! with everything that fuzzing has kept (`fuzz/seeds`, `fuzz/regressions`).

use std::io::{Cursor, Read};

use evenkeel_model::{EntryKind, FirmwareManifest, Manifest, Qualification};
use evenkeel_package_store::{
    Policy, TrustedKeys, VerifyError, ZipError, ZipLimits, ZipReader, verify_stream,
};

const BLOCK: usize = 512;
/// Enough for any path through the code, little enough for thousands of runs in a second.
const MAX_UNPACKED_BYTES: u64 = 4 << 20;

/// A manifest that is believed is safe to unpack, and is the same when written and read again.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else {
        return;
    };
    for entry in &manifest.entries {
        let path = entry.path.as_str();
        assert!(!path.starts_with('/') && !path.split('/').any(|c| c == ".." || c.is_empty()));
        if let EntryKind::HardLink { target } = &entry.kind {
            let mut entries = manifest.entries.iter();
            let file = entries.find(|e| e.path == *target).map(|e| &e.kind);
            assert!(matches!(file, Some(EntryKind::File { .. })));
        }
    }
    let written = serde_json::to_vec(&manifest).expect("a manifest is plain JSON");
    assert_eq!(
        Manifest::parse(&written).expect("what is written is read"),
        manifest
    );
}

/// An archive of any tar bytes is refused with an error, or its content is what its manifest lists. The
/// first byte says whether headers get right checksums, without which little more than that would be tried.
pub(crate) fn tar(bytes: &[u8]) {
    let Some((mode, tar)) = bytes.split_first() else {
        return;
    };
    let mut tar = tar.to_vec();
    if mode & 1 == 0 {
        repair_checksums(&mut tar);
    }
    let policy = Policy {
        allow_unsigned: true,
        max_unpacked_bytes: MAX_UNPACKED_BYTES,
        ..Policy::trusting(TrustedKeys::none())
    };
    if let Ok(signed) = verify_stream(Cursor::new(stored_gzip(&tar)), &policy) {
        signed.manifest.validate().expect("what passes is valid");
        let listed: u64 = signed
            .manifest
            .entries
            .iter()
            .map(|entry| entry.size())
            .sum();
        assert!(listed <= tar.len() as u64, "content from nowhere");
    }
}

/// Goes from header to header as their sizes say.
fn repair_checksums(tar: &mut [u8]) {
    let mut at = 0;
    while at + BLOCK <= tar.len() {
        let block = &mut tar[at..at + BLOCK];
        if block.iter().all(|byte| *byte == 0) {
            return;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let digits = std::str::from_utf8(&block[124..135]).unwrap_or("");
        let size = usize::from_str_radix(digits.trim_matches([' ', '\0']), 8).unwrap_or(0);
        at = at
            .saturating_add(BLOCK)
            .saturating_add(size.next_multiple_of(BLOCK));
    }
}

/// A gzip member of stored blocks: what is in it is what is tried, not the packing.
pub(crate) fn stored_gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::read::GzEncoder::new(content, flate2::Compression::none());
    let mut packed = Vec::new();
    encoder
        .read_to_end(&mut packed)
        .expect("memory does not fail");
    packed
}

/// Any gzip bytes inflate here to what they inflate to elsewhere, or to an error on both sides.
pub(crate) fn gzip(bytes: &[u8]) {
    let ours = evenkeel_package_store::inflate_all(Cursor::new(bytes.to_vec()), MAX_UNPACKED_BYTES);
    let limit = MAX_UNPACKED_BYTES as usize;
    let mut theirs = Vec::new();
    let decoder = flate2::bufread::MultiGzDecoder::new(bytes);
    let read = decoder.take(MAX_UNPACKED_BYTES).read_to_end(&mut theirs);
    match (ours, read) {
        (Ok(ours), Ok(_)) if ours.len() < limit => assert!(ours == theirs, "other content"),
        // The other reader lets what follows the last member pass.
        (Ok(_), Ok(_)) | (Err(VerifyError::TrailingData { .. }), Ok(_)) => {}
        (Ok(ours), Err(_)) if ours.len() < limit => panic!("taken here, refused there"),
        (Err(error), Ok(_)) if theirs.len() < limit && !trailing(bytes) => {
            panic!("refused here, taken there: {error:?}")
        }
        (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => {}
    }
}

/// Whether something stands behind the last member, or nothing is there at all: that is where we are stricter.
fn trailing(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        let mut decoder = flate2::bufread::GzDecoder::new(rest);
        if std::io::copy(&mut decoder, &mut std::io::sink()).is_err() {
            return true;
        }
        rest = decoder.into_inner();
        match rest {
            [] => return bytes.is_empty(),
            [0x1f, 0x8b, ..] => {}
            _ => return true,
        }
    }
}

/// A zip that is taken has paths that stay inside, and as much content as it lists.
pub(crate) fn zip(bytes: &[u8]) {
    let limits = ZipLimits {
        max_entries: 100,
        max_unpacked_bytes: MAX_UNPACKED_BYTES,
    };
    let Ok(mut zip) = ZipReader::open(Cursor::new(bytes), limits) else {
        return;
    };
    let entries = zip.entries().to_vec();
    let packed: u64 = entries.iter().map(|entry| entry.packed_bytes).sum();
    assert!(packed <= bytes.len() as u64, "entries overlap");
    for entry in entries {
        assert!(!entry.path.starts_with('/') && entry.path.split('/').all(|c| c != ".."));
        let mut read = 0;
        let outcome = zip.read(&entry, |piece| {
            read += piece.len() as u64;
            Ok(())
        });
        match outcome {
            Ok(()) => assert_eq!(read, entry.size),
            Err(ZipError::Read(error)) => panic!("memory does not fail: {error}"),
            Err(_) => assert!(read <= entry.size),
        }
    }
}

/// A disk qualification package that is taken is the same when written and read again, and no byte of it can be
/// left out. A manifest of firmware that is taken lists bare names only.
pub(crate) fn firmware(bytes: &[u8]) {
    if let Ok(read) = Qualification::parse(bytes) {
        let written = read.to_string();
        let again = Qualification::parse(written.as_bytes()).expect("what is written is read");
        assert_eq!(again, read);
        assert!(Qualification::parse(&bytes[..bytes.len() - 1]).is_err());
    }
    if let Ok(manifest) = FirmwareManifest::parse(bytes) {
        assert!(
            manifest
                .images
                .iter()
                .all(|image| !image.file.contains('/'))
        );
        let again = FirmwareManifest::parse(&manifest.to_bytes()).expect("what is written is read");
        assert_eq!(again, manifest);
    }
    // What has been said stays so when more comes.
    let half = evenkeel_package_store::recognise(&bytes[..bytes.len() / 2], false);
    let whole = evenkeel_package_store::recognise(bytes, true);
    assert!(whole.is_some() && (half.is_none() || half == whole));
}
