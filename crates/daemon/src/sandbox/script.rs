//! The operator's gate script: trusted, so not confined; bounded, and never left behind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{input_ends, output, read_job};

/// Exit code of a script whose condition does not hold yet: `EX_TEMPFAIL` of `sysexits.h`.
const NOT_YET: i32 = 75;

/// One run of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScriptJob {
    /// What is run.
    pub(crate) script: PathBuf,
    /// How long it may take.
    pub(crate) within_ms: u64,
    /// What it finds in its environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Exit code 0.
    Open,
    /// Exit code 75.
    NotYet(String),
    /// Anything else.
    Trouble(String),
}

/// `evenkeeld run-script`: reads its job from its input, writes the answer to its output. The end of its input
/// is the end of the script and of its process group.
pub(crate) fn main() -> ExitCode {
    let answer = read_job().and_then(|job| run(&job));
    let answer = answer.unwrap_or_else(Answer::Trouble);
    let line = serde_json::to_string(&answer).expect("plain data: JSON can say it");
    super::answer(&line)
}

fn run(job: &ScriptJob) -> Result<Answer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("it cannot be watched: {error}"))?;
    runtime.block_on(watch(job))
}

async fn watch(job: &ScriptJob) -> Result<Answer, String> {
    let mut child = Command::new(&job.script)
        .current_dir("/")
        .env_clear()
        .envs(&job.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", job.script.display()))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let group = Group(group.map(Pid::from_raw));
    let within = Duration::from_millis(job.within_ms);
    let answer = tokio::select! {
        biased;
        () = input_ends() => Err("the daemon ended".to_owned()),
        answer = timeout(within, talk(&mut child, &group)) => match answer {
            Ok(answer) => Ok(answer),
            Err(_) => Err(format!("it did not end within {} s", within.as_secs_f64())),
        },
    };
    group.end();
    answer
}

/// The script, and whatever it started.
struct Group(Option<Pid>);

impl Group {
    fn end(&self) {
        if let Some(group) = self.0 {
            // It may have left nothing.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn talk(child: &mut Child, group: &Group) -> Answer {
    let (Some(said), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Answer::Trouble("it has no pipes".to_owned());
    };
    let (said, errors) = (output::tail(said), output::tail(errors));
    let ended = async {
        let status = child.wait().await;
        // What it left behind would hold its output open, and so its answer back.
        group.end();
        status
    };
    let (said, errors, status) = tokio::join!(said, errors, ended);
    let last = output::last_line(&said).or_else(|| output::last_line(&errors));
    match status {
        Ok(status) => judge(status, last),
        Err(error) => Answer::Trouble(format!("how it ended is not known: {error}")),
    }
}

fn judge(status: ExitStatus, last: Option<String>) -> Answer {
    let said = last.unwrap_or_else(|| "it says nothing".to_owned());
    match status.code() {
        Some(0) => Answer::Open,
        Some(NOT_YET) => Answer::NotYet(said),
        Some(code) => Answer::Trouble(format!("exit code {code}: {said}")),
        None => Answer::Trouble(format!("it was killed: {said}")),
    }
}
