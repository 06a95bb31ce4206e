//! Packages between this node's store, its peers and its agent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_agent::{Packages, PackagesError};
use evenkeel_interconnect::{FetchError, PackageBody, PackageClient, PackageSource, Wanted};
use evenkeel_model::{Digest, NodeName, PackagesStatus};
use evenkeel_package_store::{StageError, StageLimits, Staging, Store, StoreError, StoredPackage};
use evenkeel_record::View;
use evenkeel_rest::package_policy;
use futures_util::{StreamExt, stream};
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, watch};

use crate::error::chain;

/// Bytes read at once for a peer.
const CHUNK: usize = 256 * 1024;
/// How often all holders are asked before a pull is given up: each round may go on where the one before
/// broke off.
const ROUNDS: u32 = 3;
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// Gets packages from peers into the store.
pub(crate) struct Puller {
    node: NodeName,
    store: Store,
    peers: Arc<dyn PackageClient>,
    views: watch::Receiver<Arc<View>>,
    /// One pull at a time: the disk gains nothing from more, and two of the same would collide.
    one: Mutex<()>,
}

impl Puller {
    pub(crate) fn new(
        node: NodeName,
        store: Store,
        peers: Arc<dyn PackageClient>,
        views: watch::Receiver<Arc<View>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            store,
            peers,
            views,
            one: Mutex::default(),
        })
    }

    /// Nodes that may hold the package, the one that took it in first.
    fn holders(&self, package: Digest) -> Result<Vec<NodeName>, PackagesError> {
        let view = Arc::clone(&self.views.borrow());
        let Some(entry) = view.catalogue().packages.get(&package) else {
            return Err(PackagesError::Refused(format!(
                "package {package} is not in the catalogue"
            )));
        };
        let names = view
            .control()
            .topology
            .iter()
            .flat_map(|topology| topology.names());
        let others = names.filter(|name| **name != self.node && **name != entry.origin);
        let origin = Some(&entry.origin).filter(|origin| **origin != self.node);
        Ok(origin.into_iter().chain(others).cloned().collect())
    }

    async fn pull_once(&self, package: Digest) -> Result<(), PackagesError> {
        let holders = self.holders(package)?;
        let policy = package_policy(&self.views.borrow(), &self.node);
        let limits = StageLimits {
            expected_package: Some(package),
            ..StageLimits::default()
        };
        let staging = self.store.begin(&format!("pull-{package}"), policy, limits);
        let mut transfer = Transfer {
            staging: staging.map_err(refuse)?,
            received: 0,
            total: None,
        };
        let mut last = "no other node is known".to_owned();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            for holder in &holders {
                match transfer
                    .take_from(self.peers.as_ref(), holder, package)
                    .await
                {
                    Ok(()) => return keep(transfer.staging, package).await,
                    Err(Broken::Source(why)) => last = why,
                    Err(Broken::Package(error)) => return Err(error),
                }
            }
        }
        Err(PackagesError::Unavailable(last))
    }
}

async fn keep(staging: Staging, package: Digest) -> Result<(), PackagesError> {
    let stored = staging.finish().await.map_err(refuse)?;
    tracing::info!(version = %stored.summary.version, %package, "package pulled");
    Ok(())
}

#[async_trait]
impl Packages for Puller {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        let stored = self.store.list();
        Ok(PackagesStatus {
            held: stored.iter().map(|p| p.manifest_digest).collect(),
            ..PackagesStatus::default()
        })
    }

    async fn pull(&self, package: Digest) -> Result<(), PackagesError> {
        let _one = self.one.lock().await;
        match self.store.get(package) {
            Some(StoredPackage { .. }) => Ok(()),
            None => self.pull_once(package).await,
        }
    }
}

/// An archive on its way in, from whoever sends it.
struct Transfer {
    staging: Staging,
    received: u64,
    total: Option<u64>,
}

/// Why bytes stopped coming.
enum Broken {
    /// This holder cannot go on; another one may.
    Source(String),
    /// The bytes so far are refused.
    Package(PackagesError),
}

impl Transfer {
    async fn take_from(
        &mut self,
        peers: &dyn PackageClient,
        holder: &NodeName,
        package: Digest,
    ) -> Result<(), Broken> {
        let wanted = Wanted {
            package,
            archive: None,
            offset: self.received,
        };
        let fetched = peers.fetch(holder, wanted).await;
        let mut body = fetched.map_err(|error: FetchError| Broken::Source(chain(&error)))?;
        // Whoever holds the package holds the archive as it came in. If not, its rest fits nothing.
        if self.total.is_some_and(|total| total != body.total) {
            return Err(Broken::Source(format!(
                "{holder} holds another archive of {package}"
            )));
        }
        self.total = Some(body.total);
        while let Some(chunk) = body.bytes.next().await {
            let chunk = chunk.map_err(|error| Broken::Source(format!("{holder}: {error}")))?;
            self.received += chunk.len() as u64;
            let written = self.staging.write(chunk).await;
            written.map_err(|error| Broken::Package(refuse(error)))?;
        }
        match self.received == body.total {
            true => Ok(()),
            false => Err(Broken::Source(format!(
                "{holder} broke off at byte {}",
                self.received
            ))),
        }
    }
}

/// What a staging's error means for whoever wants the package.
fn refuse(error: StageError) -> PackagesError {
    let text = chain(&error);
    match error {
        StageError::Refused(_) | StageError::TooLarge { .. } | StageError::VersionExists { .. } => {
            PackagesError::Refused(text)
        }
        StageError::BadId { .. }
        | StageError::Busy { .. }
        | StageError::NoSpace { .. }
        | StageError::Io { .. }
        | StageError::Aborted
        | StageError::NothingKept { .. }
        | StageError::Ended => PackagesError::Unavailable(text),
    }
}

/// The store, for peers.
pub(crate) struct Served(pub(crate) Store);

#[async_trait]
impl PackageSource for Served {
    async fn chunks(&self, _: Digest, _: Option<Digest>) -> io::Result<Option<Bytes>> {
        Ok(None)
    }

    async fn status(&self) -> PackagesStatus {
        let held = self.0.list().iter().map(|p| p.manifest_digest).collect();
        PackagesStatus {
            held,
            ..PackagesStatus::default()
        }
    }

    async fn suspect(&self, package: Digest, by: &NodeName) {
        tracing::error!(%package, %by, "the copy here is said to be bad");
    }

    async fn open(&self, wanted: Wanted) -> io::Result<Option<PackageBody>> {
        let archive = match self.0.open_archive(wanted.package, wanted.offset) {
            Ok(archive) => archive,
            Err(StoreError::NotThere { .. }) => return Ok(None),
            Err(error @ StoreError::OffsetBehindEnd { .. }) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
            }
            Err(
                error @ (StoreError::InUse { .. }
                | StoreError::OtherArchive { .. }
                | StoreError::Damaged { .. }
                | StoreError::Io { .. }),
            ) => return Err(io::Error::other(error)),
        };
        let file = tokio::fs::File::from_std(archive.file);
        let bytes = stream::try_unfold(file, |mut file| async {
            let mut chunk = Vec::with_capacity(CHUNK);
            match (&mut file)
                .take(CHUNK as u64)
                .read_to_end(&mut chunk)
                .await?
            {
                0 => Ok(None),
                _ => Ok(Some((Bytes::from(chunk), file))),
            }
        });
        Ok(Some(PackageBody {
            total: archive.total_bytes,
            bytes: Box::pin(bytes),
        }))
    }
}
