//! The two servers: the front end as a daemon wires it, and the bare one with the front end's own answers.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, CallError};
use evenkeel_model::{NodeName, PackagesStatus, Position, WallTime};
use evenkeel_orchestrator::{FrontDoor, Orchestrator, Parts};
use evenkeel_package_store::Store;
use evenkeel_planner::Tunables;
use evenkeel_record::{FollowOptions, Follower, NoMirror, Record, projections};
use evenkeel_rest::{
    Api, Limits, LiveDownload, NodeDoor, NodeDoorParts, PackagePolicy, PeerRoom, RecordCluster,
    tls_config,
};
use evenkeel_seam::{Clock, Ids, RandomIds, watch};
use rustls::ServerConfig;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::bare::{self, Answers};
use crate::client::authorization;
use crate::wait::input_ended;
use crate::{Result, record};

/// How long ago the last event was: tasks and phases are amid a second, each at another part of it.
const SINCE: Duration = Duration::from_millis(7_300);

/// Serves until standard input ends; says where, and what there is to ask for.
pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let node = Node::open(folder).await?;
    let (tls, ca) = certificate(folder)?;
    let router = node.router()?;
    let paths = node.paths()?;
    let answers = answers(&router, &paths).await?;
    let front = TcpListener::bind("127.0.0.1:0").await?;
    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let said = json!({
        "front": front.local_addr()?,
        "bare": plain.local_addr()?,
        "ca": ca,
        "paths": paths,
    });
    let (stop, configs) = (
        CancellationToken::new(),
        watch::channel(Some(Arc::clone(&tls))).1,
    );
    let limits = Limits::default();
    let served = evenkeel_rest::serve(front, configs, router, limits, stop.clone());
    let served = tokio::spawn(served);
    let bare = tokio::spawn(bare::serve(plain, tls, answers));
    println!("{said}");
    input_ended().await;
    bare.abort();
    stop.cancel();
    Ok(served.await?)
}

/// The parts of a daemon that the front end shows and asks.
struct Node {
    record: Arc<dyn Record>,
    follower: Arc<Follower>,
    clock: Arc<dyn Clock>,
    store: Store,
    name: NodeName,
}

impl Node {
    async fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(record::FILE);
        let last = last_time(&path).await?;
        let clock: Arc<dyn Clock> = Arc::new(record::clock(last.plus(SINCE)));
        let record: Arc<dyn Record> = Arc::new(record::open(&path, last)?);
        let (mirror, options) = (Arc::new(NoMirror), FollowOptions::default());
        let follower = Follower::start(Arc::clone(&record), mirror, Arc::clone(&clock), options);
        let follower = Arc::new(follower.await);
        let view = follower.refresh().await?;
        let topology = view.control().topology.as_ref();
        let name = topology.and_then(|topology| topology.names().next());
        Ok(Self {
            name: name.ok_or("the record knows no nodes")?.clone(),
            store: Store::open(folder.join("packages"))?,
            record,
            follower,
            clock,
        })
    }

    fn router(&self) -> Result<Router> {
        let parts = Parts {
            me: self.name.clone(),
            record: Arc::clone(&self.record),
            follower: Arc::clone(&self.follower),
            agents: Arc::new(NoAgents),
            clock: Arc::clone(&self.clock),
            ids: Arc::new(RandomIds),
            tunables: Tunables::default(),
        };
        let live = LiveDownload::default();
        let (trust, limits) = Default::default();
        let door = NodeDoor::new(NodeDoorParts {
            policy: PackagePolicy {
                node: self.name.clone(),
                allow_unsigned: false,
            },
            incarnation: RandomIds.uuid(),
            admission: FrontDoor::new(&parts, Orchestrator::new(parts.clone()).role()),
            follower: Arc::clone(&self.follower),
            store: self.store.clone(),
            peers: Arc::new(Alone),
            client: evenkeel_download::Client::new(trust, limits),
            live: live.clone(),
            upload_enabled: true,
        });
        let minute = Duration::from_secs(60);
        let (record, clock) = (Arc::clone(&self.record), Arc::clone(&self.clock));
        let cluster = RecordCluster::new(Arc::clone(&self.follower), record, clock, minute);
        let cluster = Arc::new(cluster.with_live(live));
        Ok(Api::new(cluster, Arc::new(door), &RandomIds).router())
    }

    /// What is asked for.
    fn paths(&self) -> Result<[String; 4]> {
        let jobs = projections::jobs(&self.follower.view());
        let update = jobs.last().ok_or("the record knows no job")?;
        Ok([
            "/api/cluster/software".to_owned(),
            "/api/cluster/software?fields=*".to_owned(),
            "/api/cluster/software/packages".to_owned(),
            format!("/api/cluster/jobs/{}", update.id),
        ])
    }
}

/// When the last event of the record happened.
async fn last_time(path: &Path) -> Result<WallTime> {
    let record = record::open(path, WallTime::from_unix_seconds(0))?;
    let mut entries = Vec::new();
    loop {
        let after = entries.last().map_or(Position(0), last_position);
        let more = record.read_since(after, 512).await?;
        if more.is_empty() {
            return record::last_time(&entries);
        }
        entries = more;
    }
}

fn last_position(entry: &evenkeel_record::Entry) -> Position {
    entry.position
}

/// Takeovers do not happen here, and no one is asked.
struct NoAgents;

#[async_trait]
impl AgentClient for NoAgents {
    async fn call(
        &self,
        node: &NodeName,
        _: AgentRequest,
    ) -> std::result::Result<AgentResponse, CallError> {
        Err(CallError::Unreachable {
            node: node.clone(),
            why: "a benchmark has no agents".to_owned(),
        })
    }
}

/// The front end's answers, byte for byte.
async fn answers(router: &Router, paths: &[String]) -> Result<Answers> {
    let mut answers = Answers::new();
    for path in paths {
        let request = Request::get(path).header(header::AUTHORIZATION, authorization());
        let response = router.clone().oneshot(request.body(Body::empty())?).await?;
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await?;
        if head.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("{path}: {}: {text}", head.status).into());
        }
        answers.insert(path.clone(), (head.headers, body));
    }
    Ok(answers)
}

/// A certificate for this run, and the file that clients know it by.
fn certificate(folder: &Path) -> Result<(Arc<ServerConfig>, std::path::PathBuf)> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let path = folder.join("certificate.pem");
    fs::write(&path, &certificate)?;
    let tls = tls_config(certificate.as_bytes(), key.as_bytes(), None)?;
    Ok((tls, path))
}

/// A node whose partners are not there.
struct Alone;

#[async_trait]
impl PeerRoom for Alone {
    async fn rooms(&self) -> Vec<(NodeName, u64)> {
        Vec::new()
    }

    async fn states(&self) -> Vec<(NodeName, Option<PackagesStatus>)> {
        Vec::new()
    }
}
