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
mod error;
mod expiry;
mod firmware;
mod installer;
mod keeper;
mod late;
mod link;
mod listen;
mod local;
mod machine;
mod mirror;
mod modes;
mod notify;
mod packages;
mod pair_watch;
mod peers;
mod pool;
mod record;
mod sandbox;
mod scripts;
mod scrub;
mod start;
mod telling;
mod watchdog;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

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
        default_value = "/etc/evenkeel/evenkeeld.toml"
    )]
    config: PathBuf,
    /// Read the configuration and what it names, say whether it can be used, and start nothing.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    own: Option<Own>,
}

/// What the daemon executes itself for; nobody else has a use for it.
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.own {
        Some(Own::Check) => return sandbox::run_check(),
        Some(Own::CheckInside) => return sandbox::run_inside(),
        Some(Own::Script) => return sandbox::run_script(),
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
            eprintln!("evenkeeld: {}", error::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let settings = config::load(&arguments.config)?;
    log_to_stderr();
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

/// For journald: no colours, and no times of our own where it adds them.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("EVENKEEL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false);
    let log = log.with_writer(std::io::stderr);
    match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => log.without_time().init(),
        None => log.init(),
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
