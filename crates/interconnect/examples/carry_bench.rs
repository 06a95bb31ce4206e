//! What `cargo xtask bench sync` measures: nodes that pull a package from one another over mutual TLS, as
//! daemons do, each with its own store and its own bound on what it sends. Not a tool for operators.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_interconnect::{
    AgentRequest, AgentResponse, AgentService, ClientParts, Members, PackageClient, PullBounds,
    PullOrder, Puller, ServerParts, StoreSource, TlsClient, TlsIdentity, serve,
};
use evenkeel_model::{Link, NodeName};
use evenkeel_package_store::{Policy, SecretKey, StageLimits, Store, StoredPackage};
use evenkeel_seam::watch;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const USAGE: &str = "chain|serial ARCHIVE FOLDER NODES BYTES_PER_SECOND";
/// What hyper gives at a time, more or less.
const CHUNK_BYTES: usize = 64 << 10;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [how @ ("chain" | "serial"), archive, folder, nodes, rate] = words[..] else {
        return Err(USAGE.into());
    };
    let (nodes, rate) = (nodes.parse()?, NonZeroU64::new(rate.parse()?));
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure(
        how == "chain",
        Path::new(archive),
        Path::new(folder),
        nodes,
        rate,
    ))
}

/// The node that has the package comes before the `nodes` that want it.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine's time"
)]
async fn measure(
    chain: bool,
    archive: &Path,
    folder: &Path,
    nodes: usize,
    rate: Option<NonZeroU64>,
) -> Result<()> {
    let cluster = Cluster::start(folder, nodes + 1, rate).await?;
    let package = stage(&cluster.nodes[0].store, archive).await?;
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    if chain {
        let pulls = cluster.nodes[1..].iter().map(|node| async {
            let order = cluster.order(&package, cluster.names());
            let pulled = node.puller.pull(&order).await;
            (pulled, begin.elapsed())
        });
        for (pulled, took) in futures_util::future::join_all(pulls).await {
            pulled?;
            longest = longest.max(took);
        }
    } else {
        for node in &cluster.nodes[1..] {
            // Knows of nobody else, so it pulls from the origin.
            let members = vec![cluster.nodes[0].name.clone(), node.name.clone()];
            node.puller.pull(&cluster.order(&package, members)).await?;
        }
        longest = begin.elapsed();
    }
    for node in &cluster.nodes {
        let held = node.store.get(package.manifest_digest);
        if held.map(|held| held.archive_digest) != Some(package.archive_digest) {
            return Err(format!("{} does not hold the package", node.name).into());
        }
    }
    let (wall, bytes) = (longest.as_secs_f64(), package.archive_bytes);
    println!("{{\"wall_s\":{wall},\"archive_bytes\":{bytes}}}");
    Ok(())
}

struct Node {
    name: NodeName,
    store: Store,
    puller: Arc<Puller>,
}

struct Cluster {
    nodes: Vec<Node>,
    /// Nobody cuts a link, but somebody could.
    _link: watch::Sender<Link>,
    _members: watch::Sender<Members>,
}

impl Cluster {
    async fn start(folder: &Path, count: usize, rate: Option<NonZeroU64>) -> Result<Self> {
        let ca = ca()?;
        let (link, members) = (
            watch::Sender::new(Link::default()),
            watch::Sender::new(Members::default()),
        );
        let (mut nodes, mut addresses) = (Vec::new(), BTreeMap::new());
        for at in 0..count {
            let name = NodeName::new(format!("n{at}"))?;
            let listener = TcpListener::bind(format!("127.0.0.{}:0", 10 + at)).await?;
            addresses.insert(name.clone(), listener.local_addr()?.to_string().into());
            let identity = identity(&ca, &name)?;
            let store = Store::open(folder.join(name.as_str()))?;
            let client = TlsClient::new(ClientParts {
                node: name.clone(),
                identity: identity.clone(),
                members: members.subscribe(),
                link: link.subscribe(),
            });
            let client: Arc<dyn PackageClient> = client;
            let bounds = PullBounds::default();
            let puller = Puller::new(name.clone(), store.clone(), client, bounds);
            let (suspect, _) = mpsc::channel(1);
            let source = StoreSource::new(store.clone(), Arc::clone(&puller), suspect);
            let parts = ServerParts {
                listener,
                identity,
                members: members.subscribe(),
                agent: Arc::new(Nobody),
                packages: Arc::new(source),
                record: None,
                package_bytes_per_second: rate,
                link: link.subscribe(),
                joins: None,
            };
            tokio::spawn(serve(parts, std::future::pending()));
            nodes.push(Node {
                name,
                store,
                puller,
            });
        }
        members.send_replace(Arc::new(addresses));
        Ok(Self {
            nodes,
            _link: link,
            _members: members,
        })
    }

    fn names(&self) -> Vec<NodeName> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    fn order(&self, package: &StoredPackage, members: Vec<NodeName>) -> PullOrder {
        PullOrder {
            content: evenkeel_interconnect::Content::Software,
            package: package.manifest_digest,
            archive: package.archive_digest,
            archive_bytes: package.archive_bytes,
            origin: self.nodes[0].name.clone(),
            members,
            policy: policy(),
        }
    }
}

/// Packages are all that these nodes have to do with each other.
struct Nobody;

#[async_trait]
impl AgentService for Nobody {
    async fn answer(&self, _from: &NodeName, _request: AgentRequest) -> AgentResponse {
        AgentResponse::Refused {
            reason: "there is no agent here".to_owned(),
            stale: None,
        }
    }
}

fn ca() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn identity(ca: &CertifiedIssuer<'static, KeyPair>, name: &NodeName) -> Result<TlsIdentity> {
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec![name.to_string()])?;
    let (root, certificate) = (ca.pem(), params.signed_by(&key, ca)?.pem());
    let key = key.serialize_pem();
    Ok(TlsIdentity::from_pem(
        root.as_bytes(),
        certificate.as_bytes(),
        key.as_bytes(),
    )?)
}

/// The key that the benchmarks' packages are signed with.
fn policy() -> Policy {
    let key = SecretKey::from_seed(&[7; 32]);
    Policy::trusting([key.public()].into_iter().collect())
}

async fn stage(store: &Store, archive: &Path) -> Result<StoredPackage> {
    let mut staging = store.begin("bench", policy(), StageLimits::default())?;
    let mut file = File::open(archive)?;
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let n = file.read(&mut chunk)?;
        if n == 0 {
            return Ok(staging.finish().await?);
        }
        chunk.truncate(n);
        staging.write(Bytes::from(chunk)).await?;
    }
}
