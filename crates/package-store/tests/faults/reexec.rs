//! Runs a test of this binary in a process of its own: to be killed, or in a mount namespace.

use std::process::{Command, Stdio};

/// Says that this process is the child.
const CHILD: &str = "EVENKEEL_FAULT_CHILD";

/// Whether this process was started by [`child`] or [`in_namespace`].
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The test `name` of this binary, in a process of its own.
pub(crate) fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    arguments(&mut command, name);
    command
}

fn arguments(command: &mut Command, name: &str) {
    command
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(CHILD, "1")
        .stdin(Stdio::null());
}

/// Runs the test `name` with mounts of its own, which go with it however it ends. Fails if it fails, or if
/// this machine does not allow it.
pub(crate) fn in_namespace(name: &str) {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap());
    arguments(&mut command, name);
    let allowed = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "true"])
        .output();
    assert!(
        allowed.is_ok_and(|output| output.status.success()),
        "THIS TEST NEEDS ROOT: it mounts a file system on a loop device (unshare, mke2fs, mount)"
    );
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
