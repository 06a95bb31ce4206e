//! Checks that packages bring: what they may, and what they try in vain. Each is a script that the real
//! `evenkeeld` confines.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Ample for a check that ends by itself, on a busy machine.
pub(crate) const AMPLE_MS: u64 = 30_000;

/// A node's folder, with a check in it.
struct Bench {
    dir: TempDir,
    within_ms: u64,
    input: String,
}

impl Bench {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let checks = dir.path().join("files/checks");
        fs::create_dir_all(&checks).unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let check = checks.join("check");
        fs::write(&check, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&check, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            dir,
            within_ms: AMPLE_MS,
            input: "{}\n".to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self) -> Child {
        let job = json!({
            "check": "checks/check",
            "files": self.path("files"),
            "root": self.path("root"),
            "within_ms": self.within_ms,
            "input": self.input,
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeeld"))
            .arg("run-check")
            .env("SECRET", "of the daemon")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.as_mut().unwrap();
        writeln!(input, "{job}").unwrap();
        child
    }

    /// What came of it.
    fn end(&self) -> Value {
        let mut child = self.start();
        // Its end is the check's: held until there is an answer.
        let input = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(input);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The texts of what it found.
    fn issues(&self) -> Vec<String> {
        let end = self.end();
        assert_eq!(end["ended"], "ran", "{end}");
        let findings = end["findings"].as_array().unwrap();
        let issue = |finding: &Value| finding["issue"].as_str().unwrap().to_owned();
        findings.iter().map(issue).collect()
    }

    /// Why it could not run.
    fn why(&self) -> String {
        let end = self.end();
        assert_eq!(end["ended"], "could_not", "{end}");
        end["why"].as_str().unwrap().to_owned()
    }
}

/// A finding with what the shell says.
const SAY: &str = r#"say() { printf '{"status":"warning","issue":"%s","action":"none"}\n' "$*"; }
"#;

#[test]
fn a_check_is_told_what_it_needs_and_is_heard() {
    let mut bench = Bench::new(&format!(
        "{SAY}read -r line; say \"$line\" | tr -d '{{}}' >/dev/null
         . /package/checks/lib.sh
         say \"$(pwd) $(ls -A | wc -l) $from_lib\"; echo kept >file; say \"$(cat file)\"
         case $line in *node1*) say told;; esac
         say \"${{SECRET-clean}} $(id -u | grep -c '^0$')\""
    ));
    fs::write(bench.path("files/checks/lib.sh"), "from_lib=beside\n").unwrap();
    bench.input = "{\"node\":\"node1\"}\n".to_owned();
    let end = bench.end();
    let findings = end["findings"].as_array().unwrap();
    assert_eq!(findings[0]["check"], "checks/check");
    assert_eq!(findings[0]["severity"], "warning");
    let issues = bench.issues();
    assert_eq!(issues, ["/tmp 0 beside", "kept", "told", "clean 0"]);
}

#[test]
fn what_a_check_does_not_say_clearly_is_no_pass() {
    let why = Bench::new("echo all is well").why();
    assert!(
        why.contains("\"all is well\", which is no finding"),
        "{why}"
    );
    let why = Bench::new("echo the disk is gone >&2; exit 3").why();
    assert_eq!(why, "it ended with exit code 3: the disk is gone");
    let silent = r#"echo '{"status":"warning","issue":"","action":"none"}'"#;
    let why = Bench::new(silent).why();
    assert!(why.contains("whose issue is empty"), "{why}");
    let why = Bench::new("kill -9 $$; sleep 60").why();
    assert!(
        why.contains("exit code 137") || why.contains("within"),
        "{why}"
    );
    let mut bench = Bench::new("");
    fs::write(bench.path("files/checks/check"), "no program").unwrap();
    let why = bench.why();
    assert!(why.contains("cannot be started"), "{why}");
    bench = Bench::new("exit 0");
    fs::remove_file(bench.path("files/checks/check")).unwrap();
    assert!(bench.why().contains("cannot be started"));
}

#[test]
fn a_check_reaches_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::new(&format!(
        "{SAY}if command -v python3 >/dev/null; then
           python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)' 2>/dev/null && say connected
         else
           bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' 2>/dev/null && say connected
         fi
         say \"sees $(ls /sys/class/net 2>/dev/null)\""
    ));
    assert_eq!(bench.issues(), ["sees"]);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn a_check_finds_nothing_of_the_node_and_writes_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let key = outside.path().join("node.key");
    fs::write(&key, "PRIVATE").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
    let (key, outside) = (key.display(), outside.path());
    let bench = Bench::new(&format!(
        "{SAY}cat {key} >/dev/null 2>&1 && say read a key
         cat /etc/shadow /etc/evenkeel/evenkeeld.toml >/dev/null 2>&1 && say read configuration
         ls /proc/1 /home /root /var >/dev/null 2>&1 && say sees the machine
         for at in {} /package /package/checks / /usr /usr/bin /etc /dev; do
           (echo x >$at/written) 2>/dev/null && say wrote to $at
         done
         (echo x >>/package/checks/check) 2>/dev/null && say changed itself
         (echo x >>/bin/sh) 2>/dev/null && say changed a program
         mount -t tmpfs none /usr 2>/dev/null && say mounted
         mount -o remount,rw /usr 2>/dev/null && say unlocked
         umount /tmp 2>/dev/null && say unmounted
         chmod 777 /package 2>/dev/null && say opened
         true",
        outside.display(),
    ));
    assert_eq!(bench.issues(), Vec::<String>::new());
    assert!(!outside.join("written").exists());
    assert_eq!(fs::read_dir(bench.path("root")).unwrap().count(), 0);
}

#[test]
fn the_kernel_answers_no_call_that_leads_out_or_past_the_bounds() {
    let python = r#"
import os, socket, threading
def attempt(name, act):
    try:
        act()
        print(name)
    except OSError:
        pass
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("packets", lambda: socket.socket(17, socket.SOCK_RAW))
attempt("netlink", lambda: socket.socket(16, socket.SOCK_RAW))
attempt("memory", lambda: os.memfd_create("m"))
socket.socket(socket.AF_UNIX)
one = threading.Thread(target=lambda: None)
one.start()
one.join()
print("threads")
"#;
    let bench = Bench::new(&format!(
        "{SAY}for flag in -U -Ur -m -n -p; do
           unshare $flag true 2>/dev/null && say made a namespace $flag
         done
         if command -v python3 >/dev/null; then
           said=$(python3 -c '{python}' | tr '\n' ' ')
           [ \"$said\" = 'threads ' ] || say \"python: $said\"
         fi
         true"
    ));
    assert_eq!(bench.issues(), Vec::<String>::new());
}

#[test]
fn time_output_and_memory_are_bounded() {
    let mut bench = Bench::new("sleep 1000");
    bench.within_ms = 700;
    assert_eq!(bench.why(), "it did not end within 0.7 s");
    let why = Bench::new("yes '{\"status\":\"error\",\"issue\":\"i\",\"action\":\"a\"}'").why();
    assert_eq!(why, "it writes more than 65536 bytes");
    let why = Bench::new("yes >&2 & sleep 0.2; kill $!; exit 4").why();
    assert_eq!(why, "it ended with exit code 4: y");
    let why = Bench::new("dd if=/dev/zero of=/tmp/big bs=1M count=200 2>/dev/null || exit 9").why();
    assert!(why.contains("exit code 9"), "{why}");
    // None of them has more than it may have alone.
    let why = Bench::new(
        "for i in 1 2 3; do { dd if=/dev/zero bs=200M count=1 2>/dev/null | sleep 60; } & done; wait",
    );
    let why = why.why();
    assert_eq!(
        why,
        "its processes use more than 512 MiB of memory together"
    );
}

/// A command line that is found among the machine's processes, and in no other test.
pub(crate) fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // The time that it would sleep.
    format!("{}.{}", 40_000 + number, std::process::id())
}

/// Processes of the machine with that word in their command line.
pub(crate) fn processes(mark: &str) -> usize {
    let is_ours = |path: &Path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .split('\0')
            .any(|word| word == mark)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| is_ours(&entry.path())).count()
}

pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let looked = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        so()
    });
    assert!(looked, "never: {what}");
}

#[test]
fn nothing_outlives_a_check() {
    // It ends, and leaves some behind.
    let left = mark();
    let bench = Bench::new(&format!("setsid sleep {left} >/dev/null 2>&1 & exit 0"));
    assert_eq!(bench.end()["ended"], "ran");
    until("what it left is gone", || processes(&left) == 0);

    // It takes too long, in many processes, each in a session of its own.
    let many = mark();
    let mut bench = Bench::new(&format!(
        "for i in 1 2 3 4 5; do setsid sleep {many} & done; sleep {many}"
    ));
    bench.within_ms = 1_500;
    assert!(bench.why().contains("did not end"));
    until("what took too long is gone", || processes(&many) == 0);
}

#[test]
fn a_fork_bomb_burns_down_in_its_own_room() {
    let mut bench = Bench::new("bomb() { bomb | bomb & }; bomb; sleep 60");
    bench.within_ms = 2_000;
    let why = bench.why();
    assert!(
        why.contains("did not end") || why.contains("exit code"),
        "{why}"
    );
}

#[test]
fn a_check_ends_with_the_daemon_however_that_ends() {
    // Its caller is gone.
    let mark_ = mark();
    let bench = Bench::new(&format!("sleep {mark_}"));
    let mut child = bench.start();
    until("it runs", || processes(&mark_) > 0);
    drop(child.stdin.take());
    child.wait().unwrap();
    until("it is gone", || processes(&mark_) == 0);

    // The process that watches it is killed.
    let mut child = bench.start();
    until("it runs", || processes(&mark_) > 0);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    until("it is gone", || processes(&mark_) == 0);
}

/// Where user namespaces are allowed, a daemon without root's rights confines all the same.
#[test]
fn a_daemon_without_privileges_confines_too_or_refuses() {
    let bench = Bench::new(&format!(
        "{SAY}(echo x >/usr/written) 2>/dev/null && say wrote; cat /etc/shadow 2>/dev/null && say read; exit 0"
    ));
    let open = fs::Permissions::from_mode(0o777);
    for path in ["", "root", "files", "files/checks"] {
        fs::set_permissions(bench.path(path), open.clone()).unwrap();
    }
    let exe = bench.path("evenkeeld");
    fs::copy(env!("CARGO_BIN_EXE_evenkeeld"), &exe).unwrap();
    let mut child = unprivileged(&exe)
        .arg("run-check")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let job = json!({
        "check": "checks/check", "files": bench.path("files"), "root": bench.path("root"),
        "within_ms": AMPLE_MS, "input": "{}\n",
    });
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{job}").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let end: Value = serde_json::from_slice(&output.stdout).unwrap();
    match end["ended"].as_str() {
        Some("ran") => assert_eq!(end["findings"], json!([]), "{end}"),
        _ => assert!(
            end["why"].as_str().unwrap().contains("cannot be confined"),
            "{end}"
        ),
    }
}

/// That program with no rights but those of a user: whoever runs the tests, or nobody.
fn unprivileged(exe: &Path) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(exe);
    }
    let mut command = Command::new("setpriv");
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    command.args(nobody).arg(exe);
    command
}
