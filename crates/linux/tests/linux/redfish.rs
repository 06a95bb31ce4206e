//! Redfish over TLS, against a small server of its own.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use evenkeel_linux::devices::{HttpsRedfish, RedfishError};
use evenkeel_model::{Digest, RedfishSettings};
use evenkeel_platform::devices::{Redfish, RedfishBody, RedfishMethod, RedfishRequest};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server was asked.
#[derive(Debug, Default)]
struct Asked {
    method: String,
    path: String,
    authorization: String,
    kind: String,
    body: Vec<u8>,
}

struct Bmc {
    port: u16,
    /// The certificate, as DER and as PEM.
    der: Vec<u8>,
    pem: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn bmc() -> Bmc {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (der, pem) = (made.cert.der().to_vec(), made.cert.pem());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let seen = seen.clone();
            let service = service_fn(move |request| answer(request, seen.clone()));
            let serving = hyper::server::conn::http1::Builder::new();
            drop(
                serving
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        }
    });
    Bmc {
        port,
        der,
        pem,
        asked,
        task,
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    let mut asked = Asked {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        authorization: header("authorization"),
        kind: header("content-type"),
        body: Vec::new(),
    };
    let path = asked.path.clone();
    asked.body = request.into_body().collect().await?.to_bytes().to_vec();
    seen.lock().unwrap().push(asked);
    let reply = |status: u16, body: String| {
        Response::builder()
            .status(status)
            .body(Full::new(body.into()))
            .unwrap()
    };
    Ok(match path.as_str() {
        "/redfish/v1/Managers" => reply(
            200,
            json!({"Members": [{"@odata.id": "/redfish/v1/Managers/bmc"}]}).to_string(),
        ),
        "/redfish/v1/Managers/bmc" => reply(200, json!({"Model": "AST2600"}).to_string()),
        "/redfish/v1/UpdateService/update-multipart" => {
            let mut reply = reply(202, String::new());
            let task = "https://elsewhere.example/redfish/v1/TaskService/Tasks/7";
            reply
                .headers_mut()
                .insert("location", task.parse().unwrap());
            reply
        }
        _ => reply(503, "<html>not now</html>".to_owned()),
    })
}

fn settings(folder: &Path, port: u16) -> RedfishSettings {
    std::fs::write(folder.join("password"), "s3cret\nsecond line\n").unwrap();
    RedfishSettings {
        url: format!("https://localhost:{port}"),
        user: "evenkeel".to_owned(),
        password_file: folder.join("password"),
        ca: None,
        fingerprint: None,
    }
}

fn fingerprint(bmc: &Bmc) -> Option<Digest> {
    Some(Digest(Sha256::digest(&bmc.der).into()))
}

fn get(path: &str) -> RedfishRequest {
    RedfishRequest {
        method: RedfishMethod::Get,
        path: path.to_owned(),
        body: RedfishBody::None,
    }
}

#[tokio::test]
async fn a_service_processor_is_believed_by_its_fingerprint() {
    let (bmc, folder) = (bmc().await, tempfile::tempdir().unwrap());
    let mut settings = settings(folder.path(), bmc.port);
    settings.fingerprint = fingerprint(&bmc);
    let redfish = HttpsRedfish::new(&settings).unwrap();
    let reply = redfish
        .send(&get("/redfish/v1/Managers/bmc"))
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.body["Model"].as_str()),
        (200, Some("AST2600"))
    );
    {
        let asked = bmc.asked.lock().unwrap();
        // evenkeel:s3cret
        assert_eq!(asked[0].authorization, "Basic ZXZlbmtlZWw6czNjcmV0");
    }
    // An answer that is no JSON is one all the same.
    let reply = redfish.send(&get("/redfish/v1/Nothing")).await.unwrap();
    assert_eq!((reply.status, reply.body.is_null()), (503, true));
}

#[tokio::test]
async fn one_that_is_not_proven_gets_no_password() {
    let (bmc, folder) = (bmc().await, tempfile::tempdir().unwrap());
    let mut settings = settings(folder.path(), bmc.port);
    settings.fingerprint = Some(Digest([7; 32]));
    let redfish = HttpsRedfish::new(&settings).unwrap();
    let error = redfish.send(&get("/redfish/v1")).await.unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains("fingerprint"),
        "{error}"
    );
    assert!(bmc.asked.lock().unwrap().is_empty());
    settings.fingerprint = None;
    assert!(matches!(
        HttpsRedfish::new(&settings),
        Err(RedfishError::NoTrust)
    ));
}

#[tokio::test]
async fn one_that_an_authority_vouches_for_is_believed() {
    let (bmc, folder) = (bmc().await, tempfile::tempdir().unwrap());
    let mut settings = settings(folder.path(), bmc.port);
    std::fs::write(folder.path().join("ca.pem"), &bmc.pem).unwrap();
    settings.ca = Some(folder.path().join("ca.pem"));
    let redfish = HttpsRedfish::new(&settings).unwrap();
    let reply = redfish.send(&get("/redfish/v1/Managers")).await.unwrap();
    assert_eq!(reply.status, 200);
    // The certificate is for another name.
    settings.url = format!("https://127.0.0.1:{}", bmc.port);
    let redfish = HttpsRedfish::new(&settings).unwrap();
    assert!(redfish.send(&get("/redfish/v1/Managers")).await.is_err());
    std::fs::write(folder.path().join("ca.pem"), "nothing").unwrap();
    assert!(matches!(
        HttpsRedfish::new(&settings),
        Err(RedfishError::Pem { .. })
    ));
}

#[tokio::test]
async fn an_image_is_pushed_in_two_parts_and_its_task_is_a_path() {
    let (bmc, folder) = (bmc().await, tempfile::tempdir().unwrap());
    let mut settings = settings(folder.path(), bmc.port);
    settings.fingerprint = fingerprint(&bmc);
    let redfish = HttpsRedfish::new(&settings).unwrap();
    let image: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let push = RedfishRequest {
        method: RedfishMethod::Post,
        // Some name their whole address; whatever host it names, nobody else is sent anything.
        path: "https://elsewhere.example/redfish/v1/UpdateService/update-multipart".to_owned(),
        body: RedfishBody::Multipart {
            parameters: json!({"Targets": ["/redfish/v1/UpdateService/FirmwareInventory/BMC"]}),
            image: Arc::new(image.clone()),
        },
    };
    let reply = redfish.send(&push).await.unwrap();
    assert_eq!(reply.status, 202);
    assert_eq!(
        reply.location.as_deref(),
        Some("/redfish/v1/TaskService/Tasks/7")
    );
    let asked = bmc.asked.lock().unwrap();
    let asked = &asked[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/redfish/v1/UpdateService/update-multipart")
    );
    let boundary = asked
        .kind
        .strip_prefix("multipart/form-data; boundary=")
        .unwrap();
    let parts = split(&asked.body, format!("--{boundary}").as_bytes());
    assert_eq!(parts.len(), 4, "before, two parts, and the end");
    assert!(parts[0].is_empty());
    assert_eq!(parts[3], b"--\r\n");
    let part = |number: usize| {
        let blank = parts[number]
            .windows(4)
            .position(|it| it == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(parts[number][..blank].to_vec()).unwrap();
        (head, &parts[number][blank + 4..parts[number].len() - 2])
    };
    let (head, parameters) = part(1);
    assert!(
        head.contains("name=\"UpdateParameters\"") && head.contains("application/json"),
        "{head}"
    );
    let parameters: serde_json::Value = serde_json::from_slice(parameters).unwrap();
    assert_eq!(
        parameters["Targets"][0],
        "/redfish/v1/UpdateService/FirmwareInventory/BMC"
    );
    let (head, file) = part(2);
    assert!(head.contains("name=\"UpdateFile\""), "{head}");
    assert!(file == image);
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while at + by.len() <= bytes.len() {
        match &bytes[at..at + by.len()] == by {
            true => {
                parts.push(&bytes[from..at]);
                (from, at) = (at + by.len(), at + by.len());
            }
            false => at += 1,
        }
    }
    parts.push(&bytes[from..]);
    parts
}

#[tokio::test]
async fn what_cannot_work_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), 1);
    settings.fingerprint = Some(Digest([7; 32]));
    for url in ["http://bmc", "bmc", "https://bmc/redfish/v1"] {
        settings.url = url.to_owned();
        assert!(
            matches!(HttpsRedfish::new(&settings), Err(RedfishError::Url { .. })),
            "{url}"
        );
    }
    settings.url = "https://127.0.0.1:1".to_owned();
    let redfish = HttpsRedfish::new(&settings).unwrap();
    let error = redfish.send(&get("/redfish/v1")).await.unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains("127.0.0.1:1"),
        "{error}"
    );
    let error = redfish.send(&get("/login")).await.unwrap_err();
    assert!(error.to_string().contains("no path of Redfish"), "{error}");
    std::fs::remove_file(folder.path().join("password")).unwrap();
    let error = redfish.send(&get("/redfish/v1")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the password of the service processor"),
        "{error}"
    );
}
