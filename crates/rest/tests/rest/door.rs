//! Uploads through the door of a node: admission, package store and record together.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Client, END, PASSWORD, USER, part};
use async_trait::async_trait;
use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, CallError};
use evenkeel_model::*;
use evenkeel_orchestrator::{FrontDoor, Orchestrator, Parts};
use evenkeel_package_store::{
    BuildOptions, Compression, Recorded, SecretKey, StageLimits, Store, build,
};
use evenkeel_planner::Tunables;
use evenkeel_record::{
    Fence, FollowOptions, Follower, MemoryHub, MemoryRecord, NextAppend, NoMirror, Record, Write,
    Writer, projections,
};
use evenkeel_rest::{
    LiveDownload, NodeDoor, NodeDoorParts, PackagePolicy, PeerRoom, RecordCluster, hash_password,
};
use evenkeel_seam::{Clock, SeededIds, TokioClock};
use futures_util::{FutureExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// No test here gets as far as asking an agent.
struct NoAgents;

#[async_trait]
impl AgentClient for NoAgents {
    async fn call(&self, node: &NodeName, _: AgentRequest) -> Result<AgentResponse, CallError> {
        let why = "there are no agents".to_owned();
        Err(CallError::Unreachable {
            node: node.clone(),
            why,
        })
    }
}

pub(crate) struct Bench {
    pub(crate) memory: Arc<MemoryRecord>,
    policy: PackagePolicy,
    pub(crate) admission: FrontDoor,
    pub(crate) door: NodeDoor,
    dir: TempDir,
    pub(crate) key: SecretKey,
    pub(crate) store: Store,
    pub(crate) follower: Arc<Follower>,
    pub(crate) client: Client,
    rooms: Rooms,
}

/// Room on the other nodes.
#[derive(Clone, Default)]
struct Rooms(Arc<Mutex<Vec<(NodeName, u64)>>>);

#[async_trait]
impl PeerRoom for Rooms {
    async fn rooms(&self) -> Vec<(NodeName, u64)> {
        self.0.lock().unwrap().clone()
    }

    async fn states(&self) -> Vec<(NodeName, Option<PackagesStatus>)> {
        Vec::new()
    }
}

pub(crate) fn id(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_uploads(true).await
    }

    pub(crate) async fn with_uploads(upload_enabled: bool) -> Self {
        let hub = MemoryHub::new();
        let memory = Arc::new(hub.client(1));
        let record: Arc<dyn Record> = memory.clone();
        let epoch = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let origin = tokio::time::Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new(BootId(id(1)), origin, epoch));
        let key = SecretKey::from_seed(&[7; 32]);
        found(&record, &key, epoch).await;
        let options = FollowOptions::default();
        let mirror = Arc::new(NoMirror);
        let follower = Follower::start(record.clone(), mirror, clock.clone(), options).await;
        let follower = Arc::new(follower);
        follower.refresh().await.unwrap();
        let me: NodeName = "a".parse().unwrap();
        let parts = Parts {
            me: me.clone(),
            record: record.clone(),
            follower: follower.clone(),
            agents: Arc::new(NoAgents),
            clock: clock.clone(),
            ids: Arc::new(SeededIds::new(3)),
            tunables: Tunables::default(),
        };
        let admission = FrontDoor::new(&parts, Orchestrator::new(parts.clone()).role());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let rooms = Rooms::default();
        let live = LiveDownload::default();
        let limits = evenkeel_download::Limits {
            backoff: Duration::from_millis(1),
            tries: 3,
            ..evenkeel_download::Limits::default()
        };
        let policy = PackagePolicy {
            node: me,
            allow_unsigned: false,
        };
        let door = NodeDoor::new(NodeDoorParts {
            policy: policy.clone(),
            incarnation: id(5),
            admission: admission.clone(),
            follower: follower.clone(),
            store: store.clone(),
            peers: Arc::new(rooms.clone()),
            client: evenkeel_download::Client::new(evenkeel_download::Trust::default(), limits),
            live: live.clone(),
            upload_enabled,
        });
        let minute = Duration::from_secs(60);
        let cluster = RecordCluster::new(follower.clone(), record, clock, minute).with_live(live);
        let client = Client::real(Arc::new(cluster), Arc::new(door.clone()));
        Self {
            memory,
            policy,
            admission,
            door,
            dir,
            key,
            store,
            follower,
            client,
            rooms,
        }
    }

    /// A package of one file with this content.
    pub(crate) fn package(&self, version: &str, content: &str, key: &SecretKey) -> Vec<u8> {
        let root = self.dir.path().join("tree");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("file"), content).unwrap();
        let output = self.dir.path().join("package.tgz");
        let options = BuildOptions {
            name: "evenkeel".to_owned(),
            version: version.parse().unwrap(),
            platform: "lab-x86_64".parse().unwrap(),
            variant: None,
            features: vec![],
            source_versions: SourceVersions::Any,
            checks: vec![],
            manual_steps: vec![],
            firmware: vec![],
            notes: String::new(),
            recorded: Recorded::default(),
            build_time: None,
            compression: Compression::default(),
        };
        build(&root, key, options, &output).unwrap();
        std::fs::read(&output).unwrap()
    }

    pub(crate) async fn upload(&self, package: &[u8]) -> crate::support::Reply {
        let body = [part("file", package), END.to_vec()].concat();
        self.client.upload("", body).await
    }

    pub(crate) fn open_operations(&self) -> usize {
        projections::open_operations(&self.follower.view()).len()
    }

    fn nothing_is_left_in(&self, folder: &Path) -> bool {
        std::fs::read_dir(folder).unwrap().next().is_none()
    }
}

/// A cluster of one node that trusts one key.
async fn found(record: &Arc<dyn Record>, key: &SecretKey, at: WallTime) {
    let node = NodeConfig {
        id: NodeId(id(11)),
        name: "a".parse().unwrap(),
        partner: None,
        interconnect: "127.0.0.1:1".to_owned(),
        rest: "127.0.0.1:2".to_owned(),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: "lab-x86_64".parse().unwrap(),
        lifs: vec![],
    };
    let topology = Topology::new(ClusterId(id(9)), "lab".to_owned(), vec![node]).unwrap();
    let events = vec![
        ControlEvent::TopologySet { at, topology },
        ControlEvent::UserSet {
            at,
            user: USER.parse().unwrap(),
            password_hash: hash_password(PASSWORD).unwrap(),
            account: None,
            by: None,
        },
        ControlEvent::KeyTrusted {
            at,
            public_key: key.public().to_pem(),
            key_id: key.public().id().to_string(),
            name: None,
            by: None,
        },
    ];
    let write = Write {
        stream: StreamId::Control,
        expected: Seq(0),
        events: events.into_iter().map(Event::Control).collect(),
    };
    let writer = Writer::new(Arc::clone(record), Arc::new(SeededIds::new(4)));
    writer.append(Fence::None, vec![write]).await.unwrap();
}

#[tokio::test]
async fn a_proven_package_is_in_the_store_and_in_the_catalogue_before_the_answer() {
    let bench = Bench::new().await;
    let package = bench.package("2.0", "content", &bench.key);
    let reply = bench.upload(&package).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(bench.store.list().len(), 1);
    let listed = bench
        .client
        .get("/api/cluster/software/packages/2.0")
        .await
        .json();
    assert_eq!(listed["create_time"].as_str().map(str::len), Some(25));
    let job = reply.json()["job"]["_links"]["self"]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    let job = bench.client.get(&job).await.json();
    assert_eq!(
        job["state"], "running",
        "until the coordinator saw every node have it"
    );
    assert_eq!(job["description"], "POST /api/cluster/software/upload");
    let other = bench.upload(&package).await;
    assert_eq!(other.error().1, "10551382", "one get at a time");
}

#[tokio::test]
async fn a_package_that_is_not_proven_leaves_a_failed_job_and_nothing_else() {
    let bench = Bench::new().await;
    let stranger = bench.package("2.0", "content", &SecretKey::from_seed(&[8; 32]));
    let mut cut = bench.package("2.0", "content", &bench.key);
    cut.truncate(cut.len() / 2);
    for package in [stranger, cut, b"no package at all".to_vec()] {
        let reply = bench.upload(&package).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        assert_eq!(bench.open_operations(), 0);
        assert_eq!(bench.store.list(), []);
        assert!(bench.nothing_is_left_in(&bench.store.dir().join("incoming")));
    }
    let jobs = bench.client.get("/api/cluster/jobs?fields=*").await.json();
    assert_eq!(jobs["num_records"], 3);
    assert_eq!(jobs["records"][0]["state"], "failure");
    assert_eq!(jobs["records"][0]["code"], 10551359);
}

#[tokio::test]
async fn a_node_without_room_is_named_before_the_package_comes() {
    let bench = Bench::new().await;
    *bench.rooms.0.lock().unwrap() = vec![("b".parse().unwrap(), 1000)];
    let package = bench.package("2.0", &"content".repeat(1000), &bench.key);
    let body = [part("file", &package), END.to_vec()].concat();
    let request = crate::support::request(axum::http::Method::POST, "/api/cluster/software/upload")
        .header("content-type", "multipart/form-data; boundary=XX")
        .header("content-length", 1 << 30);
    let reply = bench
        .client
        .send(request.body(Body::from(body)).unwrap())
        .await;
    assert_eq!(reply.error().1, "10551804", "{}", reply.text);
    assert!(reply.text.contains("node \\\"b\\\""), "{}", reply.text);
    let jobs = bench.client.get("/api/cluster/jobs").await.json();
    assert_eq!(jobs["num_records"], 0, "nothing was admitted");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_get() {
    let bench = Bench::new().await;
    let begun = part("file", &bench.package("2.0", "content", &bench.key)[..100]);
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from(begun))]);
    let endless = futures_util::StreamExt::chain(begun, stream::pending());
    let mut upload = Box::pin(bench.client.upload("", Body::from_stream(endless)));
    let mut views = bench.follower.views();
    while bench.open_operations() == 0 {
        assert!(upload.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(upload);
    let ended = views.wait_for(|view| projections::open_operations(view).is_empty());
    drop(
        tokio::time::timeout(Duration::from_secs(60), ended)
            .await
            .unwrap()
            .unwrap(),
    );
    let jobs = bench.client.get("/api/cluster/jobs?fields=*").await.json();
    assert_eq!(jobs["records"][0]["state"], "failure");
}

#[tokio::test]
async fn keys_are_trusted_and_revoked_and_packages_follow() {
    let bench = Bench::new().await;
    let other = SecretKey::from_seed(&[8; 32]);
    let package = bench.package("2.0", "content", &other);
    assert_eq!(bench.upload(&package).await.status, 202);
    assert_eq!(bench.store.list(), []);

    let key = json!({ "public_key": other.public().to_pem(), "name": "next year" });
    let reply = bench
        .client
        .call(Method::POST, "/evenkeel/v1/keys", &key.to_string())
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let id = other.public().id().to_string();
    let trusted = reply.json();
    assert_eq!(trusted["id"], id);
    assert_eq!(trusted["state"], "trusted");
    assert_eq!(trusted["trusted_by"], USER);
    assert_eq!(bench.upload(&package).await.status, 202);
    let entry = bench
        .follower
        .view()
        .catalogue()
        .packages
        .values()
        .next()
        .cloned();
    assert_eq!(entry.unwrap().package.signed_by, Some(id.clone()));

    let path = format!("/evenkeel/v1/keys/{id}");
    for _ in 0..2 {
        let reply = bench.client.delete(&path).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.json()["revoked_by"], USER);
    }
    let again = bench
        .client
        .call(Method::POST, "/evenkeel/v1/keys", &key.to_string())
        .await;
    assert_eq!(again.error().0, 400, "a revoked key stays revoked");
    let keys = bench.client.get("/evenkeel/v1/keys").await.json();
    assert_eq!(keys["num_records"], 2);
    assert_eq!(keys["records"][1]["state"], "revoked");
    let unknown = bench.client.delete("/evenkeel/v1/keys/00").await;
    assert_eq!(
        unknown.error(),
        (404, "4".to_owned(), Some("key_id".to_owned()))
    );
    let garbage = json!({ "public_key": "no key" });
    let garbage = bench
        .client
        .call(Method::POST, "/evenkeel/v1/keys", &garbage.to_string())
        .await;
    assert_eq!(garbage.error().2.as_deref(), Some("public_key"));
}

#[tokio::test]
async fn a_key_that_cannot_be_recorded_is_refused_for_good() {
    let bench = Bench::new().await;
    let key = SecretKey::from_seed(&[8; 32]).public();
    let pem = key.to_pem();
    let padded = format!("{}{pem}", "\n".repeat(70_000));
    let named = |name: &str| json!({ "public_key": pem, "name": name });
    for (body, target) in [
        (named(&"n".repeat(101)), Some("name")),
        (named("next\u{1b}[2Jyear"), Some("name")),
        (named(" "), Some("name")),
        // Longer than an event of the record may be.
        (json!({ "public_key": padded }), None),
    ] {
        let reply = bench
            .client
            .call(Method::POST, "/evenkeel/v1/keys", &body.to_string())
            .await;
        let expected = (400, "262197".to_owned(), target.map(str::to_owned));
        assert_eq!(reply.error(), expected, "{}", reply.text);
        assert!(!reply.text.contains("temporarily"), "{}", reply.text);
    }
    let keys = bench.client.get("/evenkeel/v1/keys").await.json();
    assert_eq!(keys["num_records"], 1);
}

#[tokio::test]
async fn a_package_of_a_revoked_key_is_refused_with_the_reason() {
    let bench = Bench::new().await;
    let id = bench.key.public().id().to_string();
    let path = format!("/evenkeel/v1/keys/{id}");
    bench.client.delete(&path).await;
    bench
        .upload(&bench.package("2.0", "content", &bench.key))
        .await;
    let jobs = bench.client.get("/api/cluster/jobs?fields=*").await.json();
    assert_eq!(jobs["records"][0]["code"], 10551359);
    let why = jobs["records"][0]["message"].as_str().unwrap();
    assert!(why.contains(&id) && why.contains("revoked"), "{why}");
}

#[tokio::test]
async fn retention_is_off_until_it_is_set() {
    let bench = Bench::new().await;
    let path = "/evenkeel/v1/retention";
    assert_eq!(bench.client.get(path).await.json(), json!({ "keep": null }));
    for keep in [json!({ "keep": 2 }), json!({ "keep": null })] {
        let reply = bench
            .client
            .call(Method::PUT, path, &keep.to_string())
            .await;
        assert_eq!(
            (reply.status, reply.json()),
            (axum::http::StatusCode::OK, keep.clone()),
            "{}",
            reply.text
        );
        assert_eq!(bench.client.get(path).await.json(), keep);
    }
    let wrong = bench.client.call(Method::PUT, path, r#"{"keep":-1}"#).await;
    assert_eq!(wrong.status, 400);
}

/// Gives one answer per connection, in turn.
pub(crate) async fn server(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(&answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    format!("http://127.0.0.1:{port}/p.tgz?sig=t0ken")
}

pub(crate) fn answer(head: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

impl Bench {
    pub(crate) async fn download(&self, url: &str) -> crate::support::Reply {
        let body = json!({ "url": url }).to_string();
        let method = axum::http::Method::POST;
        let uri = "/api/cluster/software/download";
        self.client.call(method, uri, &body).await
    }

    /// What `GET .../download` says once the download came so far.
    async fn download_state(&self, until: impl Fn(&projections::DownloadState) -> bool) -> Value {
        let mut views = self.follower.views();
        let so_far = |view: &Arc<evenkeel_record::View>| {
            projections::download(view).is_some_and(|row| until(&row.state))
        };
        let reached = tokio::time::timeout(Duration::from_secs(60), views.wait_for(so_far));
        drop(reached.await.unwrap().unwrap());
        let uri = "/api/cluster/software/download";
        self.client.get(uri).await.json()
    }
}

fn is_failure(state: &projections::DownloadState) -> bool {
    matches!(state, projections::DownloadState::Failure { .. })
}

#[tokio::test]
async fn a_download_that_fails_says_why_in_its_job_and_leaves_nothing() {
    let bench = Bench::new().await;
    let page = b"<html>Log in, t0ken</html>";
    let package = bench.package("2.0", "content", &bench.key);
    let half = &package[..package.len() / 2];
    let stranger = bench.package("2.0", "content", &SecretKey::from_seed(&[8; 32]));
    let html = "200 OK\r\nContent-Type: text/html; charset=utf-8";
    for (answers, code, words) in [
        (
            vec![answer(html, page.len(), page)],
            10551359,
            "a page (HTML or XML), called \"text/html\"",
        ),
        (vec![answer("200 OK", 0, b"")], 10551359, "an empty file"),
        (
            vec![answer("200 OK", stranger.len(), &stranger)],
            10551359,
            "not trusted",
        ),
        (
            vec![answer("404 No", 0, b"")],
            10551381,
            "does not have the file (answer 404)",
        ),
        (
            vec![answer("403 No", 0, b"")],
            10551381,
            "does not allow it (answer 403)",
        ),
        (
            vec![answer("200 OK", package.len(), half); 3],
            10551381,
            "broke off",
        ),
    ] {
        let url = server(answers).await;
        let reply = bench.download(&url).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let job = reply.json()["job"]["_links"]["self"]["href"]
            .as_str()
            .unwrap()
            .to_owned();
        let failed =
            |state: &projections::DownloadState| is_failure(state) && bench.open_operations() == 0;
        let download = bench.download_state(failed).await;
        assert_eq!(
            (&download["state"], &download["code"]),
            (&json!("failure"), &json!(code))
        );
        let job = bench.client.get(&job).await;
        assert_eq!(job.json()["state"], "failure", "{}", job.text);
        assert_eq!(job.json()["message"], download["message"]);
        assert!(
            job.text.replace("\\\"", "\"").contains(words),
            "{words}: {}",
            job.text
        );
        assert!(!job.text.contains("t0ken"), "{}", job.text);
        assert_eq!(bench.store.list(), []);
        assert_eq!(bench.store.partials().unwrap(), []);
    }
}

#[tokio::test]
async fn a_downloaded_package_is_in_the_catalogue_and_one_comes_at_a_time() {
    let bench = Bench::new().await;
    let package = bench.package("2.0", "content", &bench.key);
    let url = server(vec![answer("200 OK", package.len(), &package)]).await;
    assert_eq!(bench.download(&url).await.status, 202);
    let here =
        |state: &projections::DownloadState| *state == projections::DownloadState::Processing;
    let download = bench.download_state(here).await;
    assert_eq!(
        (&download["state"], &download["code"]),
        (&json!("running"), &json!(10551760))
    );
    let message = "Package download completed. Package processing in progress.";
    assert_eq!(download["message"], message);
    let listed = bench.client.get("/api/cluster/software/packages/2.0").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    let second = bench.download(&url).await;
    assert_eq!(second.error().1, "10551382");
    assert!(
        second
            .text
            .contains("Software get operation already in progress")
    );
}

#[tokio::test]
async fn a_package_that_does_not_fit_elsewhere_is_not_fetched() {
    let bench = Bench::new().await;
    *bench.rooms.0.lock().unwrap() = vec![("b".parse().unwrap(), 1000)];
    let url = server(vec![answer("200 OK", 1 << 30, b"")]).await;
    assert_eq!(bench.download(&url).await.status, 202);
    let download = bench.download_state(is_failure).await;
    assert_eq!(download["code"], 10551804);
    let message = download["message"].as_str().unwrap();
    assert!(
        message.contains("on node \"b\": 1073741824 bytes"),
        "{message}"
    );
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_fetched_anew_and_the_record_says_so() {
    let bench = Bench::new().await;
    let old = bench.package("2.0", &"old".repeat(1000), &bench.key);
    let new = bench.package("2.0", &"new".repeat(1000), &bench.key);
    let begun = answer("200 OK\r\nETag: \"old\"", old.len(), &old[..old.len() / 2]);
    let changed = answer("200 OK\r\nETag: \"new\"", new.len(), &new);
    let url = server(vec![begun, changed]).await;
    assert_eq!(bench.download(&url).await.status, 202);
    let here =
        |state: &projections::DownloadState| *state == projections::DownloadState::Processing;
    bench.download_state(here).await;
    let view = bench.follower.view();
    let get = view.operations().next_back().unwrap();
    let remark = get.remark.as_deref();
    assert_eq!(
        remark,
        Some("started over, since the file on the server has changed")
    );
    let job = bench.client.get("/api/cluster/jobs?fields=message").await;
    let message = &job.json()["records"][0]["message"];
    assert_eq!(
        message,
        "Package download completed. Package processing in progress."
    );
}

#[tokio::test]
async fn a_download_that_was_stored_before_its_daemon_died_is_not_fetched_again() {
    let bench = Bench::new().await;
    // Nobody serves it.
    let source = GetSource::download("http://127.0.0.1:1/p.tgz", false);
    let (me, by) = (bench.policy.node.clone(), UserName::new(USER).unwrap());
    let begun = bench.admission.begin_get(me, id(4), source, by, "before");
    let ticket = begun.await.unwrap();
    let policy = bench.policy.at(&bench.follower.view());
    let id = ticket.operation.to_string();
    let begun = bench.store.begin(&id, policy, StageLimits::default());
    let mut staging = begun.unwrap();
    let package = bench.package("2.0", "content", &bench.key);
    staging.write(package.into()).await.unwrap();
    staging.finish().await.unwrap();
    // Nor is it given up because the record is out of reach just then.
    bench.memory.script(NextAppend::Unavailable);
    bench.door.take_up_gets().await.unwrap();
    let ended = |state: &projections::DownloadState| {
        is_failure(state) || *state == projections::DownloadState::Processing
    };
    let download = bench.download_state(ended).await;
    assert_eq!(download["state"], "running", "{download}");
    assert_eq!(
        bench
            .client
            .get("/api/cluster/software/packages/2.0")
            .await
            .status,
        200
    );
}

/// The node says which daemon it runs: what older ones cannot read is refused before.
async fn booted(bench: &Bench) {
    let booted = ControlEvent::NodeBooted {
        at: serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap(),
        node: "a".parse().unwrap(),
        boot_id: BootId(id(1)),
        version: None,
        daemon: "0.1.0".to_owned(),
        machine: MachineId::default(),
    };
    let write = Write {
        stream: StreamId::Control,
        expected: Seq(3),
        events: vec![Event::Control(booted)],
    };
    let record: Arc<dyn Record> = bench.memory.clone();
    let writer = Writer::new(record, Arc::new(SeededIds::new(6)));
    writer.append(Fence::None, vec![write]).await.unwrap();
    bench.follower.refresh().await.unwrap();
}

/// A validation whose checks have run.
async fn validated(bench: &Bench, findings: Vec<Finding>) {
    let at = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let operation = OperationId(id(77));
    let started = ControlEvent::OperationStarted {
        at,
        operation,
        kind: OperationKind::Validation,
    };
    let requested = OperationEvent::Requested {
        at,
        by: USER.parse().unwrap(),
        request: Request::Validate {
            version: "2.0".parse().unwrap(),
        },
    };
    let writes = vec![
        Write {
            stream: StreamId::Control,
            expected: Seq(4),
            events: vec![Event::Control(started)],
        },
        Write {
            stream: StreamId::Operation(operation),
            expected: Seq(0),
            events: vec![
                Event::Operation(requested),
                Event::Operation(OperationEvent::Validated { at, findings }),
            ],
        },
    ];
    let record: Arc<dyn Record> = bench.memory.clone();
    let writer = Writer::new(record, Arc::new(SeededIds::new(5)));
    writer.append(Fence::None, writes).await.unwrap();
    bench.follower.refresh().await.unwrap();
}

#[tokio::test]
async fn warnings_are_acknowledged_one_by_one_and_errors_never() {
    let bench = Bench::new().await;
    let path = "/evenkeel/v1/acknowledgements";
    let post = async |check: &str, reason: &str| {
        let body = json!({ "check": check, "reason": reason }).to_string();
        bench.client.call(Method::POST, path, &body).await
    };
    let mixed = post("NFS mounts", "known").await;
    assert!(mixed.text.contains("different releases"), "{}", mixed.text);
    booted(&bench).await;
    let early = post("NFS mounts", "known").await;
    assert_eq!(early.error().0, 404, "{}", early.text);
    assert!(early.text.contains("gave no warnings"), "{}", early.text);

    let finding = |check: &str, severity, about: &str| Finding {
        check: check.to_owned(),
        severity,
        issue: "look".to_owned(),
        action: "act".to_owned(),
        about: [about.to_owned()].into(),
        acknowledged: None,
    };
    let findings = vec![
        finding("NFS mounts", Severity::Warning, "a soft mount"),
        finding("Running Jobs Status", Severity::Error, "a move"),
    ];
    validated(&bench, findings).await;

    let error = post("Running Jobs Status", "known").await;
    assert_eq!(error.error().0, 400);
    assert!(error.text.contains("errors cannot be acknowledged"));
    let other = post("Manual checks", "known").await;
    assert_eq!(other.error().0, 404);
    assert!(
        other
            .text
            .contains("can be acknowledged: \\\"NFS mounts\\\"")
    );
    for reason in ["", "two\nlines", "x".repeat(301).as_str()] {
        assert_eq!(post("NFS mounts", reason).await.error().0, 400);
    }
    for _ in 0..2 {
        let reply = post("NFS mounts", "a test client").await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        assert_eq!(reply.json()["about"], json!(["a soft mount"]));
    }
    let all = bench.client.get(path).await.json();
    assert_eq!(all["num_records"], 1);
    let known = &all["records"][0];
    assert_eq!(
        (&known["check"], &known["reason"], &known["by"]),
        (&json!("NFS mounts"), &json!("a test client"), &json!(USER))
    );

    let one = format!("{path}/NFS%20mounts");
    assert_eq!(bench.client.delete(&one).await.status, 200);
    assert_eq!(bench.client.delete(&one).await.error().0, 404);
    assert_eq!(bench.client.get(path).await.json()["num_records"], 0);
}
