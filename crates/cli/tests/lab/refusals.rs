//! What must be refused, each with its code, and nothing changed.

use evenkeel_lab::LabFile;

use crate::harness::{Lab, OLD};

#[test]
fn bad_packages_and_untimely_requests_are_refused() {
    let lab = Lab::up(2);
    let upload = |path: &std::path::Path| {
        lab.refused(&["image", "package", "upload", path.to_str().unwrap()], 1)
    };

    assert!(upload(&lab.dir).contains("is not a file"));
    // One node is asked as the lab's user.
    let node = LabFile::read(&lab.dir).unwrap().nodes[0].url.clone();
    lab.ok(&["image", "show", "--url", &node]);

    let good = lab.package("2.0");
    let mut bytes = std::fs::read(&good).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    let tampered = lab.dir.join("tampered.tgz");
    std::fs::write(&tampered, &bytes).unwrap();
    assert!(upload(&tampered).contains("10551359"));
    let truncated = lab.dir.join("truncated.tgz");
    std::fs::write(&truncated, &bytes[..middle]).unwrap();
    assert!(upload(&truncated).contains("10551359"));

    let stranger = lab.dir.join("stranger");
    let keygen = ["package", "keygen", "--out", stranger.to_str().unwrap()];
    lab.ok(&keygen);
    assert!(upload(&lab.package_with("3.0", &stranger, &[])).contains("10551359"));
    let key = LabFile::read(&lab.dir).unwrap().signing_key;
    let foreign = lab.package_with("4.0", &key, &["--platform", "other-hardware"]);
    assert!(upload(&foreign).contains("10551359"));
    assert!(
        lab.ok(&["image", "package", "show-repository"])
            .contains("empty")
    );

    assert!(lab.refused(&["image", "update", "2.0"], 1).contains("1055"));
    assert!(
        lab.refused(&["image", "package", "delete", "2.0"], 1)
            .contains("10551315")
    );
    for action in ["pause-update", "resume-update", "cancel-update"] {
        assert!(lab.refused(&["image", action], 1).contains("(code 1055"));
    }
    lab.upload("2.0");
    let other = lab.package_with("2.0", &key, &["--notes", "other"]);
    assert!(upload(&other).contains("10551327"));

    lab.ok(&["image", "update", "2.0", "--pause-after", "all"]);
    assert!(
        lab.refused(&["image", "update", "2.0"], 1)
            .contains("10551357")
    );
    assert!(
        lab.refused(&["image", "package", "delete", "2.0"], 1)
            .contains("10551347")
    );
    assert_eq!(lab.settled(), "paused_by_user");
    assert!(
        lab.refused(&["image", "pause-update"], 1)
            .contains("(code 1055")
    );
    lab.ok(&["image", "cancel-update"]);
    assert_eq!(lab.settled(), "canceled");
    assert!(lab.versions().values().all(|version| version == OLD));
    lab.assert_no_harm();
}

#[test]
fn an_update_to_what_runs_already_is_refused() {
    let lab = Lab::up(2);
    let package = lab.package(OLD);
    let _uploaded = lab.run(&["image", "package", "upload", package.to_str().unwrap()]);
    assert!(
        lab.refused(&["image", "update", OLD], 1)
            .contains("(code 1055")
    );
    assert!(lab.state().is_none_or(|state| state != "in_progress"));
    lab.assert_no_harm();
}

#[test]
fn a_cluster_that_spans_sites_shows_them_and_is_not_updated() {
    let lab = Lab::up_with(4, &["--sites", "2"]);
    assert!(lab.ok(&["image", "show"]).contains("site_A, site_B"));
    let commands: [&[&str]; 3] = [
        &["image", "update", "2.0"],
        &["image", "update", "2.0", "--estimate-only"],
        &["image", "plan", "2.0"],
    ];
    for command in commands {
        let said = lab.refused(command, 1);
        assert!(
            said.contains("switchover") && said.contains("10551558"),
            "{said}"
        );
    }
}

#[test]
fn of_two_updates_at_once_on_different_nodes_one_is_admitted() {
    let lab = Lab::up(2);
    lab.upload("2.0");
    let nodes = LabFile::read(&lab.dir).unwrap();
    let password = lab.dir.join("password");
    std::fs::write(&password, &nodes.password).unwrap();
    let ask = |url: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .args(["--url", url, "--user", &nodes.user, "--password-file"])
            .arg(&password);
        command
            .arg("--ca")
            .arg(lab.dir.join(&nodes.ca))
            .args(["image", "update", "2.0"]);
        command.output().unwrap()
    };
    // A stranger's certificate vouches for nobody, and nobody waits for that to change.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command
        .args([
            "--url",
            &nodes.url,
            "--user",
            &nodes.user,
            "--password-file",
        ])
        .arg(&password);
    command
        .arg("--ca")
        .arg(lab.dir.join("nodes/node1/tls/node.pem"))
        .args(["image", "show"]);
    let untrusted = command.output().unwrap();
    assert_eq!(untrusted.status.code(), Some(1));
    let said = String::from_utf8_lossy(&untrusted.stderr);
    assert!(said.contains("vouches"), "{said}");

    let outputs: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = nodes
            .nodes
            .iter()
            .map(|n| scope.spawn(|| ask(&n.url)))
            .collect();
        asked
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let admitted = outputs
        .iter()
        .filter(|output| output.status.success())
        .count();
    assert_eq!(admitted, 1, "{outputs:?}");
    let refused = outputs
        .iter()
        .find(|output| !output.status.success())
        .unwrap();
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("10551357"),
        "{refused:?}"
    );
    assert_eq!(lab.settled(), "completed", "{}", lab.tail());
    assert_eq!(
        lab.json(&["image", "show-update-history"])["num_records"],
        2
    );
}

#[test]
fn wrong_usage_is_told_apart() {
    let output = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .env_remove("EVENKEEL_LAB")
            .env_remove("EVENKEEL_URL")
            .args(arguments);
        command.output().unwrap()
    };
    let run = |arguments: &[&str]| output(arguments).status.code();
    assert_eq!(run(&["image", "show"]), Some(2));
    assert_eq!(
        run(&["image", "update", "2.0", "--stabilize-minutes", "61"]),
        Some(2)
    );
    assert_eq!(run(&["--url", "http://x", "image", "show"]), Some(2));
    for wrong in [["--nodes", "3"], ["--address", "192.0.2.1:443"]] {
        let up = ["lab", "up", "--dir", "/nowhere"];
        assert_eq!(run(&[&up[..], &wrong].concat()), Some(2), "{wrong:?}");
    }
    assert_eq!(run(&["--lab", "/nowhere", "image", "show"]), Some(1));
    assert_eq!(
        run(&["--lab", "/nowhere", "--user", "me", "image", "show"]),
        Some(2)
    );
    assert_eq!(run(&["firmware", "background", "maybe"]), Some(2));
    let unknown = output(&["lab", "fault", "nope", "node1", "--dir", "/nowhere"]);
    assert_eq!(unknown.status.code(), Some(2));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        said.contains("there is no fault \"nope\"") && said.contains("`evenkeel lab fault --list`"),
        "{said}"
    );
}
