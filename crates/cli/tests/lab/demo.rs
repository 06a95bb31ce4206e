//! The demo, as a program reads it.

use serde_json::Value;

use crate::harness::{evenkeel, turn};

#[test]
fn the_demo_comes_to_its_good_end() {
    let _turn = turn();
    let folder = tempfile::Builder::new().prefix("ek").tempdir().unwrap();
    let mut demo = evenkeel();
    demo.args(["lab", "demo", "--json", "--minute", "100ms", "--dir"])
        .arg(folder.path().join("d"));
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["result"], "completed", "{summary}");
    let nodes = summary["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 4);
    assert!(
        nodes.iter().all(|node| node["before"] != node["after"]),
        "{summary}"
    );
    // Three phases of each node.
    assert_eq!(summary["phases"].as_array().unwrap().len(), 12, "{summary}");
    assert!(
        summary["longest_io_gap_ms"].as_u64().unwrap() <= 2000,
        "{summary}"
    );
    assert!(
        summary["dir"]
            .as_str()
            .is_some_and(|dir| dir.ends_with("/d")),
        "{summary}"
    );
    // Progress goes to people, not to programs.
    assert!(said.contains("update: completed"), "{said}");
}

#[test]
fn a_demo_does_not_touch_a_folder_with_something_in_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "precious").unwrap();
    let output = evenkeel()
        .args(["lab", "demo", "--dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
