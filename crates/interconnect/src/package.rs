//! Carrying package archives between nodes.

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_model::{Digest, NodeName};
use futures_util::Stream;

/// Bytes of an archive as they come. After an error nothing follows.
pub type PackageBytes = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// An archive from some offset to its end.
pub struct PackageBody {
    /// Bytes of the whole archive.
    pub total: u64,
    /// The bytes from the offset on.
    pub bytes: PackageBytes,
}

/// Opens the archives that this node holds. Implemented over the package store, served by this crate.
#[async_trait]
pub trait PackageSource: Send + Sync + 'static {
    /// The archive of the package with that manifest digest, from `offset` on; `None` if this node does
    /// not hold it. An offset beyond the end is an error of kind `InvalidInput`.
    async fn open(&self, package: Digest, offset: u64) -> io::Result<Option<PackageBody>>;
}

/// A node that holds no packages.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPackages;

#[async_trait]
impl PackageSource for NoPackages {
    async fn open(&self, _package: Digest, _offset: u64) -> io::Result<Option<PackageBody>> {
        Ok(None)
    }
}

/// Why a package was not had from a node.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The node does not answer.
    #[error("{node} cannot be asked for package {package}: {why}")]
    Unreachable {
        /// Whom.
        node: NodeName,
        /// For what.
        package: Digest,
        /// Why.
        why: String,
    },
    /// The node answers that it does not hold the package.
    #[error("{node} does not hold package {package}")]
    NotHeld {
        /// Who.
        node: NodeName,
        /// What.
        package: Digest,
    },
    /// The node refuses.
    #[error("{node} refuses to send package {package}: {why}")]
    Refused {
        /// Who.
        node: NodeName,
        /// What.
        package: Digest,
        /// Its words.
        why: String,
    },
}

/// Fetches archives from other nodes. What comes is unverified: only the store can say what it is.
#[async_trait]
pub trait PackageClient: Send + Sync + 'static {
    /// The archive from `offset` on. Every chunk is bounded in time.
    async fn fetch(
        &self,
        node: &NodeName,
        package: Digest,
        offset: u64,
    ) -> Result<PackageBody, FetchError>;
}
