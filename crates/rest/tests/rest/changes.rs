//! What changes the cluster, and the jobs that answer it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Client, END, Reply, part, request};
use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use evenkeel_model::{Refusal, code};
use futures_util::{FutureExt, stream};

const SOFTWARE: &str = "/api/cluster/software";

fn asked(client: &Client) -> Vec<String> {
    client.fake.edit(|state| std::mem::take(&mut state.asked))
}

#[tokio::test]
async fn an_update_is_accepted_with_a_job_link_in_both_forms() {
    let client = Client::new();
    for accept in ["application/json", "*/*"] {
        let head = request(Method::PATCH, "/api/cluster/software?skip_warnings=True")
            .header("accept", accept)
            .header("content-type", "application/hal+json");
        let body = Body::from(r#"{"version":"9.10.1"}"#);
        let reply = client.send(head.body(body).unwrap()).await;
        assert_eq!(reply.status, 202);
        let job = reply.json()["job"].clone();
        let href = job["_links"]["self"]["href"].as_str().unwrap();
        assert_eq!(
            href,
            format!("/api/cluster/jobs/{}", job["uuid"].as_str().unwrap())
        );
        assert_eq!(client.get(href).await.json()["state"], "running");
    }
    let expected = "admin: update 9.10.1 skip=true stabilize=8 pause=None";
    assert_eq!(asked(&client), [expected; 2]);
}

/// `?validate_only` taken for nothing would have an update begin.
#[tokio::test]
async fn what_is_named_without_a_value_begins_nothing() {
    let client = Client::new();
    for query in [
        "validate_only",
        "validate_only=",
        "estimate_only",
        "action=",
        "nodes_to_update=",
        "validate_only=&validate_only=true",
    ] {
        let uri = format!("{SOFTWARE}?{query}");
        let reply = client.patch(&uri, r#"{"version":"9.10.1"}"#).await;
        assert_eq!(reply.error().0, 400, "{query}: {}", reply.text);
    }
    let blank = r#"{"version":"9.10.1","action":""}"#;
    assert_eq!(client.patch(SOFTWARE, blank).await.error().0, 400);
    assert!(asked(&client).is_empty());
    // What only reads is as tolerant as ever.
    assert_eq!(client.get(&format!("{SOFTWARE}?fields=")).await.status, 200);
}

#[tokio::test]
async fn every_option_is_understood() {
    let client = Client::new();
    let uri = "/api/cluster/software?skip_warnings=False&stabilize_minutes=3\
               &pause_after=takeover_giveback&force_rolling=true&estimate_only=False";
    assert_eq!(
        client.patch(uri, r#"{"version":"9.10.1"}"#).await.status,
        202
    );
    let validate = "/api/cluster/software?validate_only=True";
    assert_eq!(
        client
            .patch(validate, r#"{"version":"9.10.1"}"#)
            .await
            .status,
        202
    );
    for query in [
        "?nodes_to_update=b%2Ca,b&first_pair=b&force_rolling=False",
        "?estimate_only=True",
    ] {
        let reply = client
            .patch(&format!("{SOFTWARE}{query}"), r#"{"version":"9.10.1"}"#)
            .await;
        assert_eq!(reply.status, 202, "{query}: {}", reply.text);
    }
    let expected = [
        "admin: update 9.10.1 skip=false stabilize=3 pause=TakeoverGiveback rolling=true nodes=[] first=-",
        "admin: validate 9.10.1",
        "admin: update 9.10.1 skip=false stabilize=8 pause=None rolling=false nodes=[\"a\", \"b\"] first=b",
        "admin: estimate 9.10.1",
    ];
    assert_eq!(asked(&client), expected);
}

#[tokio::test]
async fn actions_come_in_the_query_or_the_body_with_or_without_a_version() {
    let client = Client::new();
    for (query, body) in [
        ("?action=pause", "{}"),
        ("?action=resume", ""),
        ("?action=cancel", r#"{"version":"9.5.0"}"#),
        ("", r#"{"action":"pause"}"#),
        ("?action=pause", r#"{"action":"pause"}"#),
    ] {
        let reply = client.patch(&format!("{SOFTWARE}{query}"), body).await;
        assert_eq!(reply.status, 202, "{query} {body}: {}", reply.text);
    }
    let expected = ["Pause", "Resume", "Cancel", "Pause", "Pause"].map(|a| format!("admin: {a}"));
    assert_eq!(asked(&client), expected);
}

#[tokio::test]
async fn a_wrong_patch_is_refused_and_changes_nothing() {
    let client = Client::new();
    for (query, body, code, target) in [
        ("", "{}", "10551872", Some("version")),
        ("", "", "10551872", Some("version")),
        (
            "?action=pause",
            r#"{"action":"cancel"}"#,
            "262186",
            Some("action"),
        ),
        ("?action=stop", "{}", "262197", Some("action")),
        ("", r#"{"action":"stop"}"#, "262197", Some("action")),
        (
            "?action=pause&validate_only=true",
            "{}",
            "262186",
            Some("validate_only"),
        ),
        (
            "?stabilize_minutes=61",
            r#"{"version":"9"}"#,
            "262197",
            Some("stabilize_minutes"),
        ),
        (
            "?stabilize_minutes=0",
            r#"{"version":"9"}"#,
            "262197",
            Some("stabilize_minutes"),
        ),
        (
            "?skip_warnings=maybe",
            r#"{"version":"9"}"#,
            "262197",
            Some("skip_warnings"),
        ),
        (
            "?return_timeout=121",
            r#"{"version":"9"}"#,
            "262197",
            Some("return_timeout"),
        ),
        (
            "?skip_warning=true",
            r#"{"version":"9"}"#,
            "262179",
            Some("skip_warning"),
        ),
        (
            "?pause_after=lunch",
            r#"{"version":"9"}"#,
            "262197",
            Some("pause_after"),
        ),
        (
            "?nodes_to_update=a%2C%2Cb",
            r#"{"version":"9"}"#,
            "262197",
            Some("nodes_to_update"),
        ),
        (
            "?estimate_only=true&validate_only=true",
            r#"{"version":"9"}"#,
            "262186",
            Some("estimate_only"),
        ),
        (
            "?action=resume&nodes_to_update=a",
            "{}",
            "262186",
            Some("nodes_to_update"),
        ),
        (
            "?action=pause&force_rolling=True",
            "{}",
            "262186",
            Some("force_rolling"),
        ),
        (
            "?action=cancel&first_pair=a",
            "{}",
            "262186",
            Some("first_pair"),
        ),
        (
            "?action=pause&estimate_only=true",
            "{}",
            "262186",
            Some("estimate_only"),
        ),
        ("", r#"{"version":7}"#, "262197", Some("version")),
        ("", r#"{"version":"a/b"}"#, "262197", Some("version")),
        (
            "",
            r#"{"version":"9","state":"completed"}"#,
            "262196",
            Some("state"),
        ),
        (
            "",
            r#"{"version":"9","nodes.name":"a"}"#,
            "262196",
            Some("nodes"),
        ),
        (
            "",
            r#"{"version":"9","colour":"red"}"#,
            "262203",
            Some("colour"),
        ),
        ("", "[]", "2", None),
        ("", "{", "2", None),
    ] {
        let reply = client.patch(&format!("{SOFTWARE}{query}"), body).await;
        let expected = (400, code.to_owned(), target.map(str::to_owned));
        assert_eq!(reply.error(), expected, "{query} {body}: {}", reply.text);
    }
    assert_eq!(asked(&client), [""; 0]);
}

#[tokio::test]
async fn a_body_has_a_bound() {
    let client = Client::new();
    let body = format!(r#"{{"version":"{}"}}"#, "9".repeat(2 << 20));
    let reply = client.patch(SOFTWARE, &body).await;
    assert_eq!(reply.error(), (413, "990000001".to_owned(), None));
}

#[tokio::test]
async fn the_clusters_refusals_keep_code_and_target() {
    let client = Client::new();
    let refusal = Refusal::new(code::UPDATE_IN_PROGRESS, "wait").about("version");
    client.fake.edit(|state| state.refuse = Some(refusal));
    let reply = client.patch(SOFTWARE, r#"{"version":"9.10.1"}"#).await;
    assert_eq!(
        reply.error(),
        (409, "10551357".to_owned(), Some("version".to_owned()))
    );
}

async fn delete_and_end_job(client: &Client, failure: Option<(u32, &str)>) -> Reply {
    let uri = "/api/cluster/software/packages/9.9.1?return_timeout=30";
    let end = async {
        let job = loop {
            tokio::task::yield_now().await;
            let running =
                |state: &mut crate::support::State| state.jobs.last().map(|j| j.uuid.clone());
            if let Some(job) = client.fake.edit(running) {
                break job;
            }
        };
        client.fake.end_job(&job, failure);
    };
    tokio::join!(client.delete(uri), end).0
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_for_the_job() {
    let reply = delete_and_end_job(&Client::new(), None).await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["job"]["_links"]["self"]["href"].is_string());

    let failure = (
        10551347,
        "Package delete failed since an update is in progress",
    );
    let reply = delete_and_end_job(&Client::new(), Some(failure)).await;
    assert_eq!(reply.error(), (409, "10551347".to_owned(), None));
    assert_eq!(reply.json()["error"]["message"], failure.1);

    let reply = delete_and_end_job(&Client::new(), Some((777, "odd"))).await;
    assert_eq!(
        reply.error(),
        (500, "777".to_owned(), None),
        "unknown codes are kept"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_202_when_the_job_goes_on() {
    let client = Client::new();
    let begin = tokio::time::Instant::now();
    let reply = client
        .delete("/api/cluster/software/packages/9.9.1?return_timeout=30")
        .await;
    assert_eq!(reply.status, 202);
    assert_eq!(begin.elapsed().as_secs(), Duration::from_secs(30).as_secs());
    let reply = client.delete("/api/cluster/software/packages/none").await;
    assert_eq!(reply.error().1, "10551325");
}

#[tokio::test]
async fn a_download_is_accepted_with_a_job_and_its_secrets_are_kept_out_of_sight() {
    let client = Client::new();
    let uri = "/api/cluster/software/download";
    assert_eq!(client.get(uri).await.json()["state"], "not_started");
    let body = r#"{"url":"http://u:s3cret@s/p.tgz?t0ken","username":"u","password":"s3cret"}"#;
    let reply = client.call(Method::POST, uri, body).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert!(reply.json()["job"]["uuid"].is_string());
    assert_eq!(asked(&client), ["admin: get http://s/p.tgz"]);
}

#[tokio::test]
async fn a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets() {
    let client = Client::new();
    let too_long = format!(r#"{{"url":"http://h/s3cret{}"}}"#, "p".repeat(8192));
    for (body, code, target) in [
        ("{}", "262278", "url"),
        (r#"{"url":"s3cret"}"#, "39387137", "url"),
        (r#"{"url":"http://u:s3cret@/p"}"#, "39387137", "url"),
        (too_long.as_str(), "39387137", "url"),
        (r#"{"url":"tftp://u:s3cret@h/p"}"#, "39387138", "url"),
        (r#"{"url":"http://u:s3cret@h/"}"#, "10551885", "url"),
        (
            r#"{"url":"http://h/p","password":"s3cret"}"#,
            "10551885",
            "password",
        ),
        (
            r#"{"url":"http://h/p","password":["s3cret"]}"#,
            "262197",
            "password",
        ),
        (
            r#"{"url":"http://h/p","state":"s3cret"}"#,
            "262196",
            "state",
        ),
        (r#"{"url":"http://h/p","sate":"s3cret"}"#, "262203", "sate"),
    ] {
        let reply = client
            .call(Method::POST, "/api/cluster/software/download", body)
            .await;
        let expected = (400, code.to_owned(), Some(target.to_owned()));
        assert_eq!(reply.error(), expected, "{body}: {}", reply.text);
        assert!(!reply.text.contains("s3cret"), "{}", reply.text);
    }
    assert!(asked(&client).is_empty());
}

/// A body of these parts, with its end.
fn body(parts: &[(&str, &str)]) -> Vec<u8> {
    let parts = parts
        .iter()
        .map(|(name, content)| part(name, content.as_bytes()));
    parts.chain([END.to_vec()]).flatten().collect()
}

#[tokio::test]
async fn an_upload_of_any_size_is_streamed_in() {
    let client = Client::new();
    let content = "x".repeat(5 << 20);
    let reply = client.upload("", body(&[("file", &content)])).await;
    assert_eq!(reply.status, 202);
    let (uploaded, given_up) = client.fake.edit(|state| (state.uploaded, state.given_up));
    assert_eq!((uploaded, given_up), (content.len(), false));
    let job = reply.json()["job"]["_links"]["self"]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(client.get(&job).await.json()["state"], "success");
    let reply = client
        .upload("?return_timeout=5", body(&[("file", "x")]))
        .await;
    assert_eq!(reply.status, 201);
}

#[tokio::test]
async fn an_upload_that_is_not_one_file_leaves_nothing() {
    let client = Client::new();
    for (body, status, code) in [
        (body(&[("file", "x"), ("file", "y")]), 400, "10551807"),
        (body(&[("image", "x")]), 400, "10551807"),
        (body(&[]), 400, "10551807"),
        (body(&[("file", "full disk")]), 500, "10551804"),
        (part("file", b"cut off"), 500, "10551803"),
    ] {
        let reply = client.upload("", body).await;
        assert_eq!(
            (reply.error().0, reply.error().1.as_str()),
            (status, code),
            "{}",
            reply.text
        );
    }
    let reply = client.upload("", body(&[("image", "x")])).await;
    assert!(
        reply.text.contains("its first part is named"),
        "{}",
        reply.text
    );
    let (given_up, packages) = client
        .fake
        .edit(|state| (state.given_up, state.packages.len()));
    assert_eq!((given_up, packages), (true, 3));
    let reply = client
        .call(Method::POST, "/api/cluster/software/upload", "x")
        .await;
    assert_eq!(reply.error(), (400, "10551808".to_owned(), None));
}

#[tokio::test]
async fn a_second_part_gives_the_upload_up_for_its_own_reason() {
    let client = Client::new();
    let both = body(&[("file", "x"), ("file", "y")]);
    assert_eq!(client.upload("", both).await.status, 400);
    let why = client.fake.edit(|state| state.gave_up_for.take());
    assert_eq!(why, Some(10551807), "and the job says so");
}

#[tokio::test]
async fn a_package_that_is_bad_fails_its_job_and_not_the_call() {
    let client = Client::new();
    let bad = || body(&[("file", "bad signature")]);
    let reply = client.upload("", bad()).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let job = reply.json()["job"]["uuid"].as_str().unwrap().to_owned();
    let job = client.get(&format!("/api/cluster/jobs/{job}")).await.json();
    assert_eq!(
        (job["state"].as_str(), job["code"].as_u64()),
        (Some("failure"), Some(10551359))
    );
    let reply = client.upload("?return_timeout=5", bad()).await;
    assert_eq!(
        reply.error().1,
        "10551359",
        "a client that waits is told at once"
    );
}

#[tokio::test]
async fn the_name_of_a_file_has_a_bound() {
    let client = Client::new();
    let long = "x".repeat(256);
    let body = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{long}\"\r\n\r\nx\r\n--XX--\r\n"
    );
    let reply = client.upload("", body).await;
    assert_eq!(reply.error().1, "10551799", "{}", reply.text);
    let uri = format!("/evenkeel/v1/packages?file_name={long}");
    assert_eq!(
        client.call(Method::PUT, &uri, "x").await.error().1,
        "10551799"
    );
    assert_eq!(client.fake.edit(|state| state.admitted), 0);
}

#[tokio::test]
async fn an_archive_may_come_as_it_is() {
    let client = Client::new();
    let uri = "/evenkeel/v1/packages?file_name=image.tgz";
    let reply = client.call(Method::PUT, uri, "an archive").await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert!(reply.json()["job"]["uuid"].is_string());
    assert_eq!(client.fake.edit(|state| state.uploaded), 10);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_its_first_byte() {
    let client = Client::new();
    client.fake.edit(|state| state.room = Some(4));
    for (name, asks_first) in [("POST", true), ("PUT", true), ("PUT", false)] {
        let uri = match name {
            "POST" => "/api/cluster/software/upload",
            _ => "/evenkeel/v1/packages",
        };
        let read = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&read);
        let pieces = stream::once(async move {
            seen.store(true, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(b"12345"))
        });
        let mut request = crate::support::request(name.parse().unwrap(), uri)
            .header("content-type", "multipart/form-data; boundary=XX")
            .header("content-length", 5);
        if asks_first {
            request = request.header("expect", "100-continue");
        }
        let reply = client
            .send(request.body(Body::from_stream(pieces)).unwrap())
            .await;
        assert_eq!(reply.error().1, "10551804", "{}", reply.text);
        let was_read = read.load(Ordering::Relaxed);
        assert_eq!(
            was_read, !asks_first,
            "who has asked first is not made to send"
        );
    }
    assert_eq!(client.fake.edit(|state| state.admitted), 0);
}

#[tokio::test]
async fn an_upload_whose_client_leaves_before_it_is_told_is_given_up() {
    let client = Client::new();
    client.fake.gate.forget_permits(usize::MAX);
    let mut upload = Box::pin(client.upload("", body(&[("file", "x")])));
    while client.fake.edit(|state| state.admitted) == 0 {
        assert!(upload.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(upload);
    client.fake.gate.add_permits(1);
    while !client.fake.edit(|state| state.given_up) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_plan_is_shown_with_the_options_of_an_update_and_nothing_is_asked_for() {
    let client = Client::new();
    let reply = client
        .get("/evenkeel/v1/plan?version=9.11.1&nodes_to_update=a,b&force_rolling=true")
        .await;
    let asked_for = reply.json()["refused"]["message"].to_string();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["version"], "9.11.1");
    assert!(asked_for.contains("force_rolling: true"), "{asked_for}");
    let missing = client.get("/evenkeel/v1/plan").await;
    assert_eq!(missing.error().1, "10551872");
    assert_eq!(asked(&client), [""; 0]);
}

#[tokio::test]
async fn estimates_are_found_by_operation_and_by_job() {
    let client = Client::new();
    let all = client.get("/evenkeel/v1/estimates").await;
    assert_eq!(all.json()["num_records"], 1);
    for key in ["operation", "job"] {
        let one = client.get(&format!("/evenkeel/v1/estimates/{key}")).await;
        assert_eq!(one.status, 200);
        assert_eq!(one.json()["version"], "9.11.1");
    }
    let none = client.get("/evenkeel/v1/estimates/other").await;
    assert_eq!(none.status, 404);
}
