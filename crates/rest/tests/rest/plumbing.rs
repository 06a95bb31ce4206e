//! What real clients demand of the plumbing, whatever they ask for.

use crate::support::{Client, PASSWORD, USER, admin, request};
use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_api::Code;
use evenkeel_model::Refusal;
use evenkeel_rest::hash_password;
use serde_json::json;

#[tokio::test]
async fn slashes_may_be_doubled_or_trailing() {
    let client = Client::new();
    for uri in [
        "/api//cluster/software/packages?fields=*",
        "//api/cluster//software/packages/",
    ] {
        assert_eq!(client.get(uri).await.json()["num_records"], 3, "{uri}");
    }
    let software = client.get("/api/cluster/software/").await.json();
    assert_eq!(software["_links"]["self"]["href"], "/api/cluster/software");
}

#[tokio::test]
async fn accept_decides_about_links_and_content_type() {
    let client = Client::new();
    let with = async |accept: &str| {
        let head = request(Method::GET, "/api/cluster/software/history?max_records=1");
        client
            .send(head.header("accept", accept).body(Body::empty()).unwrap())
            .await
    };
    for accept in ["*/*", "application/hal+json", "text/html"] {
        let reply = with(accept).await;
        assert_eq!(
            reply.header("content-type"),
            "application/hal+json",
            "{accept}"
        );
        assert!(reply.json()["records"][0]["node"]["_links"]["self"]["href"].is_string());
        assert!(reply.json()["_links"]["self"]["href"].is_string());
    }
    let reply = with("application/json").await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.json()["records"][0]["node"].get("_links"), None);
    assert_eq!(reply.json()["_links"].get("self"), None);
    assert!(reply.json()["_links"]["next"]["href"].is_string());
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let client = Client::new();
    let code = |status: u16, code: &str| (status, code.to_owned(), None);
    assert_eq!(
        client.get("/api/cluster/counter/tables").await.error(),
        code(404, "3")
    );
    assert_eq!(client.get("/").await.error(), code(404, "3"));
    let absent = client
        .get("/api/cluster/jobs/44444444-4444-4444-8444-444444444444")
        .await;
    assert_eq!(
        absent.error(),
        (404, "4".to_owned(), Some("uuid".to_owned()))
    );
    assert_eq!(absent.json()["error"]["message"], "entry doesn't exist");
    assert_eq!(
        client.get("/api/cluster/jobs/nonsense").await.error().1,
        "4"
    );
    let package = client.get("/api/cluster/software/packages/none").await;
    assert_eq!(
        package.error(),
        (404, "4".to_owned(), Some("version".to_owned()))
    );
}

#[tokio::test]
async fn a_mirror_says_its_age_and_never_that_something_does_not_exist() {
    let client = Client::new();
    assert_eq!(client.get("/api/cluster").await.header("age"), "");
    let refusal = Refusal::new(Code::TemporarilyUnavailable.number(), "the record is away");
    client.fake.edit(|state| state.unreachable = Some(refusal));
    let reply = client.get("/api/cluster/software").await;
    assert_eq!((reply.status.as_u16(), reply.header("age")), (200, "7"));
    let absent = client.get("/api/cluster/software/packages/none").await;
    assert_eq!(absent.error(), (503, "990000003".to_owned(), None));
}

#[tokio::test]
async fn other_methods_name_those_that_are_allowed() {
    let client = Client::new();
    let reply = client
        .call(Method::PUT, "/api/cluster/software", "{}")
        .await;
    assert_eq!(reply.status, 405);
    assert_eq!(reply.header("allow"), "GET,HEAD,PATCH");
    let reply = client
        .call(Method::OPTIONS, "/api/cluster/software/packages/9.9.1", "")
        .await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    assert_eq!(reply.header("allow"), "GET,HEAD,DELETE");
    let reply = client.call(Method::HEAD, "/api/cluster/software", "").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
}

#[tokio::test]
async fn collections_and_jobs_have_heads_and_options_too() {
    let client = Client::new();
    let started = client
        .patch("/api/cluster/software?action=pause", "{}")
        .await;
    let uuid = started.json()["job"]["uuid"].as_str().unwrap().to_owned();
    let job = format!("/api/cluster/jobs/{uuid}");
    for (uri, allowed) in [
        ("/api/cluster/jobs", "GET,HEAD"),
        ("/api/cluster/nodes", "GET,HEAD"),
        ("/api/cluster/software/packages", "GET,HEAD,DELETE"),
        ("/api/cluster/software/history", "GET,HEAD"),
        (&job, "GET,HEAD,PATCH"),
    ] {
        let options = client.call(Method::OPTIONS, uri, "").await;
        assert_eq!(
            (options.status.as_u16(), options.text.as_str()),
            (200, ""),
            "{uri}"
        );
        assert_eq!(options.header("allow"), allowed, "{uri}");
        let head = client.call(Method::HEAD, uri, "").await;
        let get = client.get(uri).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{uri}");
        for header in ["content-type", "content-length"] {
            assert_eq!(head.header(header), get.header(header), "{uri}");
        }
    }
    let absent = "/api/cluster/jobs/44444444-4444-4444-8444-444444444444";
    let head = client.call(Method::HEAD, absent, "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (404, ""));
}

#[tokio::test]
async fn odd_targets_are_answered_like_any_unknown_address() {
    let client = Client::new();
    for target in [
        "*",
        "//",
        "/?fields=*",
        "//api//x/%2F//",
        "http://other.host//api//cluster/",
    ] {
        let reply = client.call(Method::OPTIONS, target, "").await;
        let found = target.starts_with("http") && reply.status == 200;
        assert!(
            found || reply.error() == (404, "3".to_owned(), None),
            "{target}: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn keys_are_decoded_as_python_encodes_them_and_links_can_be_followed() {
    let client = Client::new();
    let reply = client
        .get("/api/cluster/software/packages/odd+name%2Bx")
        .await
        .json();
    assert_eq!(reply["version"], "odd name+x");
    let href = reply["_links"]["self"]["href"].as_str().unwrap();
    assert_eq!(client.get(href).await.json(), reply);
}

#[tokio::test]
async fn parameters_of_collections_are_tolerated_on_single_objects() {
    let client = Client::new();
    let query = "?max_records=1024&fields=&return_records=true&return_timeout=15&order_by=version";
    let reply = client.get(&format!("/api/cluster/software{query}")).await;
    assert_eq!(reply.json()["version"], "9.9.1");
    let error = client.get("/api/cluster/software?fields=bogus").await;
    assert_eq!(
        error.error(),
        (400, "262197".to_owned(), Some("fields".to_owned()))
    );
    let error = client.get("/api/cluster/software?verson=9").await;
    assert_eq!(error.error().1, "262179");
    assert_eq!(
        error.json()["error"]["message"],
        "Unexpected argument \"verson\"."
    );
}

#[tokio::test]
async fn the_cluster_announces_the_api_level_as_numbers() {
    let client = Client::new();
    let version = client.get("/api/cluster?fields=version").await.json()["version"].clone();
    let full = "Evenkeel Release 9.10.1: 9.9.1";
    assert_eq!(
        version,
        json!({"full": full, "generation": 9, "major": 10, "minor": 1})
    );
}

async fn with_authorization(client: &Client, value: Option<&str>) -> crate::support::Reply {
    let mut head = Request::builder().uri("/api/cluster");
    if let Some(value) = value {
        head = head.header("authorization", value);
    }
    client.send(head.body(Body::empty()).unwrap()).await
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn only_the_right_password_gets_in() {
    let client = Client::new();
    let good = basic(USER, PASSWORD);
    let spaced = format!("{good} ");
    let lower = good.replacen("Basic", "basic", 1);
    for value in [&good, &spaced, &lower] {
        assert_eq!(
            with_authorization(&client, Some(value)).await.status,
            200,
            "{value:?}"
        );
    }
    let wrong = [
        basic(USER, "wrong"),
        basic("nobody", PASSWORD),
        "Basic ???".to_owned(),
    ];
    for value in wrong
        .iter()
        .map(|v| Some(v.as_str()))
        .chain([None, Some("Bearer x")])
    {
        let reply = with_authorization(&client, value).await;
        assert_eq!(
            reply.error(),
            (401, "6691623".to_owned(), None),
            "{value:?}"
        );
        assert_eq!(reply.json()["error"]["message"], "User is not authorized.");
        assert!(reply.header("www-authenticate").starts_with("Basic realm="));
    }
    let unknown = Request::builder()
        .uri("/no/such/url")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        client.send(unknown).await.status,
        401,
        "urls are not told to strangers"
    );
}

#[tokio::test]
async fn a_changed_or_removed_password_is_forgotten_at_once() {
    let client = Client::new();
    let old = basic(USER, PASSWORD);
    assert_eq!(with_authorization(&client, Some(&old)).await.status, 200);
    let new_hash = hash_password("another").unwrap();
    client
        .fake
        .edit(|state| drop(state.users.insert(USER.parse().unwrap(), admin(new_hash))));
    assert_eq!(with_authorization(&client, Some(&old)).await.status, 401);
    assert_eq!(
        with_authorization(&client, Some(&basic(USER, "another")))
            .await
            .status,
        200
    );
    client.fake.edit(|state| state.users.clear());
    assert_eq!(
        with_authorization(&client, Some(&basic(USER, "another")))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn every_node_is_listed_with_its_transfers_also_one_that_does_not_answer() {
    let client = Client::new();
    let transfers = client.get("/evenkeel/v1/transfers").await.json();
    let expected = json!({"nodes": [
        {"node": "n1", "answers": true, "room_bytes": 5},
        {"node": "n2", "answers": false},
    ]});
    assert_eq!(transfers, expected);
    let asked = client.get("/evenkeel/v1/transfers?colour=blue").await;
    assert_eq!(asked.status, 400);
}
