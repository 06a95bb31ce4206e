//! Packages deleted by a condition.

use crate::support::{Client, Reply, request};
use axum::body::Body;
use axum::http::Method;
use evenkeel_model::{Refusal, code};

const PACKAGES: &str = "/api/cluster/software/packages";

fn asked(client: &Client) -> Vec<String> {
    client.fake.edit(|state| std::mem::take(&mut state.asked))
}

async fn delete(client: &Client, query: &str, body: &str) -> Reply {
    let uri = format!("{PACKAGES}{query}");
    client.call(Method::DELETE, &uri, body).await
}

/// Ends the jobs one after another as they are opened: `None` is success.
async fn end_jobs(client: &Client, ends: &[Option<(u32, &str)>]) {
    for (index, end) in ends.iter().enumerate() {
        let job = loop {
            let uuid = client
                .fake
                .edit(|s| s.jobs.get(index).map(|j| j.uuid.clone()));
            match uuid {
                Some(uuid) => break uuid,
                None => tokio::task::yield_now().await,
            }
        };
        client.fake.end_job(&job, *end);
    }
}

#[tokio::test(start_paused = true)]
async fn every_package_that_matches_is_deleted_one_after_another() {
    let client = Client::new();
    let ended = end_jobs(&client, &[None, None]);
    let (reply, ()) = tokio::join!(delete(&client, "?version=9.*", "{}"), ended);
    assert_eq!(reply.status, 202, "{}", reply.text);
    let answer = reply.json();
    assert_eq!(answer["num_records"], 2);
    assert_eq!(
        asked(&client),
        ["admin: delete 9.10.1", "admin: delete 9.9.1"]
    );
    let href = answer["jobs"][1]["_links"]["self"]["href"]
        .as_str()
        .unwrap();
    assert_eq!(client.get(href).await.json()["state"], "success");
    assert_eq!(answer.get("_links"), None);
}

#[tokio::test(start_paused = true)]
async fn links_of_the_jobs_are_there_in_the_plain_form_too() {
    let client = Client::new();
    let head = request(Method::DELETE, &format!("{PACKAGES}?version=9.10.1"));
    let head = head.header("accept", "application/json");
    let reply = client.send(head.body(Body::empty()).unwrap()).await;
    let job = &reply.json()["jobs"][0];
    assert!(job["_links"]["self"]["href"].is_string(), "{}", reply.text);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_a_calls_time_has_a_link() {
    let client = Client::new();
    let reply = delete(&client, "?query=*&query_fields=version", "").await;
    assert_eq!(reply.status, 202);
    let answer = reply.json();
    assert_eq!(
        answer["jobs"].as_array().unwrap().len(),
        1,
        "the first goes on"
    );
    let next = answer["_links"]["next"]["href"].as_str().unwrap();
    assert_eq!(
        next,
        "/api/cluster/software/packages?version=9.9.1%7Codd%20name%2Bx"
    );
    let ended = end_jobs(&client, &[None, None, None]);
    let (rest, ()) = tokio::join!(client.call(Method::DELETE, next, ""), ended);
    assert_eq!(rest.json()["num_records"], 2);
    let all = ["9.10.1", "9.9.1", "odd name+x"].map(|v| format!("admin: delete {v}"));
    assert_eq!(asked(&client), all);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_fails_is_the_last() {
    let client = Client::new();
    let ended = end_jobs(&client, &[Some((code::CLEANUP_NODE, "disk"))]);
    let (reply, ()) = tokio::join!(delete(&client, "?version=*", ""), ended);
    assert_eq!(reply.json()["num_records"], 1, "its job says why");
    assert_eq!(reply.json().get("_links"), None);
    let refusal = Refusal::new(code::DELETE_DURING_UPDATE, "busy");
    client.fake.edit(|state| state.refuse = Some(refusal));
    let reply = delete(&client, "?version=*", "").await;
    assert_eq!(reply.error().1, "10551347");
}

#[tokio::test(start_paused = true)]
async fn packages_may_be_named_in_the_body() {
    let client = Client::new();
    let named = r#"{"records":[{"version":"9.9.1"},{"version":"9.10.1"}]}"#;
    let ended = end_jobs(&client, &[None]);
    let (reply, ()) = tokio::join!(delete(&client, "", named), ended);
    assert_eq!(reply.json()["num_records"], 2);
    assert_eq!(
        asked(&client),
        ["admin: delete 9.9.1", "admin: delete 9.10.1"]
    );
}

#[tokio::test]
async fn nothing_is_deleted_if_a_name_among_them_can_be_no_packages() {
    let client = Client::new();
    let body = r#"{"records": [{"version": "9.9.1"}, {"version": "no/version"}]}"#;
    let reply = delete(&client, "", body).await;
    let (status, code, target) = reply.error();
    assert_eq!((status, code.as_str()), (404, "10551325"));
    assert_eq!(target.as_deref(), Some("version"));
    assert_eq!(asked(&client), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_deleted_without_a_condition() {
    let client = Client::new();
    for (query, body, code) in [
        ("", "{}", "262278"),
        // A script whose variable for the version is empty.
        ("/", "", "262278"),
        ("?version=", "", "262278"),
        ("?return_timeout=30", "", "262278"),
        ("?version=a", r#"{"records":[]}"#, "262186"),
        ("", r#"{"records":[{"name":"x"}]}"#, "262197"),
        ("", r#"{"version":"9.9.1"}"#, "262196"),
        ("?verson=9.9.1", "", "262179"),
    ] {
        let reply = delete(&client, query, body).await;
        assert_eq!(reply.error().1, code, "{query} {body}");
    }
    assert_eq!(
        delete(&client, "?version=none", "").await.json()["num_records"],
        0
    );
    assert!(asked(&client).is_empty());
}
