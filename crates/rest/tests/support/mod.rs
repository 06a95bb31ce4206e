//! A hand-written cluster for the tests of the front end, and a client without a network.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    missing_docs,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

mod fake;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_seam::SeededIds;
use serde_json::Value;
use tower::ServiceExt;

pub use fake::{Fake, PASSWORD, State, USER};

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {:?}", self.text))
    }

    /// Status, code and target of an error.
    pub fn error(&self) -> (u16, String, Option<String>) {
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty());
        let target = error["target"].as_str().map(str::to_owned);
        (
            self.status.as_u16(),
            error["code"].as_str().unwrap().to_owned(),
            target,
        )
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends requests straight into the router.
pub struct Client {
    pub fake: Arc<Fake>,
    pub router: Router,
}

impl Client {
    pub fn new() -> Self {
        let fake = Arc::new(Fake::new());
        let router = evenkeel_rest::router(fake.clone(), fake.clone(), &SeededIds::new(1));
        Self { fake, router }
    }

    /// Over another picture; changes still go to a fake.
    pub fn over(cluster: Arc<dyn evenkeel_rest::Cluster>) -> Self {
        let fake = Arc::new(Fake::new());
        let router = evenkeel_rest::router(cluster, fake.clone(), &SeededIds::new(1));
        Self { fake, router }
    }

    /// With no fake behind it.
    pub fn real(
        cluster: Arc<dyn evenkeel_rest::Cluster>,
        door: Arc<dyn evenkeel_rest::FrontDoor>,
    ) -> Self {
        let router = evenkeel_rest::router(cluster, door, &SeededIds::new(1));
        Self {
            fake: Arc::new(Fake::new()),
            router,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    pub async fn call(&self, method: Method, uri: &str, body: &str) -> Reply {
        let request = request(method, uri).body(Body::from(body.to_owned()));
        self.send(request.unwrap()).await
    }

    /// Posts a multipart body whose boundary is `XX`.
    pub async fn upload(&self, query: &str, body: impl Into<Body>) -> Reply {
        let head = request(
            Method::POST,
            &format!("/api/cluster/software/upload{query}"),
        );
        let head = head.header("content-type", "multipart/form-data; boundary=XX");
        self.send(head.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, uri: &str) -> Reply {
        self.call(Method::GET, uri, "").await
    }

    pub async fn patch(&self, uri: &str, body: &str) -> Reply {
        self.call(Method::PATCH, uri, body).await
    }

    pub async fn delete(&self, uri: &str) -> Reply {
        self.call(Method::DELETE, uri, "{}").await
    }
}

/// The head of a request by the admin.
pub fn request(method: Method, uri: &str) -> axum::http::request::Builder {
    let credentials = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let authorization = format!("Basic {credentials}");
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", authorization)
}

/// One part of a multipart body whose boundary is `XX`.
pub fn part(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"image.tgz\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

/// The end of a multipart body.
pub const END: &[u8] = b"--XX--\r\n";
