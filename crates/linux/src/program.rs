//! Running external programs, bounded.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

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
        let failed = |why: String| PlatformError::Unavailable(format!("{}: {why}", call.line()));
        let mut command = Command::new(call.program);
        command.args(&call.args).env("LC_ALL", "C.UTF-8");
        // The partner compares what is printed with what it prints itself, and may be set to another zone.
        command.env("TZ", "UTC");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        match timeout(call.within, finish(child, &call.input)).await {
            Ok(finished) => finished.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed(format!("it did not end within {:?}", call.within))),
        }
    }
}

async fn finish(mut child: Child, input: &[u8]) -> std::io::Result<Finished> {
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
        Ok::<_, std::io::Error>(())
    };
    let read_errors = async {
        if let Some(stderr) = stderr {
            stderr
                .take(MAX_OUTPUT_BYTES)
                .read_to_end(&mut errors)
                .await?;
        }
        Ok::<_, std::io::Error>(())
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
