//! The store and the puller, as other nodes see them.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_model::{Digest, NodeName, PackagesStatus};
use evenkeel_package_store::{Store, StoreError};
use futures_util::stream;
use tokio::sync::mpsc;

use super::Puller;
use crate::package::{PackageBody, PackageSource, Wanted};

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
            return Ok(None);
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
        let read = tokio::task::spawn_blocking(move || store.chunk_list(package));
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
