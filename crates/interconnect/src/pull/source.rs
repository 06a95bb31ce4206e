//! The store and the puller, as other nodes see them.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_model::{Digest, NodeName, PackagesStatus};
use evenkeel_package_store::{Store, StoreError};
use futures_util::stream;
use tokio::sync::mpsc;

use super::Puller;
use crate::package::{PackageBody, PackageSource, Wanted};

/// What is read at once of an archive of firmware.
const PIECE_BYTES: usize = 256 << 10;

/// Serves what the store holds and what the puller is receiving.
pub struct StoreSource {
    store: Store,
    puller: Arc<Puller>,
    suspects: mpsc::Sender<Digest>,
}

impl StoreSource {
    /// `suspects` gets the packages whose copy here somebody found bad.
    pub fn new(store: Store, puller: Arc<Puller>, suspects: mpsc::Sender<Digest>) -> Self {
        Self {
            store,
            puller,
            suspects,
        }
    }
}

#[async_trait]
impl PackageSource for StoreSource {
    async fn open(&self, wanted: Wanted) -> io::Result<Option<PackageBody>> {
        let opened = self
            .store
            .follow(wanted.package, wanted.archive, wanted.offset);
        let Some(reader) = found(opened)? else {
            return self.open_firmware(wanted).await;
        };
        let total = reader.total_bytes;
        let bytes = stream::try_unfold(reader, |mut reader| async {
            let next = reader.next().await?;
            Ok(next.map(|bytes| (bytes, reader)))
        });
        let bytes = Box::pin(bytes);
        Ok(Some(PackageBody { total, bytes }))
    }

    async fn chunks(&self, package: Digest, archive: Option<Digest>) -> io::Result<Option<Bytes>> {
        if let Some(list) = self.puller.current_list(package, archive) {
            return Ok(Some(list));
        }
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || match store.get_firmware(package) {
            Some(_) => store.firmware_chunk_list(package),
            None => store.chunk_list(package),
        });
        let list = found(read.await.map_err(io::Error::other)?)?;
        let list = list.filter(|list| archive.is_none_or(|archive| archive == list.digest()));
        Ok(list.map(|list| Bytes::copy_from_slice(list.as_bytes())))
    }

    async fn status(&self) -> PackagesStatus {
        self.puller.status()
    }

    async fn suspect(&self, package: Digest, by: &NodeName) {
        tracing::warn!(%package, %by, "another node got a bad chunk from here; the copy is examined");
        // A full queue means that there is more than enough to examine.
        let _ = self.suspects.try_send(package);
    }
}

impl StoreSource {
    /// Firmware is served when it is whole.
    async fn open_firmware(&self, wanted: Wanted) -> io::Result<Option<PackageBody>> {
        let store = self.store.clone();
        let open = tokio::task::spawn_blocking(move || {
            let held = store.get_firmware(wanted.package);
            let held = held.ok_or(StoreError::NotThere {
                digest: wanted.package,
            })?;
            let other = wanted.archive.is_some_and(|it| it != held.archive_digest);
            if other {
                return Ok(None);
            }
            let opened = store.open_firmware_archive(wanted.package, wanted.offset);
            opened.map(Some)
        });
        let opened = found(open.await.map_err(io::Error::other)?)?.flatten();
        Ok(opened.map(|archive| PackageBody {
            total: archive.total_bytes,
            bytes: Box::pin(stream::try_unfold(archive.file, |file| async {
                let (bytes, file) = tokio::task::spawn_blocking(move || next_piece(file))
                    .await
                    .map_err(io::Error::other)??;
                Ok((!bytes.is_empty()).then_some((bytes, file)))
            })),
        }))
    }
}

fn next_piece(mut file: File) -> io::Result<(Bytes, File)> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    (&mut file)
        .take(PIECE_BYTES as u64)
        .read_to_end(&mut piece)?;
    Ok((piece.into(), file))
}

/// What is not there is no error.
fn found<T>(result: Result<T, StoreError>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotThere { .. } | StoreError::OtherArchive { .. }) => Ok(None),
        Err(error @ StoreError::OffsetBehindEnd { .. }) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, error))
        }
        Err(
            error @ (StoreError::InUse { .. } | StoreError::Damaged { .. } | StoreError::Io { .. }),
        ) => Err(io::Error::other(error)),
    }
}
