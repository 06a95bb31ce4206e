//! Running external programs, bounded.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::look::unavailable;
use evenkeel_platform::PlatformError;

/// Most that is read of what a program prints: a CIB of a large pair has some hundred kilobytes.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// One run of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name, looked up in the PATH.
    pub program: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it reads.
    pub input: Vec<u8>,
    /// How long it may take. Then it is killed.
    pub within: Duration,
}

impl Call {
    /// A run that reads nothing.
    pub fn new<A: Into<String>>(
        program: &'static str,
        args: impl IntoIterator<Item = A>,
        within: Duration,
    ) -> Self {
        Self {
            program,
            args: args.into_iter().map(Into::into).collect(),
            input: Vec::new(),
            within,
        }
    }

    /// As one types it, for people.
    pub fn line(&self) -> String {
        let args = self.args.iter().map(String::as_str);
        let words: Vec<&str> = std::iter::once(self.program).chain(args).collect();
        words.join(" ")
    }
}

/// A program that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub output: Vec<u8>,
    /// What it printed on its error output, for people.
    pub errors: String,
}

impl Finished {
    /// What it printed, if it succeeded.
    pub(crate) fn printed(self, call: &Call) -> Result<Vec<u8>, PlatformError> {
        let (line, errors) = (call.line(), self.errors);
        match self.code {
            Some(0) => Ok(self.output),
            Some(code) => Err(unavailable(format!("{line} ended with {code}: {errors}"))),
            None => Err(unavailable(format!(
                "{line} was ended by a signal: {errors}"
            ))),
        }
    }
}

/// Runs programs. An error means that it is not known what the program did.
#[async_trait]
pub trait Programs: Send + Sync {
    /// Runs one until it ends, whatever its exit code. Unavailable when it cannot be started or does not end in time.
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError>;
}

/// The machine's own programs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemPrograms;

#[async_trait]
impl Programs for SystemPrograms {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let failed = |why: String| unavailable(format!("{}: {why}", call.line()));
        HUNG.check(call.program).map_err(failed)?;
        let mut command = Command::new(call.program);
        command.args(&call.args).env("LC_ALL", "C.UTF-8");
        // The partner compares what is printed with what it prints itself, and may be set to another zone.
        command.env("TZ", "UTC");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: what it has started itself is ended with it.
        command.stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut run = Run::new(call.program, child);
        match timeout(call.within, run.finish(&call.input)).await {
            Ok(finished) => finished.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed(format!("it did not end within {:?}", call.within))),
        }
    }
}

/// Runs of one program that may be hanging. A process that waits for a device in the kernel is not ended by any signal: without a
/// bound, each look would leave one more of them, until none can be started at all, nor those that the pair's safety needs.
const HUNG_MAX: usize = 4;
/// Between two looks whether a group of processes is gone.
const GONE_PAUSE: Duration = Duration::from_millis(200);

static HUNG: Hung = Hung(Mutex::new(BTreeMap::new()));

/// How many runs of each program were killed and have not ended yet.
struct Hung(Mutex<BTreeMap<&'static str, usize>>);

impl Hung {
    fn change(&self, program: &'static str, change: impl FnOnce(usize) -> usize) {
        let mut hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = hung.entry(program).or_default();
        *count = change(*count);
    }

    fn check(&self, program: &'static str) -> Result<(), String> {
        let hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match hung.get(program).copied().unwrap_or_default() {
            few if few < HUNG_MAX => Ok(()),
            many => Err(format!(
                "{many} runs of {program} hang in the kernel already; the kernel's log tells which device is in trouble"
            )),
        }
    }

    /// Counts a run for as long as what this gives is kept.
    fn hold(&'static self, program: &'static str) -> Held {
        self.change(program, |count| count + 1);
        Held {
            hung: self,
            program,
        }
    }
}

/// A run that was killed and has not ended yet.
struct Held {
    hung: &'static Hung,
    program: &'static str,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hung
            .change(self.program, |count| count.saturating_sub(1));
    }
}

/// A program that runs. One that nobody waits for any more is killed, and counted until it has ended.
struct Run {
    program: &'static str,
    child: Option<Child>,
}

impl Run {
    fn new(program: &'static str, child: Child) -> Self {
        let child = Some(child);
        Self { program, child }
    }

    async fn finish(&mut self, input: &[u8]) -> io::Result<Finished> {
        let child = self.child.as_mut();
        let finished = finish(child.expect("it is taken when it has ended"), input).await;
        if finished.is_ok() {
            self.child = None;
        }
        finished
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let held = HUNG.hold(self.program);
        // Until it is waited for, nobody else gets its number.
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let group = group.map(Pid::from_raw);
        if let Some(group) = group {
            let _gone = killpg(group, Signal::SIGKILL);
        }
        let _gone = child.start_kill();
        // Whoever drops it without a runtime is about to end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(gone(child, group, held));
        }
    }
}

/// Waits until a program that was killed has ended, and the last of its group too.
async fn gone(mut child: Child, group: Option<Pid>, held: Held) {
    let _code = child.wait().await;
    while group.is_some_and(|group| killpg(group, None).is_ok()) {
        sleep(GONE_PAUSE).await;
    }
    drop(held);
}

async fn finish(child: &mut Child, input: &[u8]) -> io::Result<Finished> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // One that does not read to the end says with its exit code what it thinks of that.
            let _unread = stdin.write_all(input).await;
        }
    };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let read_output = async {
        if let Some(stdout) = stdout {
            stdout
                .take(MAX_OUTPUT_BYTES)
                .read_to_end(&mut output)
                .await?;
        }
        Ok::<_, io::Error>(())
    };
    let read_errors = async {
        if let Some(stderr) = stderr {
            stderr
                .take(MAX_OUTPUT_BYTES)
                .read_to_end(&mut errors)
                .await?;
        }
        Ok::<_, io::Error>(())
    };
    let ((), read, read_too) = tokio::join!(feed, read_output, read_errors);
    read.and(read_too)?;
    let status = child.wait().await?;
    Ok(Finished {
        code: status.code(),
        output,
        errors: String::from_utf8_lossy(&errors).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(program: &'static str, args: &[&str], within: Duration) -> Call {
        Call::new(program, args.iter().copied(), within)
    }

    #[tokio::test]
    async fn a_program_of_which_four_runs_hang_is_not_started() {
        let quick = call("true", &[], Duration::from_secs(60));
        let mut hung: Vec<Held> = (0..HUNG_MAX - 1).map(|_| HUNG.hold("true")).collect();
        SystemPrograms.run(&quick).await.unwrap();
        hung.push(HUNG.hold("true"));
        let said = SystemPrograms.run(&quick).await.unwrap_err().to_string();
        assert!(
            said.contains("4 runs of true hang in the kernel already"),
            "{said}"
        );
        // Others do not wait for it.
        let other = call("echo", &["x"], Duration::from_secs(60));
        assert_eq!(SystemPrograms.run(&other).await.unwrap().output, b"x\n");
        hung.pop();
        SystemPrograms.run(&quick).await.unwrap();
    }

    /// Whether any is counted.
    fn counted(program: &str) -> bool {
        let hung = HUNG.0.lock().unwrap();
        hung.get(program).is_some_and(|count| *count > 0)
    }

    async fn until(is_so: impl Fn() -> bool) {
        for _ in 0..600 {
            if is_so() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("not within a minute");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_counted_until_it_has_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! >{}; wait", pid.display());
        let slow = call("sh", &["-c", &script], Duration::from_secs(600));
        let running = tokio::spawn(async move { SystemPrograms.run(&slow).await });
        let started = || std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
        until(started).await;
        // Whoever asked has gone: that is as good as a bound that has passed.
        running.abort();
        running.await.unwrap_err();
        assert!(counted("sh"));
        until(|| !counted("sh")).await;
        let child: i32 = std::fs::read_to_string(&pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let gone = nix::sys::signal::kill(Pid::from_raw(child), None);
        assert!(gone.is_err(), "{child} runs on");
        let slow = call("sleep", &["600"], Duration::from_millis(20));
        let said = SystemPrograms.run(&slow).await.unwrap_err().to_string();
        assert!(said.contains("sleep 600: it did not end within"), "{said}");
        until(|| !counted("sleep")).await;
    }
}
