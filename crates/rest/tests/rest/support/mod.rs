//! A hand-written cluster for the tests of the front end, and a client without a network.

mod fake;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_rest::{Api, Peer};
use evenkeel_seam::SeededIds;
use serde_json::Value;
use tower::ServiceExt;

pub(crate) use fake::{Fake, PASSWORD, State, USER, admin};

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {:?}", self.text))
    }

    /// Status, code and target of an error.
    pub(crate) fn error(&self) -> (u16, String, Option<String>) {
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty());
        let target = error["target"].as_str().map(str::to_owned);
        (
            self.status.as_u16(),
            error["code"].as_str().unwrap().to_owned(),
            target,
        )
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends requests straight into the router.
pub(crate) struct Client {
    pub(crate) fake: Arc<Fake>,
    pub(crate) router: Router,
}

impl Client {
    pub(crate) fn new() -> Self {
        let fake = Arc::new(Fake::new());
        let router = Api::new(fake.clone(), fake.clone(), &SeededIds::new(1)).router();
        Self { fake, router }
    }

    /// Over another picture; changes still go to a fake.
    pub(crate) fn over(cluster: Arc<dyn evenkeel_rest::Cluster>) -> Self {
        let fake = Arc::new(Fake::new());
        let router = Api::new(cluster, fake.clone(), &SeededIds::new(1)).router();
        Self { fake, router }
    }

    /// With no fake behind it.
    pub(crate) fn real(
        cluster: Arc<dyn evenkeel_rest::Cluster>,
        door: Arc<dyn evenkeel_rest::FrontDoor>,
    ) -> Self {
        let router = Api::new(cluster, door, &SeededIds::new(1)).router();
        Self {
            fake: Arc::new(Fake::new()),
            router,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
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

    /// As another user, from an address.
    pub(crate) async fn call_as(
        &self,
        who: (&str, &str),
        peer: Peer,
        (method, uri): (Method, &str),
        body: &str,
    ) -> Reply {
        let credentials = STANDARD.encode(format!("{}:{}", who.0, who.1));
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Basic {credentials}"))
            .extension(peer);
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    pub(crate) async fn call(&self, method: Method, uri: &str, body: &str) -> Reply {
        let request = request(method, uri).body(Body::from(body.to_owned()));
        self.send(request.unwrap()).await
    }

    /// Posts a multipart body whose boundary is `XX`.
    pub(crate) async fn upload(&self, query: &str, body: impl Into<Body>) -> Reply {
        let head = request(
            Method::POST,
            &format!("/api/cluster/software/upload{query}"),
        );
        let head = head.header("content-type", "multipart/form-data; boundary=XX");
        self.send(head.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Reply {
        self.call(Method::GET, uri, "").await
    }

    pub(crate) async fn patch(&self, uri: &str, body: &str) -> Reply {
        self.call(Method::PATCH, uri, body).await
    }

    pub(crate) async fn delete(&self, uri: &str) -> Reply {
        self.call(Method::DELETE, uri, "{}").await
    }
}

/// The head of a request by the admin.
pub(crate) fn request(method: Method, uri: &str) -> axum::http::request::Builder {
    let credentials = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let authorization = format!("Basic {credentials}");
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", authorization)
}

/// One part of a multipart body whose boundary is `XX`.
pub(crate) fn part(name: &str, content: &[u8]) -> Vec<u8> {
    part_named(name, "image.tgz", content)
}

/// The same, of a file of that name.
pub(crate) fn part_named(name: &str, file: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

/// The end of a multipart body.
pub(crate) const END: &[u8] = b"--XX--\r\n";
