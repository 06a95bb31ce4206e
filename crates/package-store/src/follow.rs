//! Reads archives for others: those that are here, and those that are still coming in.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_model::Digest;
use evenkeel_seam::watch;

use crate::store::{Store, StoreError};
use crate::underway::{Growth, Underway};

/// Bytes read at once.
const READ_BYTES: u64 = 256 << 10;

/// An archive being read, that may still grow. What was opened stays readable if the package is deleted.
#[derive(Debug)]
pub struct ArchiveReader {
    /// Size of the whole archive.
    pub total_bytes: u64,
    /// Digest of the archive's chunk list.
    pub archive_digest: Digest,
    file: Arc<File>,
    offset: u64,
    /// How far it is, if it was not whole when it was opened.
    growth: Option<watch::Receiver<Growth>>,
}

impl Store {
    /// Reads a package's archive from `offset` on: one that is here, or one that is still coming in, if its
    /// staging knows what comes ([`StageLimits::expected_archive`](crate::StageLimits)). With `archive` only
    /// that very archive will do.
    pub fn follow(
        &self,
        package: Digest,
        archive: Option<Digest>,
        offset: u64,
    ) -> Result<ArchiveReader, StoreError> {
        let fits = |found: Digest| archive.is_none_or(|wanted| wanted == found);
        // Stored, then growing, then stored again: it may have come to its end in between.
        let mut reader = self.read_stored(package, &fits)?;
        if reader.is_none() {
            reader = self.find_growing(package, &fits)?;
        }
        if reader.is_none() {
            reader = self.read_stored(package, &fits)?;
        }
        let reader = reader.ok_or_else(|| self.no_such(package, archive))?;
        if offset > reader.total_bytes {
            return Err(StoreError::OffsetBehindEnd {
                digest: package,
                offset,
                bytes: reader.total_bytes,
            });
        }
        Ok(ArchiveReader { offset, ..reader })
    }

    fn no_such(&self, package: Digest, archive: Option<Digest>) -> StoreError {
        match (self.get(package), archive) {
            (Some(stored), Some(wanted)) => StoreError::OtherArchive {
                digest: package,
                wanted,
                found: stored.archive_digest,
            },
            (Some(_), None) | (None, _) => StoreError::NotThere { digest: package },
        }
    }

    fn read_stored(
        &self,
        package: Digest,
        fits: &dyn Fn(Digest) -> bool,
    ) -> Result<Option<ArchiveReader>, StoreError> {
        let Some(stored) = self.get(package).filter(|it| fits(it.archive_digest)) else {
            return Ok(None);
        };
        let archive = self.open_archive(package, 0)?;
        Ok(Some(ArchiveReader {
            total_bytes: archive.total_bytes,
            archive_digest: stored.archive_digest,
            file: Arc::new(archive.file),
            offset: 0,
            growth: None,
        }))
    }

    fn find_growing(
        &self,
        package: Digest,
        fits: &dyn Fn(Digest) -> bool,
    ) -> Result<Option<ArchiveReader>, StoreError> {
        let index = self.inner.index();
        let knows =
            |it: &&Arc<Underway>| it.package == Some(package) && it.archive.is_some_and(fits);
        let Some(underway) = index.staging.values().find(knows).cloned() else {
            return Ok(None);
        };
        drop(index);
        let (Some(total_bytes), Some(archive_digest)) = (underway.total_bytes, underway.archive)
        else {
            return Ok(None);
        };
        let path = &underway.archive_path;
        match File::open(path) {
            Ok(file) => Ok(Some(ArchiveReader {
                total_bytes,
                archive_digest,
                file: Arc::new(file),
                offset: 0,
                growth: Some(underway.growth.clone()),
            })),
            // Just begun, or just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", path)(error)),
        }
    }
}

impl ArchiveReader {
    /// The next bytes, or nothing after the last. Waits for an archive that grows, as long as its staging
    /// lives; whoever feeds that bounds it. After an error nothing follows.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.offset >= self.total_bytes {
            return Ok(None);
        }
        let readable = self.readable().await?;
        let length = READ_BYTES.min(readable - self.offset);
        let (file, offset) = (self.file.clone(), self.offset);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).expect("at most READ_BYTES")];
            file.read_exact_at(&mut bytes, offset)?;
            io::Result::Ok(bytes)
        });
        let bytes = read.await.map_err(io::Error::other)??;
        self.offset += length;
        Ok(Some(bytes.into()))
    }

    /// Waits until there is something after the offset, and says up to where.
    async fn readable(&mut self) -> io::Result<u64> {
        let Some(growth) = &mut self.growth else {
            return Ok(self.total_bytes);
        };
        let offset = self.offset;
        let grown = growth
            .wait_for(|it| it.readable > offset || it.whole)
            .await
            .map_err(|_| failed("the package that was being received here has failed"))?;
        match grown.readable > offset {
            true => Ok(grown.readable.min(self.total_bytes)),
            false => Err(failed("the archive ended earlier than announced")),
        }
    }
}

fn failed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}
