//! The archive around firmware, a zip or a tgz, read as files with their content.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use evenkeel_model::{
    FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE, MAX_FIRMWARE_MANIFEST_BYTES, check_entry_path,
};

use crate::members::Inflated;
use crate::signature::{Signature, SignatureError};
use crate::tar::{TarEntry, TarKind, TarReader};
use crate::verify_error::VerifyError;
use crate::zip::{ZipEntry, ZipLimits, ZipReader};

use super::error::FirmwareError;

/// Files and folders together: images, and what vendors lay beside them.
const MAX_ENTRIES: usize = 1000;
/// Content in all, as much as a zip can hold.
pub(crate) const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// As for zips: firmware is often padded, but not by that much…
const MAX_RATIO: u64 = 500;
/// …and below this, a ratio says nothing.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// An archive whose structure has been proven. Folders count for nothing.
pub(crate) struct Container {
    kind: Kind,
    /// Every file but manifest and signature, in the archive's order.
    pub(crate) files: Vec<Listed>,
    /// What stands at the manifest's path.
    pub(crate) manifest: Option<Vec<u8>>,
    /// What stands at the signature's path.
    pub(crate) signature: Option<Vec<u8>>,
}

enum Kind {
    Zip(ZipReader<File>),
    /// Opened anew for each time that it is read.
    Tgz {
        path: PathBuf,
        limit: u64,
    },
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) size: u64,
}

/// What is told of a file, in this order.
pub(crate) enum Part<'a> {
    Begin,
    Data(&'a [u8]),
    End,
}

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum Halt<E> {
    /// The archive is to blame.
    Refused(FirmwareError),
    /// Whoever was told is.
    Told(E),
}

impl<E> From<FirmwareError> for Halt<E> {
    fn from(error: FirmwareError) -> Self {
        Self::Refused(error)
    }
}

impl Container {
    /// Proves an archive's structure, and reads its manifest and signature.
    pub(crate) fn open(path: &Path, max_unpacked_bytes: u64) -> Result<Self, FirmwareError> {
        let limit = max_unpacked_bytes.min(MAX_UNPACKED_BYTES);
        let mut start = [0; 2];
        let mut file = File::open(path).map_err(FirmwareError::Read)?;
        match file.read_exact(&mut start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(FirmwareError::NotAnArchive);
            }
            Err(error) => return Err(FirmwareError::Read(error)),
        }
        match start {
            [b'P', b'K'] => Self::open_zip(file, limit),
            [0x1f, 0x8b] => Self::open_tgz(path, limit),
            _ => Err(FirmwareError::NotAnArchive),
        }
    }

    fn open_zip(file: File, limit: u64) -> Result<Self, FirmwareError> {
        let limits = ZipLimits {
            max_entries: MAX_ENTRIES,
            max_unpacked_bytes: limit,
        };
        let mut zip = ZipReader::open(file, limits)?;
        let entries: Vec<ZipEntry> = zip.entries().to_vec();
        let mut head = Head::default();
        let mut files = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            match head.place(&entry.path, entry.size)? {
                None => files.push(Listed {
                    path: entry.path.clone(),
                    size: entry.size,
                }),
                Some(place) => {
                    let mut content = Vec::new();
                    zip.read(entry, |piece| {
                        content.extend_from_slice(piece);
                        Ok(())
                    })?;
                    *place = Some(content);
                }
            }
        }
        Ok(head.with(Kind::Zip(zip), files))
    }

    fn open_tgz(path: &Path, limit: u64) -> Result<Self, FirmwareError> {
        let mut head = Head::default();
        let (mut files, mut seen) = (Vec::new(), HashSet::new());
        let mut tar = BoundedTar::open(path, limit)?;
        while let Some(entry) = tar.next()? {
            if !seen.insert(entry.path.clone()) {
                return Err(FirmwareError::Duplicate { path: entry.path });
            }
            if entry.kind == TarKind::Directory {
                continue;
            }
            match head.place(&entry.path, entry.size)? {
                Some(place) => {
                    let mut content = Vec::new();
                    tar.content(|piece| {
                        content.extend_from_slice(piece);
                        Ok::<_, FirmwareError>(())
                    })?;
                    *place = Some(content);
                }
                None => {
                    tar.content(|_| Ok::<_, FirmwareError>(()))?;
                    files.push(Listed {
                        path: entry.path,
                        size: entry.size,
                    });
                }
            }
        }
        let path = path.to_owned();
        Ok(head.with(Kind::Tgz { path, limit }, files))
    }

    /// Tells `each` of every file but manifest and signature, with its content, in the order of
    /// [`files`](Self::files). A file's content is proven when its end is told.
    pub(crate) fn read<E>(
        &mut self,
        mut each: impl FnMut(&str, Part<'_>) -> Result<(), E>,
    ) -> Result<(), Halt<E>> {
        match &mut self.kind {
            Kind::Zip(zip) => {
                let entries = zip.entries().to_vec();
                let files = entries.iter().filter(|it| !it.is_dir && !is_head(&it.path));
                files
                    .into_iter()
                    .try_for_each(|entry| read_zipped(zip, entry, &mut each))
            }
            Kind::Tgz { path, limit } => {
                let mut tar = BoundedTar::open(path, *limit)?;
                while let Some(entry) = tar.next()? {
                    let told = entry.kind != TarKind::Directory && !is_head(&entry.path);
                    if !told {
                        tar.content(|_| Ok::<_, FirmwareError>(()))?;
                        continue;
                    }
                    let path = entry.path.as_str();
                    each(path, Part::Begin).map_err(Halt::Told)?;
                    tar.content(|piece| each(path, Part::Data(piece)).map_err(Halt::Told))?;
                    each(path, Part::End).map_err(Halt::Told)?;
                }
                Ok(())
            }
        }
    }
}

fn read_zipped<E>(
    zip: &mut ZipReader<File>,
    entry: &ZipEntry,
    each: &mut impl FnMut(&str, Part<'_>) -> Result<(), E>,
) -> Result<(), Halt<E>> {
    let path = entry.path.as_str();
    each(path, Part::Begin).map_err(Halt::Told)?;
    let mut failure = None;
    let read = zip.read(entry, |piece| match each(path, Part::Data(piece)) {
        Ok(()) => Ok(()),
        Err(error) => {
            failure = Some(error);
            Err(io::Error::other("stopped"))
        }
    });
    match (failure, read) {
        (Some(error), _) => Err(Halt::Told(error)),
        (None, Err(error)) => Err(Halt::Refused(error.into())),
        (None, Ok(())) => each(path, Part::End).map_err(Halt::Told),
    }
}

fn is_head(path: &str) -> bool {
    [FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE].contains(&path)
}

/// Manifest and signature, as they come by.
#[derive(Default)]
struct Head {
    manifest: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
}

impl Head {
    /// Where a file's content goes, if it is one of the two.
    fn place(
        &mut self,
        path: &str,
        size: u64,
    ) -> Result<Option<&mut Option<Vec<u8>>>, FirmwareError> {
        match path {
            FIRMWARE_MANIFEST if size > MAX_FIRMWARE_MANIFEST_BYTES => {
                Err(FirmwareError::ManifestTooLarge { size })
            }
            FIRMWARE_MANIFEST => Ok(Some(&mut self.manifest)),
            FIRMWARE_SIGNATURE if size > Signature::MAX_BYTES => {
                Err(SignatureError::Malformed.into())
            }
            FIRMWARE_SIGNATURE => Ok(Some(&mut self.signature)),
            _ => Ok(None),
        }
    }

    fn with(self, kind: Kind, files: Vec<Listed>) -> Container {
        Container {
            kind,
            files,
            manifest: self.manifest,
            signature: self.signature,
        }
    }
}

/// A tar that is held to the rules that a zip is held to.
struct BoundedTar {
    tar: TarReader<Inflated>,
    file_bytes: u64,
    limit: u64,
    unpacked: u64,
    entries: usize,
}

impl BoundedTar {
    fn open(path: &Path, limit: u64) -> Result<Self, FirmwareError> {
        let file = File::open(path).map_err(FirmwareError::Read)?;
        let file_bytes = file.metadata().map_err(FirmwareError::Read)?.len();
        let inflated = Inflated::new(file).map_err(FirmwareError::Read)?;
        Ok(Self {
            tar: TarReader::new(inflated),
            file_bytes,
            limit,
            unpacked: 0,
            entries: 0,
        })
    }

    fn next(&mut self) -> Result<Option<TarEntry>, FirmwareError> {
        let Some(entry) = self.tar.next()? else {
            return Ok(None);
        };
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let limit = MAX_ENTRIES;
            return Err(FirmwareError::TooManyEntries { limit });
        }
        let path = entry.path.clone();
        if let Err(problem) = check_entry_path(&path) {
            return Err(FirmwareError::Path { path, problem });
        }
        match &entry.kind {
            TarKind::Directory if entry.size != 0 => {
                Err(VerifyError::UnsupportedKind { path, kind: '5' }.into())
            }
            TarKind::File | TarKind::Directory => Ok(Some(entry)),
            TarKind::Symlink { target } | TarKind::HardLink { target } => {
                let target = target.clone();
                Err(FirmwareError::Link { path, target })
            }
        }
    }

    /// The content of the entry that was read last.
    fn content<E: From<FirmwareError>>(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let piece = self.tar.piece().map_err(FirmwareError::from)?;
            let n = piece.len();
            if n == 0 {
                return Ok(());
            }
            each(piece)?;
            self.tar.consume(n);
            self.unpacked += n as u64;
            self.bound()?;
        }
    }

    fn bound(&self) -> Result<(), FirmwareError> {
        let (unpacked, limit, file_bytes) = (self.unpacked, self.limit, self.file_bytes);
        if unpacked > limit {
            return Err(FirmwareError::TooLarge { limit });
        }
        if unpacked.saturating_sub(RATIO_FREE_BYTES) / MAX_RATIO > file_bytes {
            return Err(FirmwareError::Bomb {
                unpacked,
                file_bytes,
            });
        }
        Ok(())
    }
}
