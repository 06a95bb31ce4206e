//! Root on the controller, certificates and files of the real daemon.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use evenkeel_package_store::SecretKey;
use serde_json::{Value, json};

use crate::stand::Stand;

/// What `evenkeel user … --local` does.
pub(crate) fn locally(dir: &Path, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut stream = UnixStream::connect(dir.join("data/local.sock")).unwrap();
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn root_lets_an_admin_in_again_and_certificate_notes_and_modes_outlast_a_kill() {
    let key = SecretKey::generate().unwrap();
    let stand = Stand::new(&key.public().to_pem());
    fs::create_dir(stand.dir.join("record")).unwrap();
    let daemon = stand.start();
    stand.until("the cluster", || {
        (stand.call("GET", "/api/cluster", None).0 == 200).then_some(())
    });
    let lost = json!({"password": "nobody remembers"});
    let admin = "/evenkeel/v1/users/admin";
    let (status, changed) = locally(&stand.dir, "PATCH", admin, &lost);
    assert_eq!(
        (status, &changed["changed_by"]),
        (200, &json!("local-root"))
    );
    assert_eq!(stand.call("GET", "/api/cluster", None).0, 401);
    // The stand knows another one; its own is too short to be set again.
    let second = json!({"name": "second", "role": "admin", "password": "long enough"});
    assert_eq!(
        locally(&stand.dir, "POST", "/evenkeel/v1/users", &second).0,
        201
    );
    let (status, _) = locally(&stand.dir, "PATCH", "/api/cluster/software", &json!({}));
    assert_eq!(status, 403);

    let made = rcgen::generate_simple_self_signed(vec!["given.example".to_owned()]).unwrap();
    let new = json!({
        "certificate": made.cert.pem(),
        "private_key": made.signing_key.serialize_pem(),
    });
    let certificate = "/evenkeel/v1/certificate";
    let (status, shown) = locally(&stand.dir, "PUT", certificate, &new);
    assert_eq!((status, &shown["source"]), (200, &json!("given")));

    let record = stand.dir.join("record/record.db");
    assert_eq!(mode(&record), 0o600);
    daemon.kill();
    fs::set_permissions(&record, Permissions::from_mode(0o644)).unwrap();
    let daemon = stand.start();
    assert_eq!(mode(&record), 0o600);
    let (_, shown) = locally(&stand.dir, "GET", certificate, &json!({}));
    assert_eq!(shown["names"], json!(["given.example"]));
    let audit = stand.until("the cluster", || {
        let (_, audit) = locally(&stand.dir, "GET", "/evenkeel/v1/audit", &json!({}));
        (audit["num_records"].as_u64()? > 0).then_some(audit)
    });
    let records = audit["records"].as_array().unwrap();
    let outcomes: Vec<String> = records
        .iter()
        .map(|it| {
            let path = it["path"].as_str().unwrap_or_default();
            format!(
                "{} {path} {}",
                it["user"].as_str().unwrap_or("-"),
                it["status"]
            )
        })
        .collect();
    let expected = [
        "local-root /evenkeel/v1/users/admin 200",
        "admin /api/cluster 401",
        "local-root /evenkeel/v1/users 201",
        "local-root /api/cluster/software 403",
        "local-root /evenkeel/v1/certificate 200",
    ];
    assert_eq!(outcomes, expected);
    let told = audit.to_string();
    assert!(
        !told.contains("remembers") && !told.contains("PRIVATE"),
        "{told}"
    );
    assert!(daemon.terminate().success());
}

/// Each takes 19 MiB while it is verified. What is kept of that by each thread would be most of what an idle daemon
/// takes.
#[test]
fn wrong_passwords_leave_no_memory_behind() {
    let key = SecretKey::generate().unwrap();
    let stand = Stand::new(&key.public().to_pem());
    fs::create_dir(stand.dir.join("record")).unwrap();
    let daemon = stand.start();
    stand.until("the cluster", || {
        (stand.call("GET", "/api/cluster", None).0 == 200).then_some(())
    });
    let before = daemon.resident_bytes();
    for guess in ["one", "two", "three", "four", "five"] {
        let (status, _) = stand.call_with(guess, "GET", "/api/cluster", None);
        assert_eq!(status, 401);
    }
    let more = daemon.resident_bytes().saturating_sub(before);
    assert!(more < 8 << 20, "{more} bytes more than before");
    assert!(daemon.terminate().success());
}
