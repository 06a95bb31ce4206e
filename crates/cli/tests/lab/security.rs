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
