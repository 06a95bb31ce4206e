//! The API over a real record: what its events say is what a client sees.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, PASSWORD, USER, request};
use axum::http::Method;
use evenkeel_model::*;
use evenkeel_record::{
    Fence, FollowOptions, Follower, MemoryFaults, MemoryHub, MemoryRecord, NoMirror, Write, Writer,
};
use evenkeel_rest::{RecordCluster, hash_password};
use evenkeel_seam::{SeededIds, TokioClock};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Bench {
    record: Arc<MemoryRecord>,
    follower: Arc<Follower>,
    writer: Writer,
    client: Client,
    operation: OperationId,
    job: JobId,
}

fn wall(second: i64) -> WallTime {
    serde_json::from_value(json!(format!("2026-01-01T00:00:{second:02}.25Z"))).unwrap()
}

fn id(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

impl Bench {
    async fn new() -> Self {
        let bench = Self::empty().await;
        bench.begin().await;
        bench
    }

    async fn empty() -> Self {
        let hub = MemoryHub::new();
        let record = Arc::new(hub.client(1));
        let origin = tokio::time::Instant::now();
        let clock = Arc::new(TokioClock::new(BootId(id(1)), origin, wall(30)));
        let writer = Writer::new(Arc::new(hub.client(2)), Arc::new(SeededIds::new(2)));
        let options = FollowOptions::default();
        let follower =
            Follower::start(record.clone(), Arc::new(NoMirror), clock.clone(), options).await;
        let follower = Arc::new(follower);
        let minute = Duration::from_secs(60);
        let cluster = RecordCluster::new(follower.clone(), record.clone(), clock, minute);
        let client = Client::over(Arc::new(cluster));
        let (operation, job) = (OperationId(id(7)), JobId(id(8)));
        Self {
            record,
            follower,
            writer,
            client,
            operation,
            job,
        }
    }

    /// Appends to one stream, and waits until it is seen.
    async fn append(&self, stream: StreamId, events: Vec<Event>) {
        let expected = self.follower.refresh().await.unwrap().head(stream);
        let write = Write {
            stream,
            expected,
            events,
        };
        let position = self.writer.append(Fence::None, vec![write]).await.unwrap();
        self.follower.at_least(position).await.unwrap();
    }

    /// A pair, a user, and nothing going on.
    async fn begin(&self) {
        self.begin_at([None, None]).await;
    }

    /// The same, at these sites.
    async fn begin_at(&self, sites: [Option<&str>; 2]) {
        let config = |own: &str, partner: &str, n| NodeConfig {
            id: NodeId(id(n)),
            name: name(own),
            partner: Some(name(partner)),
            interconnect: "127.0.0.1:1".to_owned(),
            rest: "127.0.0.1:2".to_owned(),
            variant: None,
            features: Vec::new(),
            site: sites[n as usize - 11].map(str::to_owned),
            platform: "lab-x86_64".parse().unwrap(),
            lifs: vec![],
        };
        let nodes = vec![config("a", "b", 11), config("b", "a", 12)];
        let topology = Topology::new(ClusterId(id(9)), "lab".to_owned(), nodes).unwrap();
        let booted = |node| ControlEvent::NodeBooted {
            at: wall(2),
            node: name(node),
            boot_id: BootId(id(3)),
            version: Some("1.0".parse().unwrap()),
            daemon: "0.1.0".to_owned(),
            machine: MachineId {
                serial_number: Some(format!("serial-{node}")),
                system_id: Some(format!("system-{node}")),
            },
        };
        let user = ControlEvent::UserSet {
            at: wall(1),
            user: USER.parse().unwrap(),
            password_hash: hash_password(PASSWORD).unwrap(),
            account: None,
            by: None,
        };
        let events = [
            ControlEvent::TopologySet {
                at: wall(1),
                topology,
            },
            user,
            booted("a"),
        ];
        self.append(StreamId::Control, events.map(Event::Control).into())
            .await;
    }

    /// Admits a validation with its job.
    async fn start_validation(&self) {
        let started = ControlEvent::OperationStarted {
            at: wall(10),
            operation: self.operation,
            kind: OperationKind::Validation,
        };
        self.append(StreamId::Control, vec![Event::Control(started)])
            .await;
        let requested = OperationEvent::Requested {
            at: wall(10),
            by: USER.parse().unwrap(),
            request: Request::Validate {
                version: "2.0".parse().unwrap(),
            },
        };
        let opened = OperationEvent::JobOpened {
            at: wall(10),
            job: self.job,
            description: "PATCH /api/cluster/software?validate_only=true".to_owned(),
        };
        self.append_operation(vec![requested, opened]).await;
    }

    async fn append_operation(&self, events: Vec<OperationEvent>) {
        let events = events.into_iter().map(Event::Operation).collect();
        self.append(StreamId::Operation(self.operation), events)
            .await;
    }

    async fn get(&self, uri: &str) -> Value {
        let reply = self.client.get(uri).await;
        assert_eq!(reply.status, 200, "{uri}: {}", reply.text);
        reply.json()
    }

    fn cut(&self, partitioned: bool) {
        self.record.set_faults(MemoryFaults {
            partitioned,
            ..MemoryFaults::default()
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_cluster_and_its_nodes() {
    let bench = Bench::new().await;
    let cluster = bench.get("/api/cluster").await;
    assert_eq!(
        (&cluster["name"], &cluster["uuid"]),
        (&json!("lab"), &json!(id(9)))
    );
    assert_eq!(cluster["version"]["generation"], 9);
    let nodes = bench.get("/api/cluster/nodes?fields=*").await;
    let partner = &nodes["records"][0]["ha"]["partners"][0];
    assert_eq!(
        (&partner["name"], &partner["uuid"]),
        (&json!("b"), &json!(id(12)))
    );
    let harvest = bench
        .get(
            "/api/cluster/nodes?return_records=true&fields=serial_number,system_id&max_records=500",
        )
        .await;
    let known = &harvest["records"][0];
    assert_eq!(known["serial_number"], "serial-a");
    assert_eq!(known["system_id"], "system-a");
    let unset = bench
        .get("/api/cluster/nodes?fields=service_processor.state,ha")
        .await;
    assert_eq!(unset["records"][0].get("service_processor"), None);
    let images = bench
        .get("/api/cluster/software?fields=nodes.software_images")
        .await;
    assert_eq!(
        images["nodes"][0]["software_images"],
        json!([]),
        "no package came in yet"
    );
    let firmware = bench
        .get("/api/cluster/software?fields=nodes.firmware")
        .await;
    assert_eq!(
        firmware["nodes"],
        json!([]),
        "no device has said what it runs"
    );
    let software = bench.get("/api/cluster/software").await;
    // Node b has not said what it runs; clients fail without a text.
    assert_eq!(software["nodes"][0], json!({"name": "a", "version": "1.0"}));
    assert_eq!(
        software["nodes"][1],
        json!({"name": "b", "version": "unknown"})
    );
    for absent in [
        "state",
        "pending_version",
        "validation_results",
        "update_details",
    ] {
        assert_eq!(software.get(absent), None, "nothing was ever asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_at_one_place_has_no_metrocluster_and_one_at_sites_has_them_all() {
    let plain = Bench::new().await.get("/api/cluster/software").await;
    assert_eq!(plain.get("metrocluster"), None);
    let bench = Bench::empty().await;
    bench.begin_at([Some("north"), Some("south")]).await;
    let block = async || {
        let fields = "/api/cluster/software?fields=metrocluster";
        bench.get(fields).await["metrocluster"].clone()
    };
    let idle = json!({"clusters": [{"name": "north"}, {"name": "south"}]});
    assert_eq!(block().await, idle, "nothing is said of what there was not");
    bench.start_validation().await;
    let site = |name| json!({"name": name, "state": "in_progress", "elapsed_duration": 20, "estimated_duration": 600});
    let expected = json!({
        "clusters": [site("north"), site("south")],
        "progress_summary": {"message": "Validation in progress."},
        "progress_details": {"message": "Pre-update checks on sites \"north\", \"south\"."},
    });
    assert_eq!(block().await, expected);
}

#[tokio::test(start_paused = true)]
async fn before_the_record_was_ever_read_no_one_is_called_a_stranger() {
    let bench = Bench::empty().await;
    let reply = bench.client.get("/api/cluster").await;
    assert_eq!(reply.error().0, 503);
}

#[tokio::test(start_paused = true)]
async fn a_validation_from_its_job_to_its_findings() {
    let bench = Bench::new().await;
    bench.start_validation().await;
    let software = bench.get("/api/cluster/software").await;
    assert_eq!(
        (&software["state"], &software["pending_version"]),
        (&json!("in_progress"), &json!("2.0"))
    );
    assert_eq!(software["update_details"][0]["phase"], "Pre-update checks");
    assert_eq!(software["elapsed_duration"], 20);
    assert_eq!(software.get("validation_results"), None);
    let job_uri = format!("/api/cluster/jobs/{}", bench.job);
    let job = bench.get(&job_uri).await;
    assert_eq!(
        (&job["state"], &job["code"]),
        (&json!("running"), &json!(0))
    );
    assert_eq!(job["start_time"], "2026-01-01T00:00:10+00:00");

    let finding = Finding {
        check: "Manual checks".to_owned(),
        severity: Severity::Warning,
        issue: "look".to_owned(),
        action: "act".to_owned(),
        about: Default::default(),
        acknowledged: None,
    };
    let outcome = JobOutcome::Success {
        message: "success".to_owned(),
    };
    bench
        .append_operation(vec![
            OperationEvent::Validated {
                at: wall(20),
                findings: vec![finding],
            },
            OperationEvent::JobClosed {
                at: wall(20),
                job: bench.job,
                outcome,
            },
        ])
        .await;
    let software = bench
        .get("/api/cluster/software?fields=validation_results")
        .await;
    let expected = json!({
        "update_check": "Manual checks",
        "status": "warning",
        "issue": {"message": "look"},
        "action": {"message": "act"},
    });
    assert_eq!(software["validation_results"], json!([expected]));
    let job = bench.get(&job_uri).await;
    assert_eq!(
        (&job["state"], &job["message"]),
        (&json!("success"), &json!("success"))
    );
    assert_eq!(
        job.get("error"),
        None,
        "an error object means failure to a client"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_has_code_message_and_error() {
    let bench = Bench::new().await;
    bench.start_validation().await;
    let outcome = JobOutcome::Failure {
        code: 10551325,
        message: "no such package".to_owned(),
    };
    let closed = OperationEvent::JobClosed {
        at: wall(20),
        job: bench.job,
        outcome,
    };
    bench.append_operation(vec![closed]).await;
    let jobs = bench.get("/api/cluster/jobs?fields=*&state=failure").await;
    let job = &jobs["records"][0];
    assert_eq!(
        (&job["code"], &job["message"]),
        (&json!(10551325), &json!("no such package"))
    );
    assert_eq!(
        job["error"],
        json!({"message": "no such package", "code": "10551325"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_is_there_for_whoever_reads_the_record_later() {
    let bench = Bench::new().await;
    bench.start_validation().await;
    let message = "success".to_owned();
    let outcome = JobOutcome::Success { message };
    let closed = OperationEvent::JobClosed {
        at: wall(20),
        job: bench.job,
        outcome,
    };
    bench.append_operation(vec![closed]).await;
    let uri = format!("/api/cluster/jobs/{}?fields=*", bench.job);
    let before = bench.get(&uri).await;
    assert_eq!(before["description"], "PATCH /api/cluster/software");
    assert_eq!(before["end_time"], "2026-01-01T00:00:20+00:00");

    // A daemon that starts anew, a year later, and has no mirror.
    let origin = tokio::time::Instant::now();
    let later = serde_json::from_value(json!("2027-01-01T00:00:00Z")).unwrap();
    let clock = Arc::new(TokioClock::new(BootId(id(2)), origin, later));
    let (record, options) = (bench.record.clone(), FollowOptions::default());
    let follower =
        Follower::start(record.clone(), Arc::new(NoMirror), clock.clone(), options).await;
    let minute = Duration::from_secs(60);
    follower.refresh().await.unwrap();
    let cluster = RecordCluster::new(Arc::new(follower), record, clock, minute);
    let reply = Client::over(Arc::new(cluster)).get(&uri).await;
    assert_eq!(reply.json(), before);
}

#[tokio::test(start_paused = true)]
async fn every_open_operation_is_explained_even_without_a_coordinator() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.get("/evenkeel/v1/explain").await["operations"],
        json!([])
    );
    bench.start_validation().await;
    let explain = bench.get("/evenkeel/v1/explain").await;
    let operation = &explain["operations"][0];
    assert_eq!(
        (&operation["kind"], &operation["version"]),
        (&json!("validation"), &json!("2.0"))
    );
    assert_eq!(operation["waiting"][0]["awaiting"], "a coordinator");

    let awaiting = |operation| Awaiting {
        operation,
        node: Some(name("b")),
        what: "observations".to_owned(),
        since: wall(12),
        seen: None,
        remaining: Some(Duration::from_secs(9)),
        unblock: "node b answers".to_owned(),
    };
    let said = vec![awaiting(Some(bench.operation)), awaiting(None)];
    bench.client.fake.edit(|state| state.awaiting = said);
    let explain = bench.get("/evenkeel/v1/explain").await;
    let expected = json!({
        "awaiting": "observations",
        "node": "b",
        "since": "2026-01-01T00:00:12+00:00",
        "until": "2026-01-01T00:00:39+00:00",
        "unblock": "node b answers",
    });
    assert_eq!(explain["operations"][0]["waiting"], json!([expected]));
    assert_eq!(explain["waiting"], json!([expected]));
}

#[tokio::test(start_paused = true)]
async fn events_stream_as_they_happen_and_hide_hashes() {
    let bench = Bench::new().await;
    let all = bench.client.get("/evenkeel/v1/events?follow=false").await;
    assert!(!all.text.contains("argon2"), "{}", all.text);
    let last: Value = serde_json::from_str(all.text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["stream"], &last["event"]["type"]),
        (&json!("control"), &json!("node_booted"))
    );

    let uri = format!("/evenkeel/v1/events?since={}", last["seq"]);
    let request = request(Method::GET, &uri)
        .body(axum::body::Body::empty())
        .unwrap();
    let response = bench.client.router.clone().oneshot(request).await.unwrap();
    let mut lines = response.into_body().into_data_stream();
    bench.start_validation().await;
    let line = lines.next().await.unwrap().unwrap();
    let event: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(event["event"]["type"], "operation_started");
    assert_eq!(event["seq"], last["seq"].as_u64().unwrap() + 1);
    // Whoever follows goes on at a node that the record reaches.
    bench.cut(true);
    let ended = async { while lines.next().await.is_some() {} };
    let within = Duration::from_secs(60);
    assert!(tokio::time::timeout(within, ended).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_the_record_the_mirror_answers_with_its_age() {
    let bench = Bench::new().await;
    bench.cut(true);
    bench.follower.refresh().await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let reply = bench.client.get("/api/cluster/software").await;
    assert_eq!(reply.status, 200);
    let age: u64 = reply.header("age").parse().unwrap();
    assert!((100..160).contains(&age), "{age}");
    let unknown = bench
        .client
        .get(&format!("/api/cluster/jobs/{}", bench.job))
        .await;
    assert_eq!(unknown.error().0, 503, "ignorance is not absence");
    bench.cut(false);
    let unknown = bench
        .client
        .get(&format!("/api/cluster/jobs/{}", bench.job))
        .await;
    assert_eq!(unknown.error().0, 404);
}

#[tokio::test(start_paused = true)]
async fn events_up_to_now_end_with_an_error_where_the_record_is_lost() {
    let bench = Bench::new().await;
    let request = request(Method::GET, "/evenkeel/v1/events?follow=false")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = bench.client.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    bench.cut(true);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX);
    let within = Duration::from_secs(60);
    let ended = tokio::time::timeout(within, body).await.unwrap();
    assert!(
        ended.is_err(),
        "an end would be taken for the end: {ended:?}"
    );
}
