//! Who answers at an address, looked at from where clients are.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use anyhow::{Context, Result};

/// A running probe.
pub struct Probe {
    child: Child,
    reader: Option<JoinHandle<()>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

/// One answer: when, on the machine's monotonic clock, and by which host.
#[derive(Clone, Debug)]
struct Answer {
    at_ms: f64,
    host: String,
}

/// Time without an answer.
#[derive(Clone, Debug)]
pub struct Gap {
    /// How long.
    pub length: Duration,
    /// Who answered before.
    pub before: String,
    /// Who answered after.
    pub after: String,
}

impl Probe {
    pub(crate) fn begin(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("the probe has no output")?;
        let answers = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&answers);
        let reader = spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Some((at, host)) = line.split_once(' ') else {
                    continue;
                };
                if let Ok(at_ms) = at.parse() {
                    let host = host.to_owned();
                    let mut answers = told.lock().unwrap_or_else(PoisonError::into_inner);
                    answers.push(Answer { at_ms, host });
                }
            }
        });
        Ok(Self {
            child,
            reader: Some(reader),
            answers,
        })
    }

    /// How many answers there were so far.
    pub fn answers(&self) -> usize {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Who answered last.
    pub fn newest(&self) -> Option<String> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.last().map(|answer| answer.host.clone())
    }

    /// All times between two answers so far.
    pub fn gaps(&self) -> Vec<Gap> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let gaps = answers.windows(2).map(|two| Gap {
            length: Duration::from_secs_f64((two[1].at_ms - two[0].at_ms).max(0.0) / 1000.0),
            before: two[0].host.clone(),
            after: two[1].host.clone(),
        });
        gaps.collect()
    }

    /// The longest time between two answers so far; none without two.
    pub fn longest_gap(&self) -> Option<Gap> {
        self.gaps().into_iter().max_by_key(|gap| gap.length)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _panicked = reader.join();
        }
    }
}

/// Tells what was measured to whoever runs the tests, where they pass too.
pub fn tell(measured: &str) {
    // Not by a macro: what those print is kept back unless a test fails.
    let _nobody_listens = writeln!(std::io::stderr(), "measured: {measured}");
}
