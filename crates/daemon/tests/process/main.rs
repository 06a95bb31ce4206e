//! The real daemon as a process: start, serve, take a package in, end, be killed, come back.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "../common/address.rs"]
mod address;
mod alone;
mod gate_script;
mod helpers;
mod pool;
mod readiness;
mod rescue;
mod sandbox;
mod security;
mod stand;
mod watchdog;

use std::path::Path;

use evenkeel_package_store::{BuildOptions, Compression, Recorded, SecretKey, build};
use stand::Stand;

fn package(dir: &Path, key: &SecretKey, version: &str) -> Vec<u8> {
    let tree = dir.join(format!("tree-{version}"));
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/motd"), version.repeat(10_000)).unwrap();
    let options = BuildOptions {
        name: "test".to_owned(),
        version: version.parse().unwrap(),
        platform: "lab-x86_64".parse().unwrap(),
        variant: None,
        features: vec![],
        source_versions: evenkeel_model::SourceVersions::Any,
        checks: Vec::new(),
        manual_steps: Vec::new(),
        firmware: Vec::new(),
        notes: String::new(),
        recorded: Recorded::default(),
        build_time: None,
        compression: Compression::default(),
    };
    let file = dir.join(format!("{version}.tgz"));
    build(&tree, key, options, &file).unwrap();
    std::fs::read(file).unwrap()
}

#[test]
fn a_package_is_taken_in_once_and_survives_a_kill() {
    let key = SecretKey::generate().unwrap();
    let stand = Stand::new(&key.public().to_pem());
    let bytes = package(&stand.dir, &key, "2.0");
    // The record's folder is missing: the daemon serves, and goes on when it comes.
    let daemon = stand.start();
    let (status, _) = stand.call("GET", "/api/cluster", None);
    assert_ne!(status, 200);
    std::fs::create_dir(stand.dir.join("record")).unwrap();
    stand.until("the node's version", || {
        let (status, software) = stand.call("GET", "/api/cluster/software", None);
        (status == 200 && software["version"] == "1.0").then_some(())
    });
    stand.until("the status text", || {
        stand.was_told("STATUS=coordinator n1").then_some(())
    });

    let mut truncated = bytes.clone();
    truncated.truncate(bytes.len() / 2);
    let (status, answer) = stand.upload(&truncated);
    assert_eq!(status, 202, "{answer}");
    let refused = stand.job(&answer);
    assert_eq!(
        (&refused["state"], &refused["code"]),
        (&"failure".into(), &10551359.into())
    );
    let (status, answer) = stand.upload(&bytes);
    assert!(matches!(status, 201 | 202), "{status} {answer}");
    let job = stand.job(&answer);
    assert_eq!(job["state"], "success", "{job}");

    daemon.kill();
    let daemon = stand.start();
    assert_eq!(
        stand.get("/api/cluster/software/packages")["records"][0]["version"],
        "2.0"
    );
    let uuid = job["uuid"].as_str().unwrap();
    assert_eq!(
        stand.get(&format!("/api/cluster/jobs/{uuid}"))["state"],
        "success"
    );
    let (_, answer) = stand.call("DELETE", "/api/cluster/software/packages/2.0", None);
    assert_eq!(stand.job(&answer)["state"], "success", "{answer}");
    stand.until("the package's end", || {
        std::fs::read_dir(stand.dir.join("data/packages/packages"))
            .unwrap()
            .next()
            .is_none()
            .then_some(())
    });
    assert!(daemon.terminate().success());
    assert!(stand.was_told("STOPPING=1"));
}

#[test]
fn a_package_of_a_stranger_stays_outside() {
    let key = SecretKey::generate().unwrap();
    let stand = Stand::new(&key.public().to_pem());
    std::fs::create_dir(stand.dir.join("record")).unwrap();
    let bytes = package(&stand.dir, &SecretKey::generate().unwrap(), "2.0");
    let daemon = stand.start();
    stand.until("the cluster", || {
        (stand.call("GET", "/api/cluster", None).0 == 200).then_some(())
    });
    let (status, answer) = stand.upload(&bytes);
    assert_eq!(status, 202, "{answer}");
    let refused = stand.job(&answer);
    assert_eq!(refused["error"]["code"], "10551359", "{refused}");
    assert_eq!(
        stand.get("/api/cluster/software/packages")["num_records"],
        0
    );
    let jobs = stand.get("/api/cluster/jobs?fields=*");
    assert_eq!(jobs["records"][0]["state"], "failure", "{jobs}");
    assert!(daemon.terminate().success());
}
