//! The daemon's helpers as systemd starts them: each with one connection as its input and output.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evenkeel_package_store::SecretKey;
use serde_json::{Value, json};

use crate::package;
use crate::sandbox::{AMPLE_MS, mark, processes, until};
use crate::stand::Stand;

/// A helper, and our end of its connection.
struct Helper {
    child: Child,
    said: BufReader<UnixStream>,
}

impl Helper {
    /// `Accept=yes`, `StandardInput=socket`.
    fn start(command: &str, job: &Value) -> Self {
        let (ours, its) = UnixStream::pair().unwrap();
        let its_output = OwnedFd::from(its.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_evenkeeld"))
            .arg(command)
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::from(its_output))
            .spawn()
            .unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut helper = Self {
            child,
            said: BufReader::new(ours),
        };
        writeln!(helper.said.get_mut(), "{job}").unwrap();
        helper
    }

    /// The next line; nothing at its end.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.said.read_line(&mut line).unwrap() {
            0 => None,
            _ => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    /// Its last line, and whether there was progress before. It ends when we hang up, and not before.
    fn last(mut self) -> (Value, bool) {
        let mut has_progress = false;
        let mut last = self.next().unwrap();
        while last["told"] == "progress" {
            has_progress = true;
            last = self.next().unwrap();
        }
        self.said.get_ref().shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        self.said.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        assert!(self.child.wait().unwrap().success());
        (last, has_progress)
    }
}

/// A check in a folder of its own.
fn check(dir: &Path, script: &str) -> Value {
    let checks = dir.join("files/checks");
    fs::create_dir_all(&checks).unwrap();
    fs::create_dir_all(dir.join("root")).unwrap();
    let check = checks.join("check");
    fs::write(&check, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&check, Permissions::from_mode(0o755)).unwrap();
    json!({
        "check": "checks/check",
        "files": dir.join("files"),
        "root": dir.join("root"),
        "within_ms": AMPLE_MS,
        "input": "{}\n",
    })
}

#[test]
fn a_check_is_run_over_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"printf '{"status":"warning","issue":"%s","action":"none"}\n' "$(id -u)""#;
    let (end, _) = Helper::start("run-check", &check(dir.path(), script)).last();
    assert_eq!(end["ended"], "ran", "{end}");
    assert_ne!(end["findings"][0]["issue"], "0");
}

#[test]
fn a_check_ends_with_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mark = mark();
    let job = check(dir.path(), &format!("exec sleep {mark}"));
    let mut helper = Helper::start("run-check", &job);
    until("the check runs", || processes(&mark) > 0);
    drop(helper.said);
    helper.child.wait().unwrap();
    until("the check is gone", || processes(&mark) == 0);
}

#[test]
fn the_gate_script_is_run_over_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("gate");
    fs::write(&script, "#!/bin/sh\necho not now; exit 75\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let job = json!({ "script": script, "within_ms": AMPLE_MS, "environment": {} });
    let (answer, _) = Helper::start("run-script", &job).last();
    assert_eq!(answer, json!({ "not_yet": "not now" }));
}

/// A package and what is needed to have it written into a slot.
struct Slots {
    dir: tempfile::TempDir,
    job: Value,
}

impl Slots {
    fn new(trusted: &SecretKey) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[7; 32]);
        package(dir.path(), &key, "2.0");
        let archive = dir.path().join("2.0.tgz");
        let job = json!({
            "archive": archive,
            "package": digest(&archive),
            "slot": dir.path().join("b"),
            "running": dir.path().join("a"),
            "demands": {
                "trusted": [trusted.public().to_pem()],
                "revoked": [],
                "hardware": null,
                "max_unpacked_bytes": u32::MAX,
                "allow_unsigned": false,
            },
        });
        fs::create_dir(dir.path().join("a")).unwrap();
        Self { dir, job }
    }

    fn whole(&self) -> bool {
        let read = evenkeel_package_store::read_slot_manifest(&self.dir.path().join("b"));
        read.unwrap().is_some()
    }
}

/// Of the package's manifest.
fn digest(archive: &Path) -> Value {
    let signed = evenkeel_package_store::read_unproven_manifest(archive).unwrap();
    serde_json::to_value(signed.digest).unwrap()
}

fn right() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

#[test]
fn a_package_is_written_into_a_slot_by_a_process_that_proves_it_itself() {
    let slots = Slots::new(&right());
    let (told, has_progress) = Helper::start("write-slot", &slots.job).last();
    assert_eq!(told["told"], "written", "{told}");
    assert!(has_progress && slots.whole());
    let motd = fs::read_to_string(slots.dir.path().join("b/etc/motd")).unwrap();
    assert!(motd.starts_with("2.02.0"));
    // Again: nothing is different.
    let (told, _) = Helper::start("write-slot", &slots.job).last();
    assert_eq!(told["told"], "written", "{told}");
}

#[test]
fn a_package_that_nobody_trusts_or_that_is_another_one_is_not_written() {
    let slots = Slots::new(&SecretKey::from_seed(&[8; 32]));
    let (told, _) = Helper::start("write-slot", &slots.job).last();
    assert_eq!(told["told"], "refused", "{told}");
    assert!(!slots.whole());

    let mut slots = Slots::new(&right());
    slots.job["package"] = serde_json::to_value(evenkeel_model::Digest([9; 32])).unwrap();
    let (told, _) = Helper::start("write-slot", &slots.job).last();
    assert_eq!(told["told"], "forbidden", "{told}");

    let mut slots = Slots::new(&right());
    slots.job["running"] = slots.job["slot"].clone();
    let (told, _) = Helper::start("write-slot", &slots.job).last();
    assert_eq!(told["told"], "forbidden", "{told}");
    assert!(told["why"].as_str().unwrap().contains("running"), "{told}");
}

#[test]
fn a_slot_that_is_being_written_is_busy_and_a_key_that_is_none_writes_nothing() {
    let mut slots = Slots::new(&right());
    fs::create_dir(slots.dir.path().join("b")).unwrap();
    let folder = fs::File::open(slots.dir.path().join("b")).unwrap();
    folder.lock().unwrap();
    let (told, _) = Helper::start("write-slot", &slots.job).last();
    assert_eq!(told["told"], "busy", "{told}");
    folder.unlock().unwrap();
    slots.job["demands"]["trusted"] = json!(["no key"]);
    let (told, _) = Helper::start("write-slot", &slots.job).last();
    assert_eq!(told["told"], "failed", "{told}");
    assert!(!slots.whole());
}

/// `Accept=no`, `StandardInput=socket`: the process that has the machine.
fn serve_machine(stand: &Stand, listener: &UnixListener) -> Child {
    let socket = OwnedFd::from(listener.try_clone().unwrap());
    Command::new(env!("CARGO_BIN_EXE_evenkeeld"))
        .arg("--config")
        .arg(stand.dir.join("evenkeeld.toml"))
        .arg("serve-machine")
        .stdin(Stdio::from(socket))
        .spawn()
        .unwrap()
}

fn may_restart(stand: &Stand) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeeld"))
        .arg("--config")
        .arg(stand.dir.join("evenkeeld.toml"))
        .arg("may-restart")
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn a_daemon_sees_its_machine_through_another_process_and_says_when_it_cannot() {
    let stand = Stand::paired();
    fs::create_dir(stand.dir.join("record")).unwrap();
    let listener = UnixListener::bind(stand.dir.join("machine.sock")).unwrap();
    let mut helper = serve_machine(&stand, &listener);
    let folder = stand.dir.to_str().unwrap();
    let _daemon = stand.begin_with(&[("EVENKEEL_HELPERS", folder)]);
    stand.until("READY", || stand.was_told("READY=1").then_some(()));
    stand.until("a pair at rest", || {
        (may_restart(&stand).0 == Some(0)).then_some(())
    });
    helper.kill().unwrap();
    helper.wait().unwrap();
    let (code, waits) = may_restart(&stand);
    assert_eq!(code, Some(75), "{waits}");
    assert!(waits.contains("cannot be seen"), "{waits}");

    let mut helper = serve_machine(&stand, &listener);
    let node = "n1".parse().unwrap();
    let taken = stand
        .machine
        .with(|hardware, now| hardware.take_over_by_hand(&node, now));
    taken.unwrap().unwrap().unwrap();
    stand.until("the takeover, seen through the new process", || {
        let (code, waits) = may_restart(&stand);
        (code == Some(75) && waits.contains("takeover to be over")).then_some(())
    });
    helper.kill().unwrap();
    helper.wait().unwrap();
}
