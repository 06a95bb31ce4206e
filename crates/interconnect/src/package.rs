//! Carrying package archives between nodes: what is asked and answered.

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_model::{Digest, NodeName, PackagesStatus};
use futures_util::Stream;

/// Bytes of an archive as they come. After an error nothing follows.
pub type PackageBytes = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// An archive from some offset to its end.
pub struct PackageBody {
    /// Bytes of the whole archive, also while the sender is still receiving it.
    pub total: u64,
    /// The bytes from the offset on.
    pub bytes: PackageBytes,
}

/// Which bytes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Manifest digest of the package.
    pub package: Digest,
    /// Of which archive of it: the same package may have been packed twice.
    pub archive: Option<Digest>,
    /// From which byte on.
    pub offset: u64,
}

/// What this node's peers may ask of its packages. Implemented over the package store, served by this crate.
#[async_trait]
pub trait PackageSource: Send + Sync + 'static {
    /// The wanted bytes; of an archive that is still coming in, as they come. `None` if this node has
    /// nothing of it. An offset beyond the end is an error of kind `InvalidInput`.
    async fn open(&self, wanted: Wanted) -> io::Result<Option<PackageBody>>;
    /// The chunk list of an archive that this node has or is receiving.
    async fn chunks(&self, package: Digest, archive: Option<Digest>) -> io::Result<Option<Bytes>>;
    /// What is here, what is coming in, and how much room there is.
    async fn status(&self) -> PackagesStatus;
    /// `by` got a chunk from here that is not the catalogue's.
    async fn suspect(&self, package: Digest, by: &NodeName);
}

/// Why a node did not give what was asked of its packages.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The node does not answer.
    #[error("{node} cannot be asked for packages: {why}")]
    Unreachable {
        /// Whom.
        node: NodeName,
        /// Why.
        why: String,
    },
    /// The node answers that it has nothing of the package, or another archive of it.
    #[error("{node} does not hold package {package}")]
    NotHeld {
        /// Who.
        node: NodeName,
        /// What.
        package: Digest,
    },
    /// The node serves as many transfers as it may.
    #[error("{node} serves as many transfers as it may")]
    Busy {
        /// Who.
        node: NodeName,
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

/// Asks other nodes for packages. What comes is unverified: only the store can say what it is.
#[async_trait]
pub trait PackageClient: Send + Sync + 'static {
    /// The wanted bytes. Silence is bounded, but only roughly: whoever pulls judges sooner.
    async fn fetch(&self, node: &NodeName, wanted: Wanted) -> Result<PackageBody, FetchError>;
    /// The chunk list of an archive, as the node has it: not checked against anything.
    async fn chunks(
        &self,
        node: &NodeName,
        package: Digest,
        archive: Option<Digest>,
    ) -> Result<Bytes, FetchError>;
    /// What the node says of its packages.
    async fn status(&self, node: &NodeName) -> Result<PackagesStatus, FetchError>;
    /// Tells the node that a chunk it sent is not the catalogue's, so that it looks at its copy.
    async fn suspect(&self, node: &NodeName, package: Digest) -> Result<(), FetchError>;
}
