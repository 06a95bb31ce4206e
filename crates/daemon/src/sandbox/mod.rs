//! Runs what others wrote: the checks that packages bring, confined, and the operator's gate script.
//!
//! For a check the daemon executes itself twice. [`outer`] (`evenkeeld run-check`) leaves the namespaces of
//! the machine, watches time, memory and output, and says what came of it. [`inner`] (`evenkeeld run-check-inside`)
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

use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

use evenkeel_model::BundledFinding;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
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
fn read_job<T: for<'a> Deserialize<'a>>() -> Result<T, String> {
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
    let Ok(mut input) = pipe::Receiver::from_owned_fd(input) else {
        return;
    };
    let mut piece = [0; 64];
    while input.read(&mut piece).await.is_ok_and(|n| n > 0) {}
}
