//! Users, their roles, and how they are let in.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_api::Code;
use evenkeel_model::{Account, Refusal};
use evenkeel_rest::{Origin, Peer, hash_password};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::door::Bench;
use crate::support::{Client, PASSWORD, Reply, State, USER, admin, request};

const USERS: &str = "/evenkeel/v1/users";
const SECRET: &str = "a good password";

fn from(last: u8) -> Peer {
    Peer {
        origin: Origin::Address(([192, 0, 2, last], 40000).into()),
        certificate: None,
    }
}

async fn create(client: &Client, name: &str, role: &str) -> Reply {
    let body = json!({"name": name, "role": role, "password": SECRET}).to_string();
    client.call(Method::POST, USERS, &body).await
}

async fn send_as(client: &Client, user: &str, method: Method, uri: &str, body: &str) -> Reply {
    let peer = Peer::default();
    client
        .call_as((user, SECRET), peer, (method, uri), body)
        .await
}

#[tokio::test]
async fn a_user_is_made_shown_changed_and_removed_and_its_password_never_told() {
    let client = Bench::new().await.client;
    let made = create(&client, "monitor", "readonly").await;
    assert_eq!(made.status, 201, "{}", made.text);
    let user = made.json();
    assert_eq!(
        (&user["role"], &user["password"]),
        (&json!("readonly"), &json!(true))
    );
    assert_eq!(user["changed_by"], USER);
    assert_eq!(create(&client, "monitor", "admin").await.error().0, 409);
    let uri = format!("{USERS}/monitor");
    let seen = send_as(&client, "monitor", Method::GET, "/api/cluster", "").await;
    assert_eq!(seen.status, 200);
    let body = json!({"role": "stager"}).to_string();
    assert_eq!(client.patch(&uri, &body).await.json()["role"], "stager");
    let listed = client.get(USERS).await;
    assert_eq!(listed.json()["num_records"], 2);
    let events = client.get("/evenkeel/v1/events?follow=false").await;
    for told in [&listed.text, &events.text] {
        assert!(!told.contains("argon2"), "{told}");
    }
    assert!(events.text.contains("\"password_hash\":\"(hidden)\""));
    assert_eq!(client.delete(&uri).await.status, 200);
    let gone = send_as(&client, "monitor", Method::GET, "/api/cluster", "").await;
    assert_eq!(gone.error().0, 401);
    assert_eq!(client.delete(&uri).await.error().0, 404);
}

#[tokio::test]
async fn who_the_users_are_is_told_to_admins_alone() {
    let client = Bench::new().await.client;
    create(&client, "monitor", "readonly").await;
    let events = "/evenkeel/v1/events?follow=false";
    assert!(client.get(events).await.text.contains("user_set"));
    let shown = send_as(&client, "monitor", Method::GET, events, "").await;
    assert_eq!(shown.status, 200);
    assert!(!shown.text.contains("user_set") && shown.text.contains("topology_set"));
}

#[tokio::test]
async fn a_stream_of_events_ends_with_its_user() {
    let client = Bench::new().await.client;
    create(&client, "monitor", "readonly").await;
    let credentials = STANDARD.encode(format!("monitor:{SECRET}"));
    let request =
        Request::get("/evenkeel/v1/events").header("authorization", format!("Basic {credentials}"));
    let stream = client
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap());
    let stream = stream.await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(client.delete(&format!("{USERS}/monitor")).await.status, 200);
    let ended = to_bytes(stream.into_body(), usize::MAX);
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "it goes on");
}

#[tokio::test]
async fn names_that_stand_for_no_user_are_refused() {
    let client = Bench::new().await.client;
    for name in ["local-root", "evenkeel"] {
        let refused = create(&client, name, "admin").await;
        assert_eq!(refused.error().0, 400, "{}", refused.text);
        assert!(refused.text.contains("stands for"), "{}", refused.text);
    }
}

#[tokio::test]
async fn each_role_may_do_its_own_and_no_more() {
    let client = Bench::new().await.client;
    create(&client, "watcher", "readonly").await;
    create(&client, "stager", "stager").await;
    let software = "/api/cluster/software";
    let version = json!({"version": "9.9"}).to_string();
    let download = json!({"url": "http://127.0.0.1:1/p.tgz"}).to_string();
    let waiting = format!("/evenkeel/v1/firmware/{}", "0".repeat(64));
    // What is refused for another reason than the role has passed the role.
    let asks: [(Method, &str, &str, bool); 11] = [
        (
            Method::PATCH,
            "/api/cluster/software?validate_only=true",
            &version,
            true,
        ),
        (
            Method::PATCH,
            "/api/cluster/software?estimate_only=true",
            &version,
            true,
        ),
        (
            Method::POST,
            "/api/cluster/software/download",
            &download,
            true,
        ),
        (Method::PATCH, software, &version, false),
        (
            Method::PATCH,
            "/api/cluster/software?action=pause",
            "{}",
            false,
        ),
        (
            Method::DELETE,
            "/api/cluster/software/packages/9.9",
            "{}",
            false,
        ),
        (
            Method::PUT,
            "/evenkeel/v1/retention",
            r#"{"keep": 1}"#,
            false,
        ),
        (Method::POST, "/evenkeel/v1/keys", "{}", false),
        (
            Method::PATCH,
            "/evenkeel/v1/firmware",
            r#"{"background": false}"#,
            false,
        ),
        (Method::DELETE, &waiting, "{}", false),
        (Method::DELETE, "/evenkeel/v1/users/admin", "{}", false),
    ];
    for (method, uri, body, may_stager) in asks {
        let watcher = send_as(&client, "watcher", method.clone(), uri, body).await;
        assert_eq!(watcher.error().0, 403, "{method} {uri}");
        assert_eq!(watcher.error().1, "6");
        let stager = send_as(&client, "stager", method.clone(), uri, body).await;
        let refused = stager.status == 403;
        assert_eq!(refused, !may_stager, "{method} {uri}: {}", stager.text);
    }
    let own = format!("{USERS}/watcher");
    for uri in [
        software,
        "/evenkeel/v1/explain",
        "/evenkeel/v1/firmware",
        &own,
    ] {
        let seen = send_as(&client, "watcher", Method::GET, uri, "").await;
        assert_eq!(seen.status, 200, "{uri}");
    }
    for uri in [USERS, &format!("{USERS}/admin"), "/evenkeel/v1/audit"] {
        let seen = send_as(&client, "watcher", Method::GET, uri, "").await;
        assert_eq!(seen.error().0, 403, "who there is and who did what: {uri}");
    }
}

#[tokio::test]
async fn everybody_changes_their_own_password_and_nothing_else() {
    let client = Bench::new().await.client;
    create(&client, "watcher", "readonly").await;
    let own = format!("{USERS}/watcher");
    let new = json!({"password": "another password"}).to_string();
    let more = json!({"password": "another password", "role": "admin"}).to_string();
    let refused = send_as(&client, "watcher", Method::PATCH, &own, &more).await;
    assert_eq!(refused.error().0, 403);
    let refused = send_as(
        &client,
        "watcher",
        Method::PATCH,
        "/evenkeel/v1/users/admin",
        &new,
    )
    .await;
    assert_eq!(refused.error().0, 403);
    let done = send_as(&client, "watcher", Method::PATCH, &own, &new).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let old = send_as(&client, "watcher", Method::GET, USERS, "").await;
    assert_eq!(old.error().0, 401, "at once");
}

#[tokio::test]
async fn the_last_admin_stays_and_weak_or_odd_users_are_refused() {
    let client = Bench::new().await.client;
    let admin = format!("{USERS}/{USER}");
    assert_eq!(client.delete(&admin).await.error().1, "8");
    let demoted = client.patch(&admin, r#"{"role": "readonly"}"#).await;
    assert_eq!(demoted.error().0, 409);
    assert_eq!(create(&client, "second", "admin").await.status, 201);
    assert_eq!(create(&client, "second", "readonly").await.error().1, "1");
    assert_eq!(client.delete(&admin).await.status, 200);
    let client = Bench::new().await.client;
    let refused = [
        (
            json!({"name": "x", "role": "root", "password": SECRET}),
            "role",
        ),
        (
            json!({"name": "x y", "role": "admin", "password": SECRET}),
            "name",
        ),
        (
            json!({"name": "local-root", "role": "admin", "password": SECRET}),
            "name",
        ),
        (
            json!({"name": "x", "role": "admin", "password": "short"}),
            "password",
        ),
        (
            json!({"name": "x", "role": "admin", "password": "a\u{7}bcdefghi"}),
            "password",
        ),
    ];
    for (body, target) in refused {
        let reply = client.call(Method::POST, USERS, &body.to_string()).await;
        assert_eq!(reply.error().2.as_deref(), Some(target), "{body}");
    }
    let odd = json!({"name": "x", "role": ["s3cret"], "password": "s3cret"}).to_string();
    let reply = client.call(Method::POST, USERS, &odd).await;
    assert_eq!(reply.status, 400);
    assert!(!reply.text.contains("s3cret"), "{}", reply.text);
}

#[tokio::test]
async fn a_certificate_lets_those_in_who_have_asked_for_it() {
    let client = Bench::new().await.client;
    for (name, certificate) in [("robot", true), ("human", false)] {
        let body = json!({"name": name, "role": "stager", "certificate": certificate});
        let made = client.call(Method::POST, USERS, &body.to_string()).await;
        assert_eq!(made.status, 201);
    }
    let status = async |name: &str| {
        let peer = Peer {
            certificate: Some(name.parse().unwrap()),
            ..from(1)
        };
        let request = Request::builder().uri("/api/cluster").extension(peer);
        client
            .send(request.body(Body::empty()).unwrap())
            .await
            .status
    };
    assert_eq!(status("robot").await, 200);
    assert_eq!(status("human").await, 401);
    assert_eq!(status(USER).await, 401);
    assert_eq!(status("nobody").await, 401);
}

#[tokio::test]
async fn who_was_made_or_changed_on_another_node_a_moment_ago_is_let_in() {
    let client = Client::new();
    let status = async |user: &str, password: &str| {
        let get = (Method::GET, "/api/cluster");
        client
            .call_as((user, password), from(1), get, "")
            .await
            .status
    };
    let unread = |name: &str, certificate| {
        let account = Account {
            certificate,
            ..admin(hash_password(SECRET).unwrap())
        };
        let unread = |state: &mut State| state.unread_users.insert(name.parse().unwrap(), account);
        client.fake.edit(unread);
    };
    unread("new", false);
    assert_eq!(status("new", SECRET).await, 200);
    unread(USER, false);
    assert_eq!(status(USER, SECRET).await, 200);
    assert_eq!(status(USER, PASSWORD).await, 401);
    unread("robot", true);
    let peer = Peer {
        certificate: Some("robot".parse().unwrap()),
        ..from(1)
    };
    let request = Request::builder().uri("/api/cluster").extension(peer);
    let robot = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(robot.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_nobody_does_not_cost_a_look_at_the_record_each_time() {
    let client = Client::new();
    let status = async || {
        let peer = Peer {
            certificate: Some("robot".parse().unwrap()),
            ..from(1)
        };
        let request = Request::builder().uri("/api/cluster").extension(peer);
        let reply = client.send(request.body(Body::empty()).unwrap()).await;
        reply.status
    };
    for _ in 0..100 {
        assert_eq!(status().await, 401);
    }
    assert_eq!(client.fake.edit(|state| state.refreshed), 1);
    let account = Account {
        certificate: true,
        ..admin(hash_password(SECRET).unwrap())
    };
    let made = |state: &mut State| state.unread_users.insert("robot".parse().unwrap(), account);
    client.fake.edit(made);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(status().await, 200);
}

#[tokio::test]
async fn a_record_out_of_reach_does_not_change_who_is_let_in() {
    let client = Client::new();
    client.fake.edit(|state| {
        state.unread_users.insert(
            "new".parse().unwrap(),
            admin(hash_password(SECRET).unwrap()),
        );
        state.unreachable = Some(Refusal::new(Code::TemporarilyUnavailable.number(), "away"));
    });
    let get = || (Method::GET, "/api/cluster");
    let new = client.call_as(("new", SECRET), from(1), get(), "").await;
    assert_eq!(new.status, 401);
    let known = client.call_as((USER, PASSWORD), from(1), get(), "").await;
    assert_eq!(known.status, 200);
}

#[tokio::test]
async fn a_user_made_on_another_node_is_looked_up_in_the_record_before_it_is_not_there() {
    let client = Client::new();
    let away = Refusal::new(Code::TemporarilyUnavailable.number(), "away");
    client.fake.edit(|state| {
        let account = admin(hash_password(SECRET).unwrap());
        state.unread_users.insert("new".parse().unwrap(), account);
        state.unreachable = Some(away);
    });
    let uri = format!("{USERS}/new");
    assert_eq!(client.get(&uri).await.error().0, 503);
    client.fake.edit(|state| state.unreachable = None);
    let seen = client.get(&uri).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    assert_eq!(seen.json()["name"], "new");
    let other = client.get(&format!("{USERS}/other")).await;
    assert_eq!(
        other.error(),
        (404, "4".to_owned(), Some("name".to_owned()))
    );
}

#[tokio::test]
async fn root_on_a_controller_makes_users_and_nothing_else() {
    let client = Bench::new().await.client;
    let send = async |method: Method, uri: &str, body: Value| {
        let peer = Peer {
            origin: Origin::Local { uid: 0 },
            certificate: None,
        };
        let request = Request::builder().method(method).uri(uri).extension(peer);
        client
            .send(request.body(Body::from(body.to_string())).unwrap())
            .await
    };
    let new = json!({"password": "found again"});
    let reset = send(Method::PATCH, "/evenkeel/v1/users/admin", new).await;
    assert_eq!(reset.status, 200, "{}", reset.text);
    assert_eq!(reset.json()["changed_by"], "local-root");
    let peer = from(1);
    let seen = client
        .call_as((USER, "found again"), peer, (Method::GET, USERS), "")
        .await;
    assert_eq!(seen.status, 200);
    let update = json!({"version": "2"});
    let refused = send(Method::PATCH, "/api/cluster/software", update).await;
    assert_eq!(refused.error().0, 403);
}

#[tokio::test(start_paused = true)]
async fn guessing_is_slowed_where_it_comes_from_and_locks_nobody_out() {
    let client = Client::new();
    let get = (Method::GET, "/api/cluster");
    let good = async |last| {
        let begun = Instant::now();
        let reply = client
            .call_as((USER, PASSWORD), from(last), get.clone(), "")
            .await;
        assert_eq!(reply.status, 200);
        begun.elapsed()
    };
    good(1).await;
    let begun = Instant::now();
    for n in 0..8 {
        let wrong = format!("guess {n}");
        let reply = client
            .call_as((USER, &wrong), from(2), get.clone(), "")
            .await;
        assert_eq!(reply.error().0, 401);
    }
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(good(1).await, Duration::ZERO, "remembered");
    assert!(good(3).await < Duration::from_millis(1), "from elsewhere");
    let many = (0..50).map(|n| {
        let (client, get) = (&client, get.clone());
        async move {
            let wrong = format!("many {n}");
            let reply = client.call_as((USER, &wrong), from(2), get, "").await;
            reply.status.as_u16()
        }
    });
    let statuses = futures_util::future::join_all(many).await;
    assert!(statuses.contains(&503), "not looked at: {statuses:?}");
    let reply = client
        .call_as((USER, PASSWORD), from(2), get.clone(), "")
        .await;
    assert!(
        [200, 503].contains(&reply.status.as_u16()),
        "{}",
        reply.text
    );
}

#[tokio::test]
async fn one_user_leaves_requests_to_others() {
    let client = Client::new();
    let other = admin(hash_password(SECRET).unwrap());
    client
        .fake
        .edit(|state| state.users.insert("other".parse().unwrap(), other));
    let follow = || {
        let request = request(Method::GET, "/evenkeel/v1/events").body(Body::empty());
        client.router.clone().oneshot(request.unwrap())
    };
    let mut streams = Vec::new();
    let refused = loop {
        let response = follow().await.unwrap();
        match response.status().as_u16() {
            200 => streams.push(response),
            _ => break response,
        }
        assert!(streams.len() < 1000);
    };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "2");
    let seen = send_as(&client, "other", Method::GET, "/api/cluster", "").await;
    assert_eq!(seen.status, 200);
    streams.pop();
    assert_eq!(client.get("/api/cluster").await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_a_browsers_credentials() {
    let client = Client::new();
    let uri = "/api/cluster/software?action=pause";
    let ask = async |headers: &[(&str, &str)]| {
        let head = request(Method::PATCH, uri).header("host", "cluster:8443");
        let head = headers
            .iter()
            .fold(head, |head, (k, v)| head.header(*k, *v));
        client.send(head.body("{}".into()).unwrap()).await
    };
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "https://cluster:8443"),
        ],
    ] {
        assert_eq!(ask(headers).await.error().1, "6", "{headers:?}");
    }
    assert_eq!(client.fake.edit(|state| state.asked.len()), 0);
    let own = [
        ("origin", "https://cluster:8443"),
        ("sec-fetch-site", "same-origin"),
    ];
    for headers in [&own[..], &[]] {
        assert_eq!(ask(headers).await.status, 202, "{headers:?}");
    }
}
