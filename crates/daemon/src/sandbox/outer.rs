//! The process around a check: leaves the machine's namespaces, watches time, memory and output, says what came of it.

use std::fs;
use std::io;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{User, getegid, geteuid};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::memory::Proc;
use super::output::{self, MAX_OUTPUT_BYTES};
use super::{CheckEnd, CheckJob, NOT_CONFINED, input_ends, read_job};

/// The package's sysusers.d makes it.
const OWN_USER: &str = "evenkeel-check";
/// When memory is short, a check goes first: the kernel's highest score.
const OOM_SCORE: &str = "1000";
/// A killed process namespace is gone at once, unless the machine hangs.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// `evenkeeld run-check`: reads its job from its input, and writes what came of it to its output. The end of
/// its input is the end of the check.
pub(crate) fn main() -> ExitCode {
    let end = read_job().and_then(run);
    let end = end.unwrap_or_else(|why| CheckEnd::CouldNot { why });
    let line = serde_json::to_string(&end).expect("plain data: JSON can say it");
    super::answer(&line)
}

fn run(mut job: CheckJob) -> Result<CheckEnd, String> {
    job.number = std::process::id();
    // Looked up here: inside there are no users.
    job.fallback = User::from_name(OWN_USER)
        .ok()
        .flatten()
        .map(|user| user.uid.as_raw());
    leave_the_machine().map_err(|why| format!("it cannot be confined here: {why}"))?;
    // No thread can be started from here on, and none is: the next process belongs to the new namespace.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("it cannot be watched: {error}"))?;
    let end = runtime.block_on(watch(&job));
    runtime.shutdown_background();
    end
}

/// Root leaves by its own right. Anyone else needs a user namespace, in which it is root over nothing.
fn leave_the_machine() -> Result<(), String> {
    let said = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|e| said("namespaces")(e.into()))?;
    if !uid.is_root() {
        fs::write("/proc/self/setgroups", "deny").map_err(said("groups"))?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(said("users"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(said("groups"))?;
    }
    // Where the kernel has no such score, none is needed.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    Ok(())
}

async fn watch(job: &CheckJob) -> Result<CheckEnd, String> {
    let proc = Proc::open().map_err(|error| format!("its memory cannot be watched: {error}"))?;
    let mut child = Command::new("/proc/self/exe")
        .arg("run-check-inside")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let within = Duration::from_millis(job.within_ms);
    let first = child.id();
    let too_big = async {
        match first {
            Some(first) => proc.outgrown(first).await,
            // It has ended before it was looked at.
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        biased;
        () = input_ends() => Err("the daemon ended".to_owned()),
        why = too_big => Ok(could_not(why)),
        end = timeout(within, talk(job, &mut child)) => match end {
            Ok(end) => Ok(end),
            Err(_) => Ok(could_not(format!("it did not end within {} s", within.as_secs_f64()))),
        },
    };
    // All that it started ends with it.
    let _ = child.start_kill();
    match timeout(GONE_WITHIN, child.wait()).await {
        Ok(_) => end,
        Err(_) => Err(format!(
            "it was killed and is not gone after {GONE_WITHIN:?}"
        )),
    }
}

async fn talk(job: &CheckJob, child: &mut Child) -> CheckEnd {
    let (Some(mut input), Some(said), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return could_not("it has no pipes".to_owned());
    };
    let mut line = serde_json::to_string(job).expect("plain data: JSON can say it");
    line.push('\n');
    if let Err(error) = input.write_all(line.as_bytes()).await {
        return could_not(format!("it was not told what to run: {error}"));
    }
    let (said, errors) = tokio::join!(said_or_killed(said, child), output::tail(errors));
    let status = child.wait().await;
    // It must not see its input end before it has ended.
    drop(input);
    match (said, status) {
        (None, _) => could_not(format!("it writes more than {MAX_OUTPUT_BYTES} bytes")),
        (Some(said), Ok(status)) => judge(job, &said, &errors, status),
        (Some(_), Err(error)) => could_not(format!("how it ended is not known: {error}")),
    }
}

/// One that writes too much is ended, so that what it holds open closes.
async fn said_or_killed(
    said: impl tokio::io::AsyncRead + Unpin,
    child: &mut Child,
) -> Option<Vec<u8>> {
    let said = output::all(said).await;
    if said.is_none() {
        let _ = child.start_kill();
    }
    said
}

fn judge(job: &CheckJob, said: &[u8], errors: &[u8], status: ExitStatus) -> CheckEnd {
    let last = output::last_line(errors);
    let last = last.map_or_else(String::new, |line| format!(": {line}"));
    match status.code() {
        Some(0) => match output::findings(&job.check, said) {
            Ok(findings) => CheckEnd::Ran { findings },
            Err(nonsense) => could_not(nonsense.0),
        },
        Some(code) if code == i32::from(NOT_CONFINED) => {
            could_not(format!("it cannot be confined here{last}"))
        }
        Some(code) => could_not(format!("it ended with exit code {code}{last}")),
        None => could_not(format!("it was killed{last}")),
    }
}

fn could_not(why: String) -> CheckEnd {
    CheckEnd::CouldNot { why }
}
