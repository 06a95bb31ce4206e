//! Runs what others wrote: the checks that packages bring, confined, and the operator's gate script.
//!
//! For a check the daemon has itself executed twice. [`outer`] (`evenkeeld run-check`; how it is started says
//! [`errand`](crate::errand)) leaves the namespaces of the machine, watches time, memory and output, and says what came of it. [`inner`] (`evenkeeld run-check-inside`)
//! is the first process in there: it builds the view of the filesystem, gives up every privilege and starts
//! the check. When either of them or the daemon ends, however it ends, the kernel ends all of it: the first
//! process of a process namespace takes the others with it.
//!
//! **Invariants.** What cannot be confined is not run. A check has no network, sees no process but its own,
//! writes nowhere but in its own memory, and finds no file of the node beside its programs and libraries.

mod calls;
mod inner;
mod memory;
mod outer;
mod output;
mod script;
mod view;

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::ExitCode;

use evenkeel_model::BundledFinding;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

pub(crate) use inner::main as run_inside;
pub(crate) use outer::main as run_check;
pub(crate) use script::{Answer, ScriptJob, main as run_script};

/// The line that tells of a job is at most so long: an observation of a node with thousands of disks.
const MAX_JOB_BYTES: u64 = 8 << 20;
/// What a process of ours ends with when it could not do its part.
const NOT_CONFINED: u8 = 125;

/// One check to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckJob {
    /// Its path in the package.
    pub(crate) check: String,
    /// Folder with the files of the package that it may see.
    pub(crate) files: PathBuf,
    /// An empty folder, which becomes its root folder.
    pub(crate) root: PathBuf,
    /// How long it may take.
    pub(crate) within_ms: u64,
    /// Of its own among all that run: the process id of whoever watches it.
    #[serde(default)]
    pub(crate) number: u32,
    /// Who it becomes where the user ids that nobody has are not to be had (in a container).
    #[serde(default)]
    pub(crate) fallback: Option<u32>,
    /// What it is told, as JSON.
    pub(crate) input: String,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "snake_case")]
pub(crate) enum CheckEnd {
    /// It ran, and found this.
    Ran {
        /// Nothing: all is well.
        findings: Vec<BundledFinding>,
    },
    /// It could not run, or did not say what a check says.
    CouldNot {
        /// Why.
        why: String,
    },
}

/// Reads the line that tells of a job. Nothing behind it is consumed that is not in the buffer of the process.
pub(crate) fn read_job<T: for<'a> Deserialize<'a>>() -> Result<T, String> {
    let mut line = String::new();
    let read = io::stdin().lock().take(MAX_JOB_BYTES).read_line(&mut line);
    read.map_err(|error| format!("what is to be run was not said: {error}"))?;
    serde_json::from_str(&line).map_err(|error| format!("what is to be run is not clear: {error}"))
}

/// Returns when nobody holds the other end of this process's input any more.
async fn input_ends() {
    let Ok(input) = io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    let Some(mut input) = watched(input) else {
        return;
    };
    let mut piece = [0; 64];
    while input.read(&mut piece).await.is_ok_and(|n| n > 0) {}
}

/// A pipe of the daemon's, or the connection that systemd started this process for.
fn watched(input: OwnedFd) -> Option<Box<dyn AsyncRead + Unpin>> {
    let input = File::from(input);
    if !input.metadata().ok()?.file_type().is_socket() {
        let pipe = pipe::Receiver::from_owned_fd(input.into()).ok()?;
        return Some(Box::new(pipe));
    }
    let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(input));
    stream.set_nonblocking(true).ok()?;
    Some(Box::new(UnixStream::from_std(stream).ok()?))
}

/// Says what came of it: one line. A connection's two directions are one file, which was watched without blocking.
fn answer(line: &str) -> ExitCode {
    let output = io::stdout();
    let written = rustix::io::ioctl_fionbio(&output, false)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(output.lock(), "{line}"));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody listens any more.
        Err(_) => ExitCode::FAILURE,
    }
}
