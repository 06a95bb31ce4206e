//! Writes a package's archive: manifest, signature, then the entries as the manifest lists them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use evenkeel_model::{Entry, EntryKind, MANIFEST_PATH, Manifest, SIGNATURE_PATH};

use crate::build::read_whole;
use crate::build_error::BuildError;
use crate::gzip_write::{Compression, MemberWriter};
use crate::keys::SecretKey;
use crate::tar_write::TarHeader;

/// tar ends with two zero blocks.
const END_BYTES: usize = 1024;

/// A file that counts what goes into it.
struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

pub(crate) fn write_archive(
    root: &Path,
    key: &SecretKey,
    manifest: &Manifest,
    manifest_bytes: &[u8],
    output: &Path,
    threads: usize,
    compression: Compression,
) -> Result<u64, BuildError> {
    let failed = || BuildError::io("write", output);
    let file = File::create(output).map_err(BuildError::io("create", output))?;
    let counted = Counted { file, bytes: 0 };
    let mut tar = MemberWriter::start(threads, compression, counted).map_err(failed())?;
    let content = write_content(root, key, manifest, manifest_bytes, &mut tar, output);
    let counted = match (content, tar.finish()) {
        (Ok(()), finished) => finished.map_err(failed())?,
        // The queue broke because writing failed: the writer says why.
        (Err(BuildError::Io { source, .. }), Err(cause))
            if source.kind() == io::ErrorKind::BrokenPipe =>
        {
            return Err(failed()(cause));
        }
        (Err(error), Ok(_) | Err(_)) => return Err(error),
    };
    counted
        .file
        .sync_all()
        .map_err(BuildError::io("sync", output))?;
    Ok(counted.bytes)
}

fn write_content(
    root: &Path,
    key: &SecretKey,
    manifest: &Manifest,
    manifest_bytes: &[u8],
    tar: &mut impl Write,
    output: &Path,
) -> Result<(), BuildError> {
    let failed = || BuildError::io("write", output);
    let mtime = u64::try_from(manifest.build_time.unix_seconds()).unwrap_or(0);
    let signature = key.sign(manifest_bytes).to_string();
    let head = [
        (MANIFEST_PATH, manifest_bytes),
        (SIGNATURE_PATH, signature.as_bytes()),
    ];
    for (path, bytes) in head {
        let size = bytes.len() as u64;
        let header = TarHeader {
            path,
            kind: b'0',
            mode: 0o644,
            size,
            target: "",
            mtime,
            owner: None,
            xattrs: &BTreeMap::new(),
        };
        tar.write_all(&header.to_bytes())
            .and_then(|()| tar.write_all(bytes))
            .and_then(|()| pad(tar, size))
            .map_err(failed())?;
    }
    for entry in &manifest.entries {
        write_entry(root, entry, mtime, tar, output)?;
    }
    tar.write_all(&[0; END_BYTES]).map_err(failed())
}

fn write_entry(
    root: &Path,
    entry: &Entry,
    build_time: u64,
    tar: &mut impl Write,
    output: &Path,
) -> Result<(), BuildError> {
    let failed = || BuildError::io("write", output);
    let slashed = format!("{}/", entry.path);
    let (kind, path, target) = match &entry.kind {
        EntryKind::File { .. } => (b'0', &entry.path, ""),
        EntryKind::Directory => (b'5', &slashed, ""),
        EntryKind::Symlink { target } => (b'2', &entry.path, target.as_str()),
        EntryKind::HardLink { target } => (b'1', &entry.path, target.as_str()),
    };
    let header = TarHeader {
        path,
        kind,
        mode: entry.mode,
        size: entry.size(),
        target,
        mtime: entry.attributes.mtime.unwrap_or(build_time),
        owner: entry.attributes.owner,
        xattrs: &entry.attributes.xattrs,
    };
    tar.write_all(&header.to_bytes()).map_err(failed())?;
    if let EntryKind::File { size, sha256 } = entry.kind {
        let path = root.join(&entry.path);
        let digest = read_whole(&path, size, |piece| tar.write_all(piece).map_err(failed()))?;
        if digest != sha256 {
            return Err(BuildError::Changed { path });
        }
        pad(tar, size).map_err(failed())?;
    }
    Ok(())
}

fn pad(tar: &mut impl Write, size: u64) -> io::Result<()> {
    let padding = [0; 512];
    tar.write_all(&padding[..(size.wrapping_neg() % 512) as usize])
}
