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
async fn a_refusal_of_a_later_one_does_not_hide_what_was_begun() {
    let client = Client::new();
    let named = r#"{"records":[{"version":"9.9.1"},{"version":"gone"},{"version":"9.10.1"}]}"#;
    let ended = end_jobs(&client, &[None]);
    let (reply, ()) = tokio::join!(delete(&client, "?return_timeout=30", named), ended);
    assert_eq!(reply.status, 202, "{}", reply.text);
    let answer = reply.json();
    assert_eq!(answer["num_records"], 1);
    assert_eq!(answer["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(answer["error"]["code"], "10551325");
    assert_eq!(asked(&client), ["admin: delete 9.9.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_answers_when_the_last_is_gone() {
    let client = Client::new();
    let all = "?version=9.*&return_timeout=60";
    let ended = end_jobs(&client, &[None, None]);
    let (reply, ()) = tokio::join!(delete(&client, all, ""), ended);
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["num_records"]),
        (200, &2.into())
    );
    let begun = tokio::time::Instant::now();
    let reply = delete(&client, all, "").await;
    assert_eq!(
        (reply.status.as_u16(), begun.elapsed().as_secs()),
        (202, 60)
    );
    assert!(
        reply.json()["_links"]["next"].is_object(),
        "the first goes on"
    );
    let failed = end_jobs(
        &client,
        &[None, None, None, Some((code::CLEANUP_NODE, "disk"))],
    );
    let one = "?version=9.9.1&return_timeout=60";
    let (reply, ()) = tokio::join!(delete(&client, one, ""), failed);
    assert_eq!(reply.status, 202, "its job says why");
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
        ("", r#"{"x":1}"#, "262203"),
        ("?verson=9.9.1", "", "262179"),
        ("?version=*&max_records=1", "", "262179"),
        ("?version=*&order_by=version", "", "262179"),
        ("?version=*&fields=version", "", "262179"),
        ("?version=*&start.index=1", "", "262179"),
        ("?version=*&start.version=9.9.1", "", "262179"),
        ("?version=*&return_timeout=121", "", "262197"),
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

#[tokio::test]
async fn what_refuses_one_refuses_many() {
    let client = Client::new();
    for code in [
        code::STORE_EMPTY,
        code::NO_PACKAGE,
        code::DELETE_DURING_VALIDATION,
        code::DELETE_DURING_UPDATE,
        code::PACKAGE_BEING_DELETED,
        code::SYNC_IN_PROGRESS,
        code::CANNOT_CREATE_TASK,
    ] {
        let refusal = Refusal::new(code, "not now");
        client.fake.edit(|state| state.refuse = Some(refusal));
        let named = r#"{"records":[{"version":"9.9.1"}]}"#;
        assert_eq!(delete(&client, "", named).await.error().1, code.to_string());
    }
    assert!(asked(&client).is_empty());
}

#[tokio::test]
async fn a_body_has_nothing_to_say_of_one() {
    let client = Client::new();
    for (body, code) in [
        (r#"{"version":"9.9.1"}"#, "262196"),
        (r#"{"x":1}"#, "262203"),
    ] {
        let reply = delete(&client, "/9.9.1", body).await;
        assert_eq!(reply.error().1, code);
    }
    assert!(asked(&client).is_empty());
}
