//! Several nodes with real stores and pullers, and a network between them that fails as it is told.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_interconnect::{
    Content, FetchError, PackageBody, PackageClient, PackageSource, PullBounds, PullError,
    PullOrder, Puller, StoreSource, Wanted,
};
use evenkeel_model::{
    Digest, NodeName, PackagesStatus, PlatformName, SourceVersions, Version, WallTime,
};
use evenkeel_package_store::{
    BuildOptions, Compression, Policy, Recorded, SecretKey, StageError, StageLimits, Store,
    StoredPackage, build,
};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub(crate) const MIB: u64 = 1 << 20;
/// What the network hands over at once.
const PIECE: usize = 64 << 10;

pub(crate) fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// What is wrong with what a node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not there.
    Down,
    /// It is gone for good after so many bytes of the archive.
    DiesAt(u64),
    /// The byte at that offset is another one.
    Corrupts(u64),
    /// Nothing comes after that offset.
    StallsAt(u64),
    /// A piece takes a tenth of a second, and is small.
    Trickles,
}

#[derive(Default)]
pub(crate) struct Net {
    sources: Mutex<BTreeMap<NodeName, Arc<StoreSource>>>,
    faults: Mutex<BTreeMap<NodeName, Fault>>,
    sent: Mutex<BTreeMap<(NodeName, NodeName), u64>>,
}

impl Net {
    pub(crate) fn fail(&self, node: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(name(node), fault);
    }

    pub(crate) fn heal(&self, node: &str) {
        self.faults.lock().unwrap().remove(&name(node));
    }

    /// Bytes of archives that went from one node to another.
    pub(crate) fn sent(&self, from: &str, to: &str) -> u64 {
        let sent = self.sent.lock().unwrap();
        sent.get(&(name(from), name(to))).copied().unwrap_or(0)
    }

    fn fault(&self, node: &NodeName) -> Option<Fault> {
        self.faults.lock().unwrap().get(node).copied()
    }

    fn source(&self, node: &NodeName) -> Result<Arc<StoreSource>, FetchError> {
        let unreachable = || FetchError::Unreachable {
            node: node.clone(),
            why: "connection refused".to_owned(),
        };
        if self.fault(node) == Some(Fault::Down) {
            return Err(unreachable());
        }
        let sources = self.sources.lock().unwrap();
        sources.get(node).cloned().ok_or_else(unreachable)
    }
}

/// One node's way to the others.
struct Wire {
    me: NodeName,
    net: Arc<Net>,
}

fn refused(node: &NodeName, package: Digest, error: &io::Error) -> FetchError {
    FetchError::Refused {
        node: node.clone(),
        package,
        why: error.to_string(),
    }
}

#[async_trait]
impl PackageClient for Wire {
    async fn fetch(&self, node: &NodeName, wanted: Wanted) -> Result<PackageBody, FetchError> {
        let package = wanted.package;
        let opened = self.net.source(node)?.open(wanted).await;
        let body = opened.map_err(|error| refused(node, package, &error))?;
        let body = body.ok_or_else(|| FetchError::NotHeld {
            node: node.clone(),
            package,
        })?;
        let (net, from, to) = (Arc::clone(&self.net), node.clone(), self.me.clone());
        let pieces = body.bytes.flat_map(|bytes| {
            let pieces: Vec<io::Result<Bytes>> = match bytes {
                Ok(bytes) => bytes
                    .chunks(PIECE)
                    .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                    .collect(),
                Err(error) => vec![Err(error)],
            };
            stream::iter(pieces)
        });
        let carried = stream::unfold(
            (Box::pin(pieces), wanted.offset, net, (from, to)),
            |(mut pieces, offset, net, way)| async move {
                let piece = match pieces.next().await? {
                    Ok(piece) => net.carry(&way.0, offset, piece).await,
                    Err(error) => Err(error),
                };
                let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
                *net.sent.lock().unwrap().entry(way.clone()).or_default() += length;
                Some((piece, (pieces, offset + length, net, way)))
            },
        );
        Ok(PackageBody {
            total: body.total,
            bytes: Box::pin(carried),
        })
    }

    async fn chunks(
        &self,
        node: &NodeName,
        package: Digest,
        archive: Option<Digest>,
    ) -> Result<Bytes, FetchError> {
        let list = self.net.source(node)?.chunks(package, archive).await;
        let list = list.map_err(|error| refused(node, package, &error))?;
        list.ok_or_else(|| FetchError::NotHeld {
            node: node.clone(),
            package,
        })
    }

    async fn status(&self, node: &NodeName) -> Result<PackagesStatus, FetchError> {
        Ok(self.net.source(node)?.status().await)
    }

    async fn suspect(&self, node: &NodeName, package: Digest) -> Result<(), FetchError> {
        self.net.source(node)?.suspect(package, &self.me).await;
        Ok(())
    }
}

impl Net {
    async fn carry(&self, from: &NodeName, offset: u64, piece: Bytes) -> io::Result<Bytes> {
        let end = offset + piece.len() as u64;
        match self.fault(from) {
            None => Ok(piece),
            Some(Fault::Down) => Err(io::Error::other("connection reset")),
            Some(Fault::DiesAt(at)) if end > at => {
                self.faults
                    .lock()
                    .unwrap()
                    .insert(from.clone(), Fault::Down);
                Err(io::Error::other("connection reset"))
            }
            Some(Fault::Corrupts(at)) if (offset..end).contains(&at) => {
                let mut piece = piece.to_vec();
                piece[usize::try_from(at - offset).unwrap()] ^= 1;
                Ok(piece.into())
            }
            Some(Fault::StallsAt(at)) if end > at => std::future::pending().await,
            Some(Fault::Trickles) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(piece.slice(..piece.len().min(8 << 10)))
            }
            Some(Fault::DiesAt(_) | Fault::Corrupts(_) | Fault::StallsAt(_)) => Ok(piece),
        }
    }
}

pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) store: Store,
    pub(crate) puller: Arc<Puller>,
    pub(crate) suspects: mpsc::Receiver<Digest>,
}

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    pub(crate) net: Arc<Net>,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) package: StoredPackage,
    pub(crate) bounds: PullBounds,
}

pub(crate) fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

pub(crate) fn policy() -> Policy {
    Policy::trusting([key().public()].into_iter().collect())
}

/// A package of about nine chunks, packed so that `salt` makes another one.
pub(crate) fn make_package(folder: &Path, salt: u64) -> PathBuf {
    let tree = folder.join(format!("tree{salt}"));
    fs::create_dir_all(&tree).unwrap();
    let mut state = salt | 1;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state & 0xff) as u8
    });
    fs::write(
        tree.join("image"),
        noise.take(9_000_000).collect::<Vec<_>>(),
    )
    .unwrap();
    let output = folder.join(format!("{salt}.tgz"));
    let options = BuildOptions {
        name: "image".into(),
        version: Version::new(format!("{salt}")).unwrap(),
        platform: PlatformName::new("lab").unwrap(),
        variant: None,
        features: vec![],
        source_versions: SourceVersions::Any,
        checks: vec![],
        manual_steps: vec![],
        firmware: vec![],
        notes: String::new(),
        recorded: Recorded::default(),
        build_time: Some(WallTime::new("2026-01-02T03:04:05Z".parse().unwrap())),
        compression: Compression::default(),
    };
    build(&tree, &key(), options, &output).unwrap();
    output
}

pub(crate) async fn upload(store: &Store, archive: Vec<u8>) -> StoredPackage {
    let mut staging = store
        .begin("upload", policy(), StageLimits::default())
        .unwrap();
    for piece in archive.chunks(PIECE) {
        staging.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    staging.finish().await.unwrap()
}

impl Cluster {
    /// Nodes `n1` and so on; `n1` took a package in.
    pub(crate) async fn new(count: usize) -> Self {
        // Short enough for a test, long enough for a busy machine.
        let bounds = PullBounds {
            look: Duration::from_millis(800),
            patience: Duration::from_secs(5),
            begin: Duration::from_secs(10),
            poll: Duration::from_millis(5),
            ask: Duration::from_secs(5),
            pause: Duration::from_millis(10),
            rounds: 3,
        };
        let folder = tempfile::tempdir().unwrap();
        let archive = fs::read(make_package(folder.path(), 1)).unwrap();
        let store = Store::open(folder.path().join("n1")).unwrap();
        let package = upload(&store, archive).await;
        drop(store);
        let mut cluster = Self {
            folder,
            net: Arc::default(),
            nodes: (0..count).map(|_| None).collect(),
            package,
            bounds,
        };
        cluster.restart_all();
        cluster
    }

    pub(crate) fn restart_all(&mut self) {
        for index in 0..self.nodes.len() {
            self.nodes[index] = None;
            self.net
                .sources
                .lock()
                .unwrap()
                .remove(&name(&format!("n{}", index + 1)));
            self.start(index);
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a node's daemon, as it were: with what is on its disk.
    pub(crate) fn start(&mut self, index: usize) {
        let name = name(&format!("n{}", index + 1));
        let store = Store::open(self.folder.path().join(name.as_str())).unwrap();
        let wire = Arc::new(Wire {
            me: name.clone(),
            net: Arc::clone(&self.net),
        });
        let puller = Puller::new(name.clone(), store.clone(), wire, self.bounds);
        let (sender, suspects) = mpsc::channel(4);
        let source = StoreSource::new(store.clone(), Arc::clone(&puller), sender);
        let sources = &self.net.sources;
        sources
            .lock()
            .unwrap()
            .insert(name.clone(), Arc::new(source));
        self.nodes[index] = Some(Node {
            name,
            store,
            puller,
            suspects,
        });
    }

    pub(crate) fn stop(&mut self, index: usize) {
        let node = self.nodes[index].take().unwrap();
        self.net.sources.lock().unwrap().remove(&node.name);
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().unwrap()
    }

    pub(crate) fn order(&self) -> PullOrder {
        let members = 1..=self.nodes.len();
        PullOrder {
            package: self.package.manifest_digest,
            content: Content::Software,
            archive: self.package.archive_digest,
            archive_bytes: self.package.archive_bytes,
            origin: name("n1"),
            members: members.map(|n| name(&format!("n{n}"))).collect(),
            policy: policy(),
        }
    }

    /// As an agent has it: a pull that was given up a moment ago may still have the package's file, and is waited for.
    pub(crate) async fn pull(&self, index: usize) -> Result<(), PullError> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.node(index).puller.pull(&self.order()).await {
                Err(PullError::Stage(StageError::Busy { .. })) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(5)).await;
                }
                outcome => return outcome,
            }
        }
    }

    pub(crate) async fn pull_all(&self, indexes: &[usize]) {
        let pulls = indexes.iter().map(|index| self.pull(*index));
        for result in futures_util::future::join_all(pulls).await {
            result.unwrap();
        }
    }

    /// Byte for byte.
    pub(crate) fn holds(&self, index: usize) -> bool {
        let stored = self.node(index).store.get(self.package.manifest_digest);
        stored.is_some_and(|mut stored| {
            // It came there by another staging.
            stored.stage_id.clone_from(&self.package.stage_id);
            stored == self.package
        })
    }
}
