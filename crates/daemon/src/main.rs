//! `evenkeeld`: reads its configuration, wires the parts together, and ends cleanly. What is wired to
//! what is in `start`.

mod booted;
mod bootstrap;
mod brought;
mod cancel;
mod certificate;
mod check;
mod cluster;
mod config;
mod derived;
mod door;
mod errand;
mod error;
mod expiry;
mod files;
mod firmware;
mod installer;
mod keeper;
mod late;
mod link;
mod listen;
mod local;
mod log;
mod machine;
mod machine_server;
mod mirror;
mod modes;
mod notify;
mod packages;
mod pair_watch;
mod peers;
mod pool;
mod readiness;
mod record;
mod sandbox;
mod scripts;
mod scrub;
mod slot_writer;
mod start;
mod telling;
mod waiting;
mod watchdog;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::waiting::Wait;

/// Time for threads that block (an fsync, a flash that runs elsewhere) when the daemon ends.
const THREADS_WITHIN: Duration = Duration::from_secs(2);

/// Evenkeel's daemon: one on each storage controller.
#[derive(Parser)]
#[command(name = "evenkeeld", version)]
struct Arguments {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        default_value = "/etc/evenkeel/evenkeeld.toml"
    )]
    config: PathBuf,
    /// Read the configuration and what it names, say whether it can be used, and start nothing.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    other: Option<Other>,
}

/// What this program does instead of being the daemon.
#[derive(Clone, Copy, clap::Subcommand)]
enum Other {
    #[command(flatten)]
    Wait(Wait),
    #[command(flatten)]
    Own(Own),
}

/// What the daemon has this program executed for, by itself or by a unit; nobody else has a use for it.
#[derive(Clone, Copy, clap::Subcommand)]
enum Own {
    /// Runs a check that a package brings.
    #[command(name = "run-check", hide = true)]
    Check,
    /// The same, from inside its confinement.
    #[command(name = "run-check-inside", hide = true)]
    CheckInside,
    /// Runs the operator's gate script.
    #[command(name = "run-script", hide = true)]
    Script,
    /// Writes a package into a slot.
    #[command(name = "write-slot", hide = true)]
    Slot,
    /// Sees the machine and acts on it, for a daemon that may not.
    #[command(name = "serve-machine", hide = true)]
    Machine,
}

impl Own {
    fn run(self, config: &Path) -> ExitCode {
        match self {
            Self::Check => sandbox::run_check(),
            Self::CheckInside => sandbox::run_inside(),
            Self::Script => sandbox::run_script(),
            Self::Slot => slot_writer::main(),
            Self::Machine => machine_server::main(config),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.other {
        Some(Other::Own(own)) => return own.run(&arguments.config),
        Some(Other::Wait(wait)) => return waiting::run(wait, &arguments.config),
        None => {}
    }
    let outcome = match arguments.check {
        true => check::check(&arguments.config)
            .map(|()| println!("{}: can be used", arguments.config.display())),
        false => run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = error::chain(error.as_ref());
            eprintln!("evenkeeld: {text}");
            notify::notify(&[NotifyState::Status(&text)]);
            ended_by(&error)
        }
    }
}

/// What starting it again does not mend has an exit code of its own: the unit stays down then, and says why.
fn ended_by(error: &anyhow::Error) -> ExitCode {
    match error.is::<config::ConfigError>() {
        true => ExitCode::from(config::CONFIGURATION),
        false => ExitCode::FAILURE,
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let settings = config::load(&arguments.config)?;
    log::begin(&settings.node);
    // What is made without a mode of its own is nobody else's, whoever starts the daemon.
    umask(Mode::from_bits_truncate(0o077));
    allow_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone())?);
        start::run(settings, stop).await
    });
    runtime.shutdown_timeout(THREADS_WITHIN);
    outcome
}

/// Open files beside connections: databases, packages, peers.
const OTHER_FILES: u64 = 1024;

/// Raises the bound on open files to what the connections of both listeners need, as far as it may be raised.
fn allow_connections() {
    let wanted = 2 * evenkeel_rest::Limits::default().connections as u64 + OTHER_FILES;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = wanted.min(hard).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the bound on open files stays as it is");
    }
}

fn cancel_on_signal(stop: CancellationToken) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    })
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    fn options(command: &Command) -> Vec<String> {
        let longs = command.get_arguments().filter_map(|it| it.get_long());
        longs.map(|long| format!("--{long}")).collect()
    }

    #[test]
    fn the_manual_names_every_command_and_option() {
        let manual = include_str!("../../../systemd/evenkeeld.8").replace("\\-", "-");
        let command = Arguments::command();
        let mut named = options(&command);
        for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            named.push(below.get_name().to_owned());
            named.extend(options(below));
        }
        assert!(named.contains(&"--within".to_owned()), "{named:?}");
        for name in named {
            assert!(manual.contains(&name), "{name} is not in evenkeeld.8");
        }
    }
}
