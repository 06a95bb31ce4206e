//! The power switch: what the fence agent on each host asks.
//!
//! A line in, a line out: `off NAME`, `on NAME`, `cycle NAME`, `reboot NAME`, `status NAME`, `ping -`; `ok on`, `ok off`, or `error WHY`. The
//! answer to `off` comes when every process of the host is gone and its network, that to `reboot` when the clean shutdown has begun.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::host::Host;

const ASKED_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// Serves until it is dropped.
pub(crate) struct PowerSwitch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Where it listens.
pub(crate) fn socket(cluster: &Path) -> PathBuf {
    cluster.join("power")
}

impl PowerSwitch {
    pub(crate) fn begin(cluster: &Path, hosts: Vec<Host>) -> Result<Self> {
        let listener = UnixListener::bind(socket(cluster))?;
        listener.set_nonblocking(true)?;
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let serve = move || {
            while !told.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((link, _)) => answer(link, &hosts),
                    Err(_) => sleep(LOOK),
                }
            }
        };
        Ok(Self {
            over,
            thread: Some(spawn(serve)),
        })
    }
}

impl Drop for PowerSwitch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Whoever does not get an answer takes the switch for broken, as it should.
fn answer(link: UnixStream, hosts: &[Host]) {
    let talk = || -> Result<()> {
        link.set_nonblocking(false)?;
        link.set_read_timeout(Some(ASKED_WITHIN))?;
        let mut line = String::new();
        BufReader::new(&link).read_line(&mut line)?;
        let answer = match act(&line, hosts) {
            Ok(answer) => format!("ok {answer}\n"),
            Err(error) => format!("error {error:#}\n"),
        };
        Ok((&link).write_all(answer.as_bytes())?)
    };
    if let Err(error) = talk() {
        eprintln!("the power switch: {error:#}");
    }
}

fn act(line: &str, hosts: &[Host]) -> Result<&'static str> {
    let Some((action, name)) = line.trim().split_once(' ') else {
        bail!("{line:?} is no question");
    };
    if action == "ping" {
        return Ok("pong");
    }
    let Some(host) = hosts.iter().find(|host| host.name() == name) else {
        bail!("there is no host {name:?}");
    };
    match action {
        "off" => host.kill()?,
        "on" => host.start()?,
        "cycle" => {
            host.kill()?;
            host.start()?;
        }
        // Whoever asks is inside, and will not see its end.
        "reboot" => reboot(host.clone()),
        "status" => {}
        _ => bail!("{action:?} is no action"),
    }
    Ok(match host.is_running()? {
        true => "on",
        false => "off",
    })
}

/// In the background: others must be able to fence meanwhile.
fn reboot(host: Host) {
    spawn(move || {
        if let Err(error) = host.reboot() {
            eprintln!("the reboot of {}: {error:#}", host.name());
        }
    });
}
