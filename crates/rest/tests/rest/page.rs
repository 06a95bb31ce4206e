//! The page at `/docs/api`, and what it says of who is let in.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use crate::support::{Client, request};

async fn reply(path: &str, known: &str) -> axum::response::Response {
    use tower::ServiceExt;
    let asked = request(Method::GET, path).header("if-none-match", known);
    let router = Client::new().router;
    router
        .oneshot(asked.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere_and_is_in_no_frame() {
    let page = Client::new().get("/docs/api/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-type").starts_with("text/html"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let policy = page.header("content-security-policy");
    for wanted in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(wanted), "{policy}");
    }
    assert!(!policy.contains("unsafe-eval"), "{policy}");
    assert!(!page.text.contains("http"), "an address of another server");
    assert!(!page.text.contains("<script>"), "a script within the page");
}

#[tokio::test]
async fn every_file_that_the_page_names_is_there_and_is_sent_once() {
    let page = Client::new().get("/docs/api").await.text;
    let files: Vec<_> = page
        .split('"')
        .filter(|text| text.starts_with("/docs/api/"))
        .collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        let first = reply(file, "\"another\"").await;
        assert_eq!(first.status(), StatusCode::OK, "{file}");
        let is_large = file.contains("swagger-ui");
        let encoding = first.headers().get("content-encoding");
        assert_eq!(encoding.is_some(), is_large, "{file}");
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        let again = reply(file, &tag).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{file}");
    }
}

#[tokio::test]
async fn the_document_is_the_one_that_is_generated() {
    let document = Client::new().get("/docs/api/openapi.json").await;
    assert_eq!(document.json(), evenkeel_rest::openapi());
}

#[tokio::test]
async fn nobody_is_let_in_without_credentials_to_what_is_described_nor_to_the_page() {
    let client = Client::new();
    let document = evenkeel_rest::openapi();
    let mut asked = vec![("get".to_owned(), "/docs/api".to_owned())];
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        let methods = item.as_object().unwrap().keys();
        asked.extend(methods.map(|method| (method.clone(), path.clone())));
    }
    for (method, path) in asked {
        let method: Method = method.to_uppercase().parse().unwrap();
        let request = Request::builder().method(&method).uri(&path);
        let reply = client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(
            reply.header("www-authenticate").starts_with("Basic"),
            "{method} {path}"
        );
    }
}
