//! `evenkeel lab demo`: a cluster of real processes takes a package in and rolls to it, on this machine.

pub(crate) mod content;
mod lab;
mod probing;
mod story;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use evenkeel_lab::parse_duration;

use self::story::Story;
use crate::outcome::{Stop, print, print_json};

/// Show the whole way once: a four-node lab, two signed packages, an update with live progress.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder of the lab; must be new or empty. Default: a new one below the folder for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Length of a minute of stabilize, boot and gate times.
    #[arg(long, default_value = "250ms", value_parser = parse_duration)]
    minute: Duration,
}

/// Runs it. Done only when the cluster completed the update and proved that the new daemon runs.
pub(crate) fn run(args: DemoArgs, json: bool) -> Result<(), Stop> {
    let dir = scratch(args.dir)?;
    let told = Story {
        dir: dir.clone(),
        minute: args.minute,
    }
    .tell();
    let summary = match told {
        Ok(summary) => summary,
        Err(stop) => {
            eprintln!("logs and databases are in {}", dir.display());
            if json {
                print_json(&summary::failure(&stop, &dir))?;
            }
            return Err(stop);
        }
    };
    match json {
        true => print_json(&summary.to_json()),
        false => print(&summary.to_text()),
    }
}

fn scratch(asked: Option<PathBuf>) -> Result<PathBuf, Stop> {
    let dir = asked.unwrap_or_else(|| {
        // Short: the lab's sockets live below it, and their names are bounded.
        std::env::temp_dir().join(format!("evenkeel-{}", std::process::id()))
    });
    let failed = |error| Stop::Failed(format!("cannot use {}: {error}", dir.display()));
    fs::create_dir_all(&dir).map_err(failed)?;
    let mut content = fs::read_dir(&dir).map_err(failed)?;
    match content.next() {
        None => std::path::absolute(&dir).map_err(failed),
        Some(_) => Err(Stop::Failed(format!("{} is not empty", dir.display()))),
    }
}

/// Says what happens now, where a person watches.
fn step(text: &str) {
    eprintln!("== {text}");
}

fn at(path: &Path, what: &str) -> impl FnOnce(std::io::Error) -> Stop {
    let path = path.to_owned();
    move |error| Stop::Failed(format!("cannot {what} {}: {error}", path.display()))
}
