//! What the daemon has another process of its own do, one process for each errand.
//!
//! Started by hand or in a lab, the daemon executes itself, and speaks to it through pipes. Started by its unit it has
//! neither the privileges nor the view that an errand needs: it connects to a socket, and systemd starts the errand's own
//! unit for that connection (`evenkeel-check@.service` and its like), which has just those. What is said is the same.
//!
//! **Invariant.** Where helpers are named nothing is done without them: there is no second way that would work by chance.

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Beyond its own bound: a process of ours that does not answer by then has a fault.
pub(crate) const GRACE: Duration = Duration::from_secs(15);
/// Most that a process of ours says in one line.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// What a unit names that folder in.
const HELPERS: &str = "EVENKEEL_HELPERS";

/// What can be had done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// A check that a package brings is run.
    Check,
    /// The operator's gate script is run.
    Script,
    /// A package is written into a slot.
    Slot,
}

impl Errand {
    /// The argument by which this program does it.
    fn argument(self) -> &'static str {
        match self {
            Self::Check => "run-check",
            Self::Script => "run-script",
            Self::Slot => "write-slot",
        }
    }

    /// The unit that does it, without its kind.
    fn unit(self) -> &'static str {
        match self {
            Self::Check => "evenkeel-check",
            Self::Script => "evenkeel-script",
            Self::Slot => "evenkeel-slot",
        }
    }

    fn socket(self) -> &'static str {
        match self {
            Self::Check => "check.sock",
            Self::Script => "script.sock",
            Self::Slot => "slot.sock",
        }
    }
}

/// One that is under way. Whatever it started ends when this is dropped.
pub(crate) struct Underway {
    /// What it says.
    said: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its end is the errand's end.
    told: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// The process, where it is ours.
    child: Option<Child>,
}

impl Underway {
    /// Starts one, and tells it its job.
    pub(crate) async fn begin(
        errand: Errand,
        job: &(impl Serialize + Sync),
    ) -> Result<Self, String> {
        match helpers() {
            Some(folder) => Self::begin_at(&folder, errand, job).await,
            None => Self::by_ourselves(errand)?.told_its(job).await,
        }
    }

    /// The same, by the helper whose socket is in `folder`.
    pub(crate) async fn begin_at(
        folder: &Path,
        errand: Errand,
        job: &(impl Serialize + Sync),
    ) -> Result<Self, String> {
        let underway = Self::by_unit(errand, folder).await?;
        underway.told_its(job).await
    }

    async fn told_its(mut self, job: &(impl Serialize + Sync)) -> Result<Self, String> {
        let mut line = serde_json::to_vec(job).expect("plain data: JSON can say it");
        line.push(b'\n');
        if let Some(told) = &mut self.told {
            told.write_all(&line)
                .await
                .map_err(said("cannot tell evenkeeld"))?;
        }
        Ok(self)
    }

    /// Of a daemon that was replaced on disk, this is still the one that runs.
    fn by_ourselves(errand: Errand) -> Result<Self, String> {
        let mut child = Command::new("/proc/self/exe")
            .arg(errand.argument())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(said("cannot start evenkeeld"))?;
        let (Some(told), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("evenkeeld has no pipes".to_owned());
        };
        Ok(Self {
            said: BufReader::new(Box::new(output)),
            told: Some(Box::new(told)),
            child: Some(child),
        })
    }

    async fn by_unit(errand: Errand, folder: &Path) -> Result<Self, String> {
        let socket = folder.join(errand.socket());
        let stream = UnixStream::connect(&socket).await.map_err(|error| {
            let (socket, unit) = (socket.display(), errand.unit());
            format!("{socket}: {error}: is {unit}.socket active? `systemctl start {unit}.socket`")
        })?;
        let (output, told) = stream.into_split();
        Ok(Self {
            said: BufReader::new(Box::new(output)),
            told: Some(Box::new(told)),
            child: None,
        })
    }

    /// The next line that it says.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.said).take(MAX_LINE_BYTES);
        let read = bounded.read_until(b'\n', &mut line).await;
        read.map_err(said("cannot hear evenkeeld"))?;
        serde_json::from_slice(&line).map_err(|error| failed("evenkeeld gave no answer", &error))
    }

    /// The end of its input ends what it runs, and itself; it is killed where that does not do.
    pub(crate) async fn end(mut self) {
        self.told = None;
        if let Some(mut child) = self.child.take() {
            let _ = timeout(GRACE, child.wait()).await;
        }
    }
}

/// Has something done that has one answer. Whatever it started ends with this call.
pub(crate) async fn ask<T: DeserializeOwned>(
    errand: Errand,
    job: &(impl Serialize + Sync),
    within: Duration,
) -> Result<T, String> {
    let mut underway = Underway::begin(errand, job).await?;
    let answer = match timeout(within, underway.next()).await {
        Ok(answer) => answer,
        Err(_) => Err(format!(
            "evenkeeld gave no answer within {} s",
            within.as_secs()
        )),
    };
    underway.end().await;
    answer
}

/// The folder of the helpers' sockets, where a unit starts the daemon.
pub(crate) fn helpers() -> Option<PathBuf> {
    std::env::var_os(HELPERS)
        .filter(|folder: &OsString| !folder.is_empty())
        .map(PathBuf::from)
}

fn said(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| failed(what, &error)
}

fn failed(what: &str, error: &dyn Display) -> String {
    format!("{what}: {error}")
}
