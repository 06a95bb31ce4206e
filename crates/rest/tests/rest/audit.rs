//! Who asked for what.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::{Method, Request};
use evenkeel_api::{Certificate, CertificateSource, Code, NewCertificate};
use evenkeel_model::{AuditRecord, BootId, NodeName, Refusal};
use evenkeel_rest::{Api, AuditLog, Audits, Certificates, Origin, Peer};
use evenkeel_seam::{RandomIds, SeededIds, TokioClock};
use serde_json::{Value, json};

use crate::support::{Client, Fake, PASSWORD, USER};

/// Two nodes, one of which does not answer.
struct Logs(Arc<AuditLog>);

#[async_trait]
impl Audits for Logs {
    async fn newest(&self, most: usize) -> Vec<(NodeName, Option<Vec<AuditRecord>>)> {
        let name = |name: &str| name.parse().unwrap();
        vec![(name("n1"), Some(self.0.newest(most))), (name("n2"), None)]
    }
}

/// A node that takes any certificate.
struct Shown;

#[async_trait]
impl Certificates for Shown {
    fn shown(&self) -> Option<Certificate> {
        Some(Certificate {
            node: "n1".to_owned(),
            source: CertificateSource::Given,
            subject: None,
            issuer: None,
            names: vec![],
            not_before: "2026-01-01T00:00:00+00:00".to_owned(),
            not_after: "2027-01-01T00:00:00+00:00".to_owned(),
            fingerprint_sha256: "0a1b".to_owned(),
            certificate: String::new(),
        })
    }

    async fn replace(self: Arc<Self>, _: NewCertificate) -> Result<(), Refusal> {
        Ok(())
    }
}

fn client(folder: &Path) -> Client {
    let epoch = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let origin = tokio::time::Instant::now();
    let boot = BootId(uuid::Uuid::from_u128(1));
    let clock = Arc::new(TokioClock::new(boot, origin, epoch));
    let log = AuditLog::open(folder, clock, Arc::new(RandomIds)).unwrap();
    let fake = Arc::new(Fake::new());
    let api = Api::new(fake.clone(), fake.clone(), &SeededIds::new(1));
    let all = Arc::new(Logs(Arc::clone(&log)));
    let api = api.with_audit(Some(log), all);
    let router = api.with_certificates(Arc::new(Shown)).router();
    Client { fake, router }
}

fn peer() -> Peer {
    Peer {
        origin: Origin::Address(([192, 0, 2, 7], 40000).into()),
        certificate: None,
    }
}

async fn ask(client: &Client, password: &str, method: Method, uri: &str, body: &str) -> u16 {
    let who = (USER, password);
    let reply = client.call_as(who, peer(), (method, uri), body).await;
    reply.status.as_u16()
}

async fn audit(client: &Client, query: &str) -> Value {
    client
        .get(&format!("/evenkeel/v1/audit{query}"))
        .await
        .json()
}

#[tokio::test]
async fn what_would_change_something_is_noted_with_its_outcome_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    let software = "/api/cluster/software";
    let update = r#"{"version": "9.11.1"}"#;
    let skip = "/api/cluster/software?skip_warnings=true";
    assert_eq!(
        ask(&client, PASSWORD, Method::PATCH, skip, update).await,
        202
    );
    assert_eq!(
        ask(&client, PASSWORD, Method::PATCH, software, "{}").await,
        400
    );
    let get =
        json!({"url": "https://u:s3cret@h/p.tgz?s=s3cret", "username": "u", "password": "s3cret"});
    let download = "/api/cluster/software/download";
    let get = get.to_string();
    let done = ask(&client, PASSWORD, Method::POST, download, &get).await;
    assert!(done == 202 || done == 400, "{done}");
    let password = r#"{"password": "s3cret s3cret"}"#;
    ask(
        &client,
        PASSWORD,
        Method::PATCH,
        "/evenkeel/v1/users/admin",
        password,
    )
    .await;
    assert_eq!(ask(&client, "s3cret", Method::GET, software, "").await, 401);
    assert_eq!(ask(&client, PASSWORD, Method::GET, software, "").await, 200);
    let stranger = Request::builder().uri(software).extension(peer());
    let who = ("s3cret", "x");
    client
        .call_as(who, peer(), (Method::GET, software), "")
        .await;
    client.send(stranger.body("".into()).unwrap()).await;

    let seen = audit(&client, "").await;
    let records = seen["records"].as_array().unwrap();
    let brief: Vec<String> = records
        .iter()
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", text("user"), text("method"), it["status"])
        })
        .collect();
    let expected = [
        "admin PATCH 202",
        "admin PATCH 400",
        &format!("admin POST {done}"),
        "admin PATCH 200",
        "admin GET 401",
        "- GET 401",
    ];
    assert_eq!(brief, expected);
    let first = &records[0];
    assert_eq!(
        first["what"],
        json!({"skip_warnings": "true", "version": "9.11.1"})
    );
    assert_eq!(
        (&first["from"], &first["role"]),
        (&json!("192.0.2.7"), &json!("admin"))
    );
    assert!(first["job"].is_string() && records[1]["code"] == "10551872");
    assert_eq!(records[2]["what"]["url"], "https://h/p.tgz");
    assert_eq!(seen["silent_nodes"], json!(["n2"]));
    assert!(!seen.to_string().contains("s3cret"), "{seen}");
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
    }
    let newest = audit(&client, "?max_records=1").await;
    assert_eq!(newest["num_records"], 1);
    let of_user = audit(&client, "?user=admin&max_records=2").await;
    assert_eq!(of_user["records"][1]["status"], 401);
}

#[tokio::test(start_paused = true)]
async fn what_only_the_answer_tells_is_kept_too() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    let packages = "/api/cluster/software/packages";
    let named = r#"{"records": [{"version": "9.9.1"}, {"version": "gone"}]}"#;
    let delete = |uri: String, body: &'static str| {
        let client = &client;
        async move { ask(client, PASSWORD, Method::DELETE, &uri, body).await }
    };
    assert_eq!(delete(format!("{packages}?version=9.*"), "").await, 202);
    assert_eq!(delete(packages.to_owned(), named).await, 202);
    let one = format!("{packages}/9.9.1?return_timeout=30");
    let failed = async {
        let job = loop {
            let newest = client
                .fake
                .edit(|state| state.jobs.get(2).map(|job| job.uuid.clone()));
            match newest {
                Some(job) => break job,
                None => tokio::task::yield_now().await,
            }
        };
        client.fake.end_job(&job, Some((10551323, "disk")));
        job
    };
    let (status, job) = tokio::join!(delete(one, ""), failed);
    assert_eq!(status, 500);

    let seen = audit(&client, "").await;
    let what = |n: usize| &seen["records"][n]["what"];
    assert_eq!(
        (&what(0)["version"], &what(0)["deleted"]),
        (&json!("9.*"), &json!("9.10.1"))
    );
    assert_eq!(
        (&what(1)["records"], &what(1)["deleted"]),
        (&json!("9.9.1,gone"), &json!("9.9.1"))
    );
    let jobs = client.fake.edit(|state| state.jobs[0].uuid.clone());
    assert_eq!(what(0)["jobs"], jobs);
    assert_eq!(
        seen["records"][2]["job"], job,
        "of a job that failed in time too"
    );
    assert_eq!(seen["records"][2]["code"], "10551323");

    let key = r#"{"public_key": "s3cret by mistake", "name": "builds"}"#;
    let trusted = ask(&client, PASSWORD, Method::POST, "/evenkeel/v1/keys", key).await;
    assert_eq!(trusted, 201);
    let put = (Method::PUT, "/evenkeel/v1/certificate");
    let new = r#"{"certificate": "-----BEGIN", "private_key": "s3cret"}"#;
    assert_eq!(ask(&client, PASSWORD, put.0, put.1, new).await, 200);
    let seen = audit(&client, "").await;
    let what = |n: usize| &seen["records"][n]["what"];
    assert_eq!(*what(3), json!({"name": "builds", "key": "key-1"}));
    assert_eq!(what(4)["fingerprint_sha256"], "0a1b");
    assert!(!seen.to_string().contains("s3cret"), "{seen}");
}

#[tokio::test]
async fn the_log_survives_and_a_request_without_an_end_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let first = client(folder.path());
    ask(
        &first,
        PASSWORD,
        Method::PATCH,
        "/api/cluster/software",
        "{}",
    )
    .await;
    // The daemon was killed between the two lines.
    let file = folder.path().join("requests.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let asked = text.lines().next().unwrap();
    std::fs::write(&file, format!("{asked}\n")).unwrap();
    let again = client(folder.path());
    let seen = audit(&again, "").await;
    assert_eq!(seen["num_records"], 1);
    assert_eq!(seen["records"][0]["is_over"], false);
}

#[tokio::test(start_paused = true)]
async fn strangers_cannot_push_out_what_users_did() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    ask(
        &client,
        PASSWORD,
        Method::PATCH,
        "/api/cluster/software",
        "{}",
    )
    .await;
    let bearer = || {
        Request::builder()
            .uri("/api/cluster")
            .header("authorization", "Bearer x")
            .extension(peer())
    };
    for _ in 0..100 {
        client.send(bearer().body("".into()).unwrap()).await;
    }
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    client.send(bearer().body("".into()).unwrap()).await;
    let seen = audit(&client, "?max_records=1000").await;
    assert_eq!(seen["num_records"], 62);
    assert_eq!(seen["records"][0]["user"], "admin");
    assert_eq!(seen["records"][61]["left_out"], 40);
}

#[tokio::test]
async fn no_certificate_is_taken_from_a_user_whom_the_record_may_not_know_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    let away = Refusal::new(Code::TemporarilyUnavailable.number(), "away");
    client.fake.edit(|state| state.unreachable = Some(away));
    let put = || (Method::PUT, "/evenkeel/v1/certificate");
    let new = r#"{"certificate": "-----BEGIN", "private_key": "s3cret"}"#;
    let refused = client.call_as((USER, PASSWORD), peer(), put(), new).await;
    let expected = (503, Code::TemporarilyUnavailable.number().to_string(), None);
    assert_eq!(refused.error(), expected, "{}", refused.text);
    let root = Peer {
        origin: Origin::Local { uid: 0 },
        certificate: None,
    };
    let request = Request::builder()
        .method(Method::PUT)
        .uri(put().1)
        .extension(root);
    let taken = client.send(request.body(new.into()).unwrap()).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    client.fake.edit(|state| state.unreachable = None);
    assert_eq!(ask(&client, PASSWORD, put().0, put().1, new).await, 200);
}
