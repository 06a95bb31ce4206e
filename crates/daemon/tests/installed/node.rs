//! What makes an installed host a node: its boot slots, its service processor, its cluster; and a real update of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::container::Container;
use crate::{chapter, journal};

/// How its API is asked. The certificate that the daemon has made itself is what it is believed by.
const API: &str =
    "evenkeel --url https://n1 --user admin --password-file /srv/password --ca /srv/ca.pem";

/// What stands for `ipmitool` and a service processor behind it: Get Device ID and Get Self Test Results of one that is well. The
/// container has neither, and everything else of its machine is its own.
const IPMITOOL: &str = r#"#!/bin/sh
case "$*" in
*"raw 0x06 0x01") echo " 20 01 02 03 02 bf 00 00 00 00 00" ;;
*"raw 0x06 0x04") echo " 55 00" ;;
*) exit 1 ;;
esac
"#;
const PROCESSOR: &str = r#"
[platform.sp.own]
host = "192.0.2.21"
user = "evenkeel"
password_file = "/etc/evenkeel/sp.password"
cipher_suite = 17
"#;

/// A command of the API's, in the container.
pub(crate) fn api(command: &str) -> String {
    format!("{API} {command}")
}

/// As `docs/install.md` says it.
pub(crate) fn becomes_a_node(host: &Container) {
    chapter("boot slots, and what the first one holds");
    host.runs("evenkeel package keygen --out /srv/vendor");
    for version in ["1.0", "2.0"] {
        host.runs(&format!(
            "mkdir -p /srv/tree/etc && echo {version} >/srv/tree/etc/built && \
             evenkeel package build --version {version} --root /srv/tree --key /srv/vendor -o /srv/{version}.tgz"
        ));
    }
    host.runs("mkdir -p /slots");
    host.runs("evenkeel package extract /srv/1.0.tgz -C /slots/a --trust /srv/vendor.pub");
    let slot = host.runs("/usr/share/doc/evenkeel/examples/directory-slots /slots");
    assert_eq!(slot, "a\n");
    is_configured(host);
    chapter("a cluster of one node");
    host.runs("umask 077; printf 'correct horse battery\\n' >/srv/password");
    host.runs(
        "evenkeel cluster init --name one --platform lab-x86_64 --address 127.0.0.1 --new-password-file /srv/password",
    );
    let shown = host.runs("evenkeel cluster show --json");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["state"], "member", "{shown}");
    assert_eq!(shown["nodes"][0]["name"], "n1", "{shown}");
    host.until_property("evenkeeld", "StatusText", |text| {
        text.contains("coordinator n1")
    });
    // It names the node.
    host.runs("echo '127.0.0.1 n1' >>/etc/hosts");
    host.runs("evenkeel certificate show --pem --local >/srv/ca.pem");
    host.until("the API", || {
        let (code, said) = host.tries(&api("image key trust /srv/vendor.pub"));
        (code == Some(0)).then_some(said)
    });
}

/// As packaged, with a service processor, and with downloads that soon give up.
fn is_configured(host: &Container) {
    let program = host.root.join("usr/local/bin/ipmitool");
    fs::write(&program, IPMITOOL).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let password = host.root.join("etc/evenkeel/sp.password");
    fs::write(&password, "secret\n").unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let file = host.root.join("etc/evenkeel/evenkeeld.toml");
    let packaged = fs::read_to_string(&file).unwrap();
    let slots = "kind = \"directory\"\npath = \"/slots\"\n";
    assert!(packaged.contains(slots), "{packaged}");
    let own = packaged.replace(slots, &format!("{slots}{PROCESSOR}"));
    fs::write(file, format!("{own}\n[download]\ntries = 1\n")).unwrap();
    host.runs("evenkeeld --check && systemctl restart evenkeel-machine evenkeeld");
}

/// The whole way: the node reboots into the other slot.
pub(crate) fn is_updated(host: &mut Container) {
    host.until_property("evenkeeld", "StatusText", |text| {
        text.contains("nothing open")
    });
    host.runs(&api("image package get /srv/2.0.tgz"));
    // The CPUs are the machine's, and whatever else runs there would rightly have the update refused.
    host.runs("cp /proc/stat /run/stat && mount --bind /run/stat /proc/stat && systemctl restart evenkeel-machine");
    let before = host.runs("cat /proc/sys/kernel/random/boot_id");
    println!("    {}", host.tries(&api("image validate 2.0")).1);
    host.runs(&api("image update 2.0 --skip-warnings"));
    host.refuses("evenkeeld may-restart");
    host.comes_back_rebooted();
    assert_ne!(host.runs("cat /proc/sys/kernel/random/boot_id"), before);
    host.until_property("evenkeeld", "StatusText", |text| {
        text.contains("nothing open")
    });
    assert_eq!(host.runs("readlink /slots/current"), "b\n");
    assert_eq!(host.runs("cat /slots/current/etc/built"), "2.0\n");
    let state = host.runs("cat /slots/state");
    assert!(
        state.contains("default=b") && state.contains("b=good"),
        "{state}"
    );
    let history = host.runs(&api("image show-update-history --json"));
    assert!(
        history.contains("\"successful\"") || history.contains("success"),
        "{history}"
    );
    says_what_it_did(host);
    host.runs("systemctl start boot-complete.target");
    assert_eq!(host.property("evenkeel-boot-good", "ActiveState"), "active");
}

/// Each task, by fields that a journal can be searched for.
fn says_what_it_did(host: &Container) {
    let begun = journal(host, "MESSAGE_ID=5e2a9c1f7d3b4b0e9a6c41d0f2b7e804");
    let ended = journal(host, "MESSAGE_ID=5e2a9c1f7d3b4b0e9a6c41d0f2b7e806");
    for entry in begun.iter().chain(&ended) {
        println!(
            "    {} task {} {}: {}",
            entry["EVENKEEL_NODE"],
            entry["EVENKEEL_TASK"],
            entry["EVENKEEL_ACTION"],
            entry["MESSAGE"]
        );
        assert!(entry["EVENKEEL_TASK"].is_string() && entry["EVENKEEL_OPERATION"].is_string());
    }
    let boots = |entries: &[Value]| -> std::collections::BTreeSet<String> {
        entries
            .iter()
            .map(|it| it["_BOOT_ID"].to_string())
            .collect()
    };
    assert!(!begun.is_empty() && !ended.is_empty());
    let all = [begun, ended].concat();
    assert_eq!(boots(&all).len(), 2, "tasks of both boots: {all:?}");
}
