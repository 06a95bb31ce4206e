//! The controller as a whole.

use std::sync::Arc;

use evenkeel_linux::{Linux, LinuxParts};
use evenkeel_platform::Inventory as _;

use crate::tree::{Printed, Tree, node, why};

/// The alternate slot's folder cannot be looked at, so that the error tells which one was meant.
#[tokio::test]
async fn the_free_space_is_that_of_the_slot_that_does_not_run() {
    for (running, alternate) in [("a", "b"), ("b", "a")] {
        let tree = Tree::new();
        tree.file(
            "/proc/sys/kernel/random/boot_id",
            "6f1d7d94-26cc-4b0a-8a2f-4f0f2a9b1c37",
        );
        tree.file(&format!("/slots/{running}/bin/sh"), "");
        std::os::unix::fs::symlink(running, tree.path("/slots/current")).unwrap();
        std::os::unix::fs::symlink(alternate, tree.path(&format!("/slots/{alternate}"))).unwrap();
        let settings = r#"{"slots": {"kind": "directory", "path": "/slots"}}"#;
        let (linux, _devices) = Linux::open(&LinuxParts {
            host: tree.host(Arc::new(Printed::default())),
            node: &node("node1"),
            data: "/var/lib/evenkeel".as_ref(),
            settings: &serde_json::from_str(settings).unwrap(),
        })
        .unwrap();
        let told = why(linux.space().await);
        assert!(told.contains(&format!("/slots/{alternate}")), "{told}");
    }
}
