//! Processes that are measured, or that measure.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::step::{cargo, run, target};

/// Builds all that is measured, for release.
pub(crate) fn build() -> Result<()> {
    let build = ["build", "--quiet", "--release", "--workspace"];
    run("building the programs", cargo().args(build).arg("--bins"))?;
    let example = ["--example", "rest_bench"];
    run(
        "building what is measured",
        cargo().args(build).args(example),
    )
}

/// The program of the front end and of its clients.
pub(crate) fn tool() -> Command {
    Command::new(target().join("release/examples/rest_bench"))
}

pub(crate) fn json_of<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).with_context(|| format!("{text:?} is not what was expected"))
}

/// A process that says something, and goes on until its standard input is closed. Dropping it kills it.
pub(crate) struct Talking {
    child: Child,
    input: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Drop for Talking {
    fn drop(&mut self) {
        // Both fail for one that has ended, which is what is wanted.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Talking {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().context("cannot start what is measured")?;
        let input = child.stdin.take();
        let said = child.stdout.take().context("it was piped")?;
        Ok(Self {
            child,
            input,
            said: BufReader::new(said),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a process ended without a word");
        Ok(line)
    }

    /// The next line as an object.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        json_of(&self.line()?)
    }

    /// Ends it; what it says at its end.
    pub(crate) fn end(mut self) -> Result<String> {
        drop(self.input.take());
        let mut rest = String::new();
        self.said.read_to_string(&mut rest)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "a process failed ({status})");
        Ok(rest)
    }

    pub(crate) fn end_and_hear<T: DeserializeOwned>(self) -> Result<T> {
        json_of(&self.end()?)
    }
}

/// The front end and the bare server beside it.
pub(crate) struct Server {
    process: Talking,
    said: Said,
}

#[derive(Deserialize)]
struct Said {
    front: String,
    bare: String,
    ca: PathBuf,
    paths: Vec<String>,
}

impl Server {
    /// Over the record in this folder.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let mut process = Talking::start(tool().arg("serve").arg(folder))?;
        let said = process.hear()?;
        Ok(Self { process, said })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What there is to ask for.
    pub(crate) fn paths(&self) -> &[String] {
        &self.said.paths
    }

    /// Arguments for a client.
    pub(crate) fn target(&self, ours: bool, path: &str) -> Vec<String> {
        let address = match ours {
            true => &self.said.front,
            false => &self.said.bare,
        };
        let mut arguments = vec![address.clone(), self.said.ca.display().to_string()];
        arguments.extend((!path.is_empty()).then(|| path.to_owned()));
        arguments
    }

    pub(crate) fn resident_bytes(&self) -> Result<f64> {
        resident_bytes(self.pid())
    }

    pub(crate) fn end(self) -> Result<()> {
        self.process.end().map(drop)
    }
}

pub(crate) fn resident_bytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: f64 = kilobytes.context("/proc/PID/status")?.parse()?;
    Ok(kilobytes * 1024.0)
}
