//! A single node, whose package brings a check: the real daemon confines it, and finds its own reboot again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use evenkeel_lab::LabFile;

use crate::harness::Lab;

/// Warns; and would find more if it were not confined.
const CHECK: &str = r#"#!/bin/sh
read -r told
case $told in *'"to":"2.0"'*) said=told;; *) said=silent;; esac
[ -e /proc/self ] && said="$said, sees processes"
(echo x >/usr/written) 2>/dev/null && said="$said, writes"
printf '{"status":"warning","issue":"It was %s.","action":"None."}\n' "$said"
"#;

#[test]
fn a_single_node_runs_the_packages_check_and_comes_back_from_its_reboot() {
    let lab = Lab::up(1);
    let checks = lab.dir.join("tree-2.0/checks");
    fs::create_dir_all(&checks).unwrap();
    fs::write(checks.join("told"), CHECK).unwrap();
    fs::set_permissions(checks.join("told"), fs::Permissions::from_mode(0o755)).unwrap();
    let key = LabFile::read(&lab.dir).unwrap().signing_key;
    let package = lab.package_with("2.0", &key, &["--check", "checks/told:30"]);
    let package = package.to_str().unwrap();
    assert!(
        lab.ok(&["package", "inspect", package])
            .contains("checks/told, within 30 s")
    );
    lab.ok(&["image", "package", "upload", package]);
    let shown = lab.ok(&["image", "validate", "2.0"]);
    assert!(shown.contains("It was told."), "{shown}");
    assert!(shown.contains("data is not served while"), "{shown}");
    lab.refused(&["image", "update", "2.0", "--watch"], 1);
    for options in [
        &["--force-rolling"][..],
        &["--force-rolling", "--estimate-only"],
    ] {
        let said = lab.refused(&[&["image", "update", "2.0"], options].concat(), 1);
        assert!(
            said.contains("force_rolling") && said.contains("10551558"),
            "{said}"
        );
    }
    let check = "High Availability status";
    lab.ok(&["image", "acknowledge", check, "--reason", "at night"]);
    let plan = lab.ok(&["image", "plan", "2.0"]);
    assert!(
        plan.contains("no, acknowledged") && plan.contains("at night"),
        "{plan}"
    );
    lab.ok(&["image", "update", "2.0", "--skip-warnings", "--watch"]);
    assert!(lab.versions().values().all(|version| version == "2.0"));
    lab.assert_no_harm();
}
