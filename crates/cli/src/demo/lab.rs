//! The lab of the demo: a process like any other `evenkeel lab up`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::at;
use crate::clock::Stopwatch;
use crate::outcome::Stop;

/// Until the cluster answers. It takes seconds; a busy machine may need more.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Until everything of the lab has ended.
const DOWN_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at a process.
const LOOK: Duration = Duration::from_millis(50);

/// A running lab. Goes down when dropped.
pub(crate) struct RunningLab {
    process: Child,
}

impl RunningLab {
    /// Starts it, and returns when it says that the cluster answers.
    pub(crate) fn up(dir: &Path, minute: Duration, image: &Path) -> Result<Self, Stop> {
        let evenkeel = std::env::current_exe().map_err(at(Path::new("this program"), "find"))?;
        let log = dir.join("lab.log");
        let output = File::create(&log).map_err(at(&log, "make"))?;
        let mut command = Command::new(&evenkeel);
        command
            .args(["lab", "up", "--address", "127.0.0.1:0", "--dir"])
            .arg(dir);
        command.args(["--minute", &format!("{}ms", minute.as_millis())]);
        command.arg("--image").arg(image);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(output);
        let process = command.spawn().map_err(at(&evenkeel, "start"))?;
        let mut lab = Self { process };
        lab.wait_ready().map_err(|why| {
            Stop::Failed(format!(
                "the lab did not come up: {why}; see {}",
                log.display()
            ))
        })?;
        Ok(lab)
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let output = self.process.stdout.take().ok_or("it has no output")?;
        let (say, heard) = channel();
        // Reads on to the end, so that the lab never waits for a reader.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once it is ready.
                let _ = say.send(line);
            }
        });
        let waited = Stopwatch::start();
        loop {
            let left = READY_WITHIN.saturating_sub(waited.elapsed());
            match heard.recv_timeout(left) {
                Ok(line) if line.trim() == "ready" => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it was not ready within {READY_WITHIN:?}"));
                }
                Err(RecvTimeoutError::Disconnected) => return Err("it ended".to_owned()),
            }
        }
    }

    /// Takes it down cleanly.
    pub(crate) fn down(mut self) -> Result<(), Stop> {
        self.end()
            .map_err(|why| Stop::Failed(format!("the lab did not go down: {why}")))
    }

    fn end(&mut self) -> Result<(), String> {
        let pid = i32::try_from(self.process.id()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|error| error.to_string())?;
        let waited = Stopwatch::start();
        while waited.elapsed() < DOWN_WITHIN {
            match self.process.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("it ended with {status}")),
                Ok(None) => thread::sleep(LOOK),
                Err(error) => return Err(error.to_string()),
            }
        }
        self.process.kill().map_err(|error| error.to_string())?;
        Err(format!(
            "it was still there after {DOWN_WITHIN:?} and was killed"
        ))
    }
}

impl Drop for RunningLab {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // What went wrong before is what will be told.
            let _ = self.end();
            let _ = self.process.wait();
        }
    }
}
