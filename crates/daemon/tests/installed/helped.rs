//! What the daemon's helpers do, each in the unit that systemd starts for a connection.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use evenkeel_model::SourceVersions;
use evenkeel_package_store::{BuildOptions, Compression, Owners, Recorded, SecretKey, build};
use serde_json::{Value, json};

use crate::container::Container;

/// Asks at one of the sockets, and gives the last line of the answer.
fn ask(host: &Container, socket: &str, job: &Value) -> Value {
    let path = host.inside(&format!("/run/evenkeel/{socket}"));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    writeln!(stream, "{job}").unwrap();
    let mut said = BufReader::new(stream);
    let mut last = Value::Null;
    let mut line = String::new();
    while last.is_null() || last["told"] == "progress" {
        line.clear();
        assert_ne!(
            said.read_line(&mut line).unwrap(),
            0,
            "{socket} says nothing"
        );
        last = serde_json::from_str(&line).unwrap();
    }
    println!("    {socket}: {last}");
    said.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    said.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    last
}

pub(crate) fn by_its_units(host: &Container) {
    runs_a_check(host);
    runs_the_gate_script(host);
    writes_a_slot(host);
    host.until("the helpers are gone", || {
        let (_, units) = host.tries("systemctl list-units --plain --no-legend 'evenkeel-*@*'");
        units.trim().is_empty().then_some(())
    });
}

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// It is nobody, has no capability, sees no network and nothing of the node.
fn runs_a_check(host: &Container) {
    let folder = host.root.join("var/lib/evenkeel/checks");
    let looks = r#"
        say() { printf '{"status":"warning","issue":"%s","action":"none"}\n' "$*"; }
        say "$(id -u)"; say "$(ls / | tr '\n' ' ')"; say "$(ls /etc | tr '\n' ' ')"
        read -r line; say "told $line" | tr -d '{}' >/dev/null; echo >/tmp/own && say "wrote"
        echo >/package/x || say "read-only"
    "#;
    script(&folder.join("files/checks/check"), looks);
    fs::create_dir_all(folder.join("root")).unwrap();
    let job = json!({
        "check": "checks/check",
        "files": "/var/lib/evenkeel/checks/files",
        "root": "/var/lib/evenkeel/checks/root",
        "within_ms": 30_000,
        "input": "{}\n",
    });
    let end = ask(host, "check.sock", &job);
    assert_eq!(end["ended"], "ran", "{end}");
    let said: Vec<&str> = end["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["issue"].as_str().unwrap())
        .collect();
    assert_ne!(said[0], "0", "{said:?}");
    assert!(
        !said[1].contains("var") && said[1].contains("package"),
        "{said:?}"
    );
    assert!(!said[2].contains("evenkeel"), "{said:?}");
    assert_eq!(said[3..], ["wrote", "read-only"]);
}

fn runs_the_gate_script(host: &Container) {
    let path = host.root.join("var/lib/gate");
    script(&path, "echo \"$EVENKEEL_NODE is not ready\"; exit 75\n");
    let job = json!({
        "script": "/var/lib/gate",
        "within_ms": 30_000,
        "environment": { "PATH": "/usr/bin:/bin", "EVENKEEL_NODE": "n1" },
    });
    let answer = ask(host, "script.sock", &job);
    assert_eq!(answer, json!({ "not_yet": "n1 is not ready" }));
    fs::remove_file(path).unwrap();
}

/// With owners and a setuid bit, as a system's own tree has them.
fn writes_a_slot(host: &Container) {
    let folder = host.root.join("var/lib/staged");
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::write(tree.join("bin/tool"), "a tool").unwrap();
    fs::set_permissions(tree.join("bin/tool"), Permissions::from_mode(0o4755)).unwrap();
    fs::write(tree.join("data"), "someone's").unwrap();
    chown(tree.join("data"), Some(1234), Some(1234)).unwrap();
    let key = SecretKey::from_seed(&[7; 32]);
    let options = BuildOptions {
        name: "test".to_owned(),
        version: "2.0".parse().unwrap(),
        platform: "lab-x86_64".parse().unwrap(),
        variant: None,
        features: vec![],
        source_versions: SourceVersions::Any,
        checks: Vec::new(),
        manual_steps: Vec::new(),
        firmware: Vec::new(),
        notes: String::new(),
        recorded: Recorded {
            owners: Owners::AsInTree,
            ..Recorded::default()
        },
        build_time: None,
        compression: Compression::default(),
    };
    let built = build(&tree, &key, options, &folder.join("2.0.tgz")).unwrap();
    let job = json!({
        "archive": "/var/lib/staged/2.0.tgz",
        "package": built.manifest_digest,
        "slot": "/slots/b",
        "running": "/slots/a",
        "demands": {
            "trusted": [key.public().to_pem()],
            "revoked": [],
            "hardware": null,
            "max_unpacked_bytes": 1 << 30,
            "allow_unsigned": false,
        },
    });
    let told = ask(host, "slot.sock", &job);
    assert_eq!(told["told"], "written", "{told}");
    let tool = fs::metadata(host.root.join("slots/b/bin/tool")).unwrap();
    assert_eq!(tool.mode() & 0o7777, 0o4755);
    let data = fs::metadata(host.root.join("slots/b/data")).unwrap();
    assert_eq!((data.uid(), data.gid()), (1234, 1234));
    fs::remove_dir_all(folder).unwrap();
}
