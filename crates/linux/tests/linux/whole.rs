//! The controller as a whole.

use std::sync::Arc;

use evenkeel_model::LinuxSettings;
use evenkeel_platform::BootSlots as _;
use evenkeel_platform::devices::{Devices as _, RedfishBody, RedfishMethod, RedfishRequest};

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
        // A slot without an image, on no folder.
        std::os::unix::fs::symlink("plain/x", tree.path(&format!("/slots/{alternate}"))).unwrap();
        tree.file("/slots/plain", "");
        let settings = r#"{"slots": {"kind": "directory", "path": "/slots"}}"#;
        let (linux, _devices) = Linux::open(&LinuxParts {
            host: tree.host(Arc::new(Printed::default())),
            node: &node("node1"),
            data: "/var/lib/evenkeel".as_ref(),
            settings: &serde_json::from_str(settings).unwrap(),
        })
        .unwrap();
        let told = why(linux.space().await);
        let of = format!(
            "the free space of {}",
            tree.path(&format!("/slots/{alternate}")).display()
        );
        assert!(told.contains(&of), "{told}");
    }
}

/// Only the firmware of the service processor needs it.
#[tokio::test]
async fn a_service_processor_that_cannot_be_meant_takes_nothing_else_away() {
    let tree = Tree::new();
    tree.file(
        "/proc/sys/kernel/random/boot_id",
        "6f1d7d94-26cc-4b0a-8a2f-4f0f2a9b1c37",
    );
    tree.file("/slots/a/bin/sh", "");
    std::os::unix::fs::symlink("a", tree.path("/slots/current")).unwrap();
    let missing = tree.path("/ca.pem").display().to_string();
    let settings = |sp: String| -> LinuxSettings {
        let text = format!(r#"{{"slots": {{"kind": "directory", "path": "/slots"}}, "sp": {sp}}}"#);
        serde_json::from_str(&text).unwrap()
    };
    let sp = format!(
        r#"{{"redfish": {{"url": "https://bmc", "user": "u", "password_file": "/p", "ca": "{missing}"}}}}"#
    );
    let (linux, devices) = Linux::open(&LinuxParts {
        host: tree.host(Arc::new(Printed::default())),
        node: &node("node1"),
        data: "/var/lib/evenkeel".as_ref(),
        settings: &settings(sp),
    })
    .unwrap();
    linux.slots().await.unwrap();
    assert!(devices.drives().await.is_ok());
    let request = RedfishRequest {
        method: RedfishMethod::Get,
        path: "/redfish/v1".to_owned(),
        body: RedfishBody::None,
    };
    for said in [
        devices.processor().await.map(drop),
        devices.redfish().send(&request).await.map(drop),
    ] {
        let why = why(said);
        assert!(
            why.contains(&format!("cannot read {missing}: No such file")),
            "{why}"
        );
    }
}
