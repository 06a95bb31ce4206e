//! How a command ends.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::client::CallError;

/// A command that did not do what was asked, and the sentence that says why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// It was typed wrongly, or it is not known which cluster is meant.
    #[error("{0}")]
    Usage(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// The update stands still until someone resumes or cancels it.
    #[error("{0}")]
    Paused(String),
    /// Nobody reads what is printed.
    #[error("the output was closed")]
    Closed,
}

impl Stop {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Paused(_) => ExitCode::from(3),
            Self::Closed => ExitCode::SUCCESS,
        }
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Prints to standard output. A reader that went away (`| head`) ends the command quietly.
pub(crate) fn print(text: &str) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::Closed,
        _ => Stop::Failed(format!("cannot print: {error}")),
    })
}

/// Prints an object of the API.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Stop> {
    print(&format!("{value:#}\n"))
}
