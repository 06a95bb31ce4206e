//! What the cluster's state forbids: each call, each reason, each code, over real admission.

use std::sync::Arc;

use crate::door::{Bench, id};
use crate::support::{Client, END, Reply, USER, part};
use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use evenkeel_model::*;
use evenkeel_record::{Fence, MemoryFaults, NextAppend, Record, Write, Writer};
use evenkeel_seam::SeededIds;
use futures_util::{StreamExt, stream};
use serde_json::json;

/// Writes the record's events by hand.
struct Scribe<'a> {
    bench: &'a Bench,
    writer: Writer,
}

fn now() -> WallTime {
    serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap()
}

fn version() -> Version {
    "2.0".parse().unwrap()
}

impl<'a> Scribe<'a> {
    /// Beside a cluster that has one package.
    async fn new(bench: &'a Bench) -> Self {
        let record: Arc<dyn Record> = bench.memory.clone();
        let writer = Writer::new(record, Arc::new(SeededIds::new(8)));
        let scribe = Self { bench, writer };
        let package = bench.package("2.0", "content", &bench.key);
        assert_eq!(bench.upload(&package).await.status, 202);
        let view = bench.follower.view();
        let get = view.open_operations().next().expect("the get").id;
        scribe.end(get).await;
        scribe
    }

    fn digest(&self) -> Digest {
        let view = self.bench.follower.view();
        *view.catalogue().packages.keys().next().expect("uploaded")
    }

    async fn append(&self, streams: Vec<(StreamId, Vec<Event>)>) {
        let view = self.bench.follower.refresh().await.unwrap();
        let write = |(stream, events)| Write {
            stream,
            expected: view.head(stream),
            events,
        };
        let writes = streams.into_iter().map(write).collect();
        self.writer.append(Fence::None, writes).await.unwrap();
        self.bench.follower.refresh().await.unwrap();
    }

    /// The only node says which daemon it runs: none is older.
    async fn booted(&self) {
        let booted = ControlEvent::NodeBooted {
            at: now(),
            node: "a".parse().unwrap(),
            boot_id: BootId(id(1)),
            version: None,
            daemon: "0.1.0".to_owned(),
            machine: MachineId::default(),
        };
        self.append(vec![(StreamId::Control, vec![Event::Control(booted)])])
            .await;
    }

    async fn operation(&self, operation: OperationId, events: Vec<OperationEvent>) {
        let events = events.into_iter().map(Event::Operation).collect();
        self.append(vec![(StreamId::Operation(operation), events)])
            .await;
    }

    async fn open(&self, request: Request) -> OperationId {
        let operation = OperationId(id(
            100 + u128::from(self.bench.follower.view().head(StreamId::Control).0)
        ));
        let started = ControlEvent::OperationStarted {
            at: now(),
            operation,
            kind: request.kind(),
        };
        let requested = OperationEvent::Requested {
            at: now(),
            by: USER.parse().unwrap(),
            request,
        };
        self.append(vec![
            (StreamId::Control, vec![Event::Control(started)]),
            (
                StreamId::Operation(operation),
                vec![Event::Operation(requested)],
            ),
        ])
        .await;
        operation
    }

    async fn end(&self, operation: OperationId) {
        let end = OperationEnd::Failed {
            code: 1,
            message: "enough".to_owned(),
        };
        let ended = ControlEvent::OperationEnded {
            at: now(),
            operation,
        };
        self.append(vec![
            (
                StreamId::Operation(operation),
                vec![Event::Operation(OperationEvent::ended(now(), end))],
            ),
            (StreamId::Control, vec![Event::Control(ended)]),
        ])
        .await;
    }
}

/// The calls that begin something.
#[derive(Clone, Copy, Debug)]
enum Call {
    Update,
    Validate,
    Delete,
    Download,
    Upload,
}

const CALLS: [Call; 5] = [
    Call::Update,
    Call::Validate,
    Call::Delete,
    Call::Download,
    Call::Upload,
];

async fn make(bench: &Bench, call: Call) -> Reply {
    let software = "/api/cluster/software";
    let wanted = r#"{"version":"2.0"}"#;
    let client = &bench.client;
    match call {
        Call::Update => client.patch(software, wanted).await,
        Call::Validate => {
            let uri = format!("{software}?validate_only=true");
            client.patch(&uri, wanted).await
        }
        Call::Delete => client.delete(&format!("{software}/packages/2.0")).await,
        Call::Download => bench.download("http://127.0.0.1:1/p.tgz").await,
        Call::Upload => bench.upload(b"whatever").await,
    }
}

#[tokio::test]
async fn what_is_under_way_excludes_the_rest() {
    let bench = Bench::new().await;
    let scribe = Scribe::new(&bench).await;
    let (version, digest) = (version(), scribe.digest());
    let get = Request::Get {
        node: "a".parse().unwrap(),
        incarnation: id(5),
        source: GetSource::Upload,
    };
    for (open, codes) in [
        (
            Request::Update(UpdateRequest::new(version.clone())),
            [10551357, 10551357, 10551347, 10551357, 10551357],
        ),
        (
            Request::Validate {
                version: version.clone(),
            },
            [10551656, 10551656, 10551346, 10551656, 10551656],
        ),
        (get, [10551367, 10551367, 10551367, 10551382, 10551382]),
        (
            Request::Delete {
                digest,
                version: version.clone(),
            },
            [10551354; 5],
        ),
    ] {
        let what = open.kind();
        let operation = scribe.open(open).await;
        for (call, code) in CALLS.into_iter().zip(codes) {
            let reply = make(&bench, call).await;
            let found = (reply.error().0, reply.error().1);
            assert_eq!(found, (409, code.to_string()), "{call:?} during {what:?}");
        }
        scribe.end(operation).await;
    }
    let operation = scribe.open(Request::Sync { digest, version }).await;
    for call in [Call::Update, Call::Validate, Call::Delete] {
        assert_eq!(make(&bench, call).await.error().1, "10551367", "{call:?}");
    }
    scribe.end(operation).await;
    assert_eq!(make(&bench, Call::Validate).await.status, 202);
}

async fn act(bench: &Bench, action: &str) -> (u16, String) {
    let uri = format!("/api/cluster/software?action={action}");
    let reply = bench.client.patch(&uri, "{}").await;
    (reply.error().0, reply.error().1)
}

/// An update that can be paused: its plan has nothing in it, and nobody carries it out.
fn planned(digest: Digest) -> OperationEvent {
    let plan = Plan {
        revision: 1,
        target: version(),
        package: digest,
        mode: PlanMode::SingleNode,
        gates: Gates::default(),
        remark: None,
        from: Default::default(),
        steps: Vec::new(),
    };
    OperationEvent::Planned { at: now(), plan }
}

#[tokio::test]
async fn an_action_that_does_not_fit_the_updates_state_is_refused() {
    let bench = Bench::new().await;
    let scribe = Scribe::new(&bench).await;
    let expect = async |state: &str, codes: [Option<u32>; 3]| {
        for (action, code) in ["pause", "resume", "cancel"].into_iter().zip(codes) {
            let Some(code) = code else { continue };
            assert_eq!(
                act(&bench, action).await,
                (409, code.to_string()),
                "{action} when {state}"
            );
        }
    };
    expect(
        "nothing runs",
        [Some(10551300), Some(10551297), Some(10551297)],
    )
    .await;
    let (at, by): (_, UserName) = (now(), USER.parse().unwrap());
    let request = Request::Update(UpdateRequest::new(version()));
    let update = scribe.open(request).await;
    let untimely = [Some(10551910), Some(10551303), Some(10551524)];
    expect("it is validated, and a daemon may be older", untimely).await;
    scribe.booted().await;
    let pause = "/api/cluster/software?action=pause";
    assert_eq!(bench.client.patch(pause, "{}").await.status, 202);
    expect("a pause of its validation is pending", untimely).await;
    let shown = bench.client.get("/api/cluster/software").await.json();
    assert_eq!(shown["state"], "pause_pending");
    scribe.end(update).await;
    let request = Request::Update(UpdateRequest::new(version()));
    let update = scribe.open(request).await;
    let findings = Vec::new();
    let validated = OperationEvent::Validated { at, findings };
    scribe
        .operation(update, vec![validated, planned(scribe.digest())])
        .await;
    expect("it runs", [None, Some(10551303), Some(10551524)]).await;
    let pause = OperationEvent::PauseRequested { at, by: by.clone() };
    scribe.operation(update, vec![pause]).await;
    expect("a pause is pending", untimely).await;
    let point = PausePoint::Install;
    let cause = PauseCause::User { point };
    scribe
        .operation(update, vec![OperationEvent::Paused { at, cause }])
        .await;
    expect("it stands", [Some(10551910), None, None]).await;
    scribe
        .operation(update, vec![OperationEvent::CancelRequested { at, by }])
        .await;
    expect(
        "it is canceled",
        [Some(10551910), Some(10551303), Some(10551306)],
    )
    .await;
}

#[tokio::test]
async fn a_package_that_is_not_there_is_told_from_a_store_without_any() {
    let bench = Bench::new().await;
    let calls = [Call::Update, Call::Validate, Call::Delete];
    for call in calls {
        let (status, code, target) = make(&bench, call).await.error();
        assert_eq!((status, code.as_str()), (404, "10551315"), "{call:?}");
        assert_eq!(target.as_deref(), Some("version"));
    }
    let other = bench.package("1.0", "content", &bench.key);
    assert_eq!(bench.upload(&other).await.status, 202);
    for call in calls {
        let (status, code, _) = make(&bench, call).await.error();
        assert_eq!((status, code.as_str()), (404, "10551325"), "{call:?}");
    }
}

#[tokio::test]
async fn a_validation_looks_at_the_options_that_an_update_would_refuse() {
    let bench = Bench::new().await;
    let _scribe = Scribe::new(&bench).await;
    let patch = async |options: &str| {
        let uri = format!("/api/cluster/software?validate_only=true&{options}");
        bench.client.patch(&uri, r#"{"version":"2.0"}"#).await
    };
    for (options, code, about) in [
        ("nodes_to_update=zz", code::INVALID_VALUE, "nodes_to_update"),
        ("first_pair=zz", code::INVALID_VALUE, "first_pair"),
        ("force_rolling=true", code::NOT_SUPPORTED, "force_rolling"),
    ] {
        let expected = (400, code.to_string(), Some(about.to_owned()));
        assert_eq!(patch(options).await.error(), expected, "{options}");
    }
    assert_eq!(bench.open_operations(), 0);
    assert_eq!(patch("nodes_to_update=a&first_pair=a").await.status, 202);
}

/// Which release the node's daemon is of is known in a moment: what will never be is told before.
#[tokio::test]
async fn an_estimate_that_never_is_possible_is_refused_as_such() {
    let bench = Bench::new().await;
    let _scribe = Scribe::new(&bench).await;
    let estimate = async |options: &str| {
        let uri = format!("/api/cluster/software?estimate_only=true{options}");
        let reply = bench.client.patch(&uri, r#"{"version":"2.0"}"#).await;
        reply.error().1
    };
    assert_eq!(estimate("").await, "10551910");
    assert_eq!(estimate("&force_rolling=true").await, "10551558");
}

#[tokio::test]
async fn without_the_record_nothing_is_begun() {
    let bench = Bench::new().await;
    let _package = Scribe::new(&bench).await;
    let partitioned = true;
    bench.memory.set_faults(MemoryFaults {
        partitioned,
        ..MemoryFaults::default()
    });
    for call in CALLS {
        let reply = make(&bench, call).await;
        let found = (reply.error().0, reply.error().1);
        assert_eq!(found, (503, "10551320".to_owned()), "{call:?}");
        // On these words Ansible asks again.
        assert!(reply.text.contains("temporarily locked"), "{}", reply.text);
    }
    assert_eq!(act(&bench, "pause").await, (503, "10551320".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_outcome_is_lost_is_no_reason_to_ask_again() {
    let bench = Bench::new().await;
    let _package = Scribe::new(&bench).await;
    bench.memory.script(NextAppend::UnknownApplied);
    // More than are tried before it is given up.
    for _ in 0..100 {
        bench.memory.script(NextAppend::Unavailable);
    }
    let reply = make(&bench, Call::Validate).await;
    let expected = (500, code::OUTCOME_UNKNOWN.to_string(), None);
    assert_eq!(reply.error(), expected, "{}", reply.text);
    assert_eq!(reply.header("retry-after"), "");
    assert!(!reply.text.contains("locked"), "{}", reply.text);
    bench.follower.refresh().await.unwrap();
    assert_eq!(bench.open_operations(), 1, "it was accepted");
}

#[tokio::test]
async fn a_cluster_may_take_no_uploads() {
    let bench = Bench::with_uploads(false).await;
    let reply = bench.upload(b"whatever").await;
    assert_eq!(reply.error(), (403, "10551798".to_owned(), None));
    assert_eq!(bench.open_operations(), 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_written_to_says_where() {
    let bench = Bench::new().await;
    let incoming = bench.store.dir().join("incoming");
    std::fs::remove_dir_all(&incoming).unwrap();
    std::fs::write(&incoming, "in the way").unwrap();
    let reply = bench.upload(b"whatever").await;
    assert_eq!(
        (reply.error().0, reply.error().1.as_str()),
        (500, "10551801")
    );
    assert!(reply.text.contains("incoming"), "{}", reply.text);
    assert_eq!(bench.open_operations(), 0, "the get has ended");
}

/// The job of a get that began under an earlier daemon of this node.
async fn taken_up(bench: &Bench, source: GetSource) -> serde_json::Value {
    let (me, by) = ("a".parse().unwrap(), USER.parse().unwrap());
    let begun = bench.admission.begin_get(me, id(4), source, by, "before");
    let job = begun.await.unwrap().job;
    bench.door.take_up_gets().await.unwrap();
    let uri = format!("/api/cluster/jobs/{job}");
    bench.client.get(&uri).await.json()
}

#[tokio::test]
async fn a_get_that_cannot_go_on_after_a_restart_fails_its_job() {
    let bench = Bench::new().await;
    let secret = GetSource::download("http://127.0.0.1:1/p.tgz", true);
    for source in [GetSource::Upload, secret] {
        let job = taken_up(&bench, source).await;
        assert_eq!(
            (&job["state"], &job["code"]),
            (&json!("failure"), &json!(10551391))
        );
        assert!(
            job["message"].as_str().unwrap().contains("restarted"),
            "{job}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_silent_is_given_up() {
    let client = Client::new();
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from(part("file", b"x")))]);
    let body = Body::from_stream(begun.chain(stream::pending()));
    let reply = client.upload("", body).await;
    assert_eq!(reply.error(), (400, "10551373".to_owned(), None));
    assert!(client.fake.edit(|state| state.gave_up_for) == Some(10551373));
    let whole = [part("file", b"x"), END.to_vec()].concat();
    assert_eq!(client.upload("", whole).await.status, 202);
}

#[tokio::test]
async fn nothing_else_is_open_to_the_method() {
    let client = Client::new();
    for (method, uri) in [
        (Method::POST, "/api/cluster/software/packages"),
        (
            Method::DELETE,
            "/api/cluster/jobs/44444444-4444-4444-8444-444444444444",
        ),
        (Method::PATCH, "/api/cluster"),
    ] {
        let reply = client.call(method, uri, "{}").await;
        assert_eq!(reply.error(), (405, "3".to_owned(), None), "{uri}");
    }
}
