//! Who may do what, how they are let in, and what is noted of them: on a cluster of two nodes, as people type it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use evenkeel_lab::LabFile;

use crate::harness::{Lab, evenkeel};

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn a_certificate_is_shown_and_replaced_and_verified_unless_somebody_insists() {
    let lab = Lab::up(2);
    let file = LabFile::read(&lab.dir).unwrap();
    let ca = lab.dir.join(&file.ca);
    let password = lab.dir.join("password");
    fs::write(&password, format!("{}\n", file.password)).unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let first = &file.nodes[0];
    let ask = |trust: &[&str], arguments: &[&str]| -> Output {
        let mut command = evenkeel();
        command.args(["--url", &first.url, "--user", &file.user]);
        command.arg("--password-file").arg(&password);
        command.args(trust).args(arguments).output().unwrap()
    };
    let verified = ["--ca", ca.to_str().unwrap()];
    let shown = ask(&verified, &["certificate", "show"]);
    assert!(shown.status.success(), "{}", said(&shown));
    let line = said(&shown)
        .lines()
        .find(|it| it.starts_with("Subject"))
        .unwrap()
        .to_owned();
    assert!(line.ends_with(first.name.as_str()), "{line}");

    // The daemon's configuration names files: they are what is to be replaced.
    let tls = |node: usize| lab.dir.join(&file.nodes[node].dir).join("tls");
    let (certificate, key) = (tls(1).join("rest.pem"), tls(1).join("rest.key"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let replace = [
        "certificate",
        "replace",
        "--certificate",
        certificate,
        "--key",
        key,
    ];
    let refused = ask(&verified, &replace);
    assert!(said(&refused).contains("rest.pem"), "{}", said(&refused));
    for name in ["rest.key", "rest.pem"] {
        fs::copy(tls(1).join(name), tls(0).join(name)).unwrap();
    }
    // It does not stand for this node's address.
    let second = file.nodes[1].name.as_str();
    lab.until("the other certificate", |_| {
        let shown = ask(&["--insecure"], &["certificate", "show"]);
        assert!(
            said(&shown).contains("nobody verifies who answers"),
            "{}",
            said(&shown)
        );
        let is_new = |line: &str| line.starts_with("Subject") && line.ends_with(second);
        said(&shown).lines().any(is_new).then_some(())
    });
    let unverified = ask(&verified, &["certificate", "show"]);
    assert!(!unverified.status.success(), "{}", said(&unverified));
}

#[test]
fn users_are_made_kept_to_their_role_and_noted_on_every_node() {
    let lab = Lab::up(2);
    lab.upload("2.0");
    let file = LabFile::read(&lab.dir).unwrap();
    let ca = lab.dir.join(&file.ca);
    let config = lab.dir.join("config");
    let password = lab.dir.join("password");
    fs::write(&password, "a good password\n").unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let password = password.to_str().unwrap();
    let with_password = ["--new-password-file", password];
    lab.ok(&[
        &["user", "create", "deploy", "--role", "stager"][..],
        &with_password,
    ]
    .concat());

    // A profile of each node, so that both have something to note.
    let profile = |arguments: &[&str]| -> Output {
        let mut command = evenkeel();
        command.env("XDG_CONFIG_HOME", &config).args(arguments);
        command.output().unwrap()
    };
    for node in &file.nodes {
        let ca = ca.to_str().unwrap();
        let added = profile(&[
            "profile",
            "add",
            node.name.as_str(),
            "--url",
            &node.url,
            "--user",
            "deploy",
            "--password-file",
            password,
            "--ca",
            ca,
        ]);
        assert!(added.status.success(), "{}", said(&added));
    }
    for node in &file.nodes {
        let ask =
            |arguments: &[&str]| profile(&[&["--profile", node.name.as_str()], arguments].concat());
        let validated = ask(&["image", "validate", "2.0"]);
        assert!(validated.status.success(), "{}", said(&validated));
        let refused = ask(&["image", "update", "2.0"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            said(&refused).contains("needs the role \"admin\""),
            "{}",
            said(&refused)
        );
    }
    let profiles = config.join("evenkeel/profiles.toml");
    fs::set_permissions(&profiles, Permissions::from_mode(0o644)).unwrap();
    let open = profile(&["--profile", file.nodes[0].name.as_str(), "image", "show"]);
    assert!(said(&open).contains("chmod 600"), "{}", said(&open));

    // The daemon's own user is let in at the socket, whatever passwords there are.
    let socket = lab
        .dir
        .join("nodes")
        .join(file.nodes[1].name.as_str())
        .join("data/local.sock");
    let local = format!("--local={}", socket.display());
    let reset = evenkeel()
        .args(["user", "role", "deploy", "readonly", &local])
        .env("EVENKEEL_PROFILE", "some-other-cluster")
        .output()
        .unwrap();
    assert!(reset.status.success(), "{}", said(&reset));
    let shown = lab.json(&["audit", "--by", "deploy"]);
    let of_nodes: Vec<(&str, u64)> = shown["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["node"].as_str().unwrap(), it["status"].as_u64().unwrap()))
        .collect();
    let (first, second) = (file.nodes[0].name.as_str(), file.nodes[1].name.as_str());
    assert_eq!(
        of_nodes,
        [(first, 202), (first, 403), (second, 202), (second, 403)]
    );
    let all = lab.ok(&["audit"]);
    assert!(all.contains("local-root"), "{all}");
    assert!(!all.contains("a good password"), "{all}");
}
