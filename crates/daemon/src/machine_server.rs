//! Sees the machine and acts on it for a daemon that has neither devices nor privileges: a process of its own, which systemd
//! starts with the first connection (`evenkeel-machine.socket`).

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_model::NodeSettings;
use evenkeel_platform::remote;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::config::{self, CONFIGURATION, ConfigError};
use crate::error::chain;
use crate::log;
use crate::machine::{self, Machine};

/// Pause between two tries to reach the machine.
const RETRY: Duration = Duration::from_millis(200);

/// `evenkeeld serve-machine`: its input is the socket where the machine is asked for. With SIGTERM it ends, once the calls that are
/// under way have.
pub(crate) fn main(config: &Path) -> ExitCode {
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = chain(error.as_ref());
            eprintln!("evenkeeld: the machine is not served: {text}");
            match error.is::<ConfigError>() {
                // Starting again does not mend it, and no daemon can be started by it that would ask.
                true => ExitCode::from(CONFIGURATION),
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn serve(config: &Path) -> Result<()> {
    let settings = config::load(config)?;
    log::begin(&settings.node);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let listener = listener().context("its input is no socket to listen on")?;
        let mut terminated =
            signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let machine = tokio::select! {
            machine = reach(&settings) => machine,
            _ = terminated.recv() => return Ok(()),
        };
        let stop = async move {
            terminated.recv().await;
            tracing::info!("told to end: what is under way goes on to its end first");
        };
        remote::serve(listener, machine.platform, machine.devices, stop).await;
        Ok(())
    });
    runtime.shutdown_background();
    outcome
}

fn listener() -> io::Result<UnixListener> {
    let socket = StdListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

/// Whoever connects meanwhile waits, with a bound of its own.
async fn reach(settings: &NodeSettings) -> Machine {
    let mut last = String::new();
    loop {
        match machine::own(settings).await {
            Ok(machine) => return machine,
            Err(error) => {
                let error = error.to_string();
                if error != last {
                    tracing::warn!(error, "the machine does not answer yet: {error}");
                    last = error;
                }
                sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a line `NAME=VALUE`.
    fn says<'a>(unit: &'a str, name: &str) -> Option<&'a str> {
        unit.lines().find_map(|line| line.strip_prefix(name))
    }

    #[test]
    fn its_unit_leaves_it_the_time_to_end_what_is_under_way() {
        let unit = include_str!("../../../systemd/evenkeel-machine.service");
        let seconds = says(unit, "TimeoutStopSec=").unwrap();
        assert!(Duration::from_secs(seconds.parse().unwrap()) > remote::ENDS_WITHIN);
        // Programs that it runs are not told to end while it waits for them.
        assert_eq!(says(unit, "KillMode="), Some("mixed"));
    }

    #[test]
    fn a_restart_that_waits_no_longer_is_the_daemons_alone() {
        let unit = include_str!("../../../systemd/evenkeel-restart.service");
        let restarts = unit.lines().filter(|line| line.contains("try-restart"));
        let restarts: Vec<_> = restarts.collect();
        let [daemon, machine] = restarts[..] else {
            panic!("{restarts:?}");
        };
        assert!(
            daemon.ends_with("try-restart evenkeeld.service"),
            "{daemon}"
        );
        assert!(
            machine.ends_with("try-restart evenkeel-machine.service"),
            "{machine}"
        );
        let before = unit.split(machine).next().unwrap();
        let last = before.lines().rfind(|line| line.starts_with("ExecStart="));
        assert!(
            last.is_some_and(|it| it.contains("may-restart") && !it.starts_with("ExecStart=-")),
            "{last:?}"
        );
    }
}
