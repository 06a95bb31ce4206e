//! Two daemons of a lab while nothing is asked of them: how soon one is ready, and what they take.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::figures::{Figures, Must};
use super::tool::{Talking, json_of, resident_bytes, tool};
use crate::step::{output, target};

const READY: Must = Must::LessThan(200.0);
const MEMORY: Must = Must::LessThan(25.0);
/// Of one core. What is less does not show beside a machine's own ticking.
const CPU: Must = Must::LessThan(0.5);
/// Until what a start leaves to do is done.
const SETTLES: Duration = Duration::from_secs(10);
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(30);
/// Wrong passwords that the coordinator gets before: each takes memory to be verified, and should give it back.
const GUESSES: u32 = 5;
/// Far above any start.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn measure(folder: &Path, rounds: u32, figures: &mut Figures) -> Result<()> {
    eprintln!("== two daemons in a lab");
    let lab = Lab::up(folder)?;
    sleep(SETTLES);
    let coordinator = lab.coordinator()?;
    let mut nodes = lab.file.nodes.iter().map(|node| &node.name);
    let other = nodes.find(|node| **node != coordinator);
    let other = other.context("a lab of two nodes has another")?;
    for _ in 0..rounds {
        let ready_ms = lab.restart(other)?;
        figures.add("daemon: ready after its start", "ms", ready_ms, Some(READY));
    }
    sleep(SETTLES);
    let daemons = [
        ("coordinator", lab.pid(&coordinator)?),
        ("other node", lab.pid(other)?),
    ];
    lab.guess(&coordinator)?;
    for _ in 0..rounds {
        let before = daemons.map(|(_, pid)| cpu_s(pid));
        sleep(IDLE);
        for ((who, pid), before) in daemons.iter().zip(before) {
            let part = (cpu_s(*pid)? - before?) / IDLE.as_secs_f64() * 100.0;
            let memory = resident_bytes(*pid)? / 1e6;
            eprintln!("   {who}: {part:.2} % of a core, {memory:.1} MB");
            let mut add = |what: &str, unit, value, must| {
                let what = format!("idle daemon, {who}: {what}");
                figures.add(&what, unit, value, Some(must));
            };
            add("resident memory", "MB", memory, MEMORY);
            add("part of a core", "%", part, CPU);
        }
    }
    lab.down()
}

/// A lab that runs, and what its daemons tell the service manager.
struct Lab {
    dir: PathBuf,
    up: Option<Talking>,
    notify: UnixDatagram,
    file: LabFile,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.up.is_some() {
            // Its daemons end with it, one way or the other.
            let _outcome = output(evenkeel().args(["lab", "down"]).arg("--dir").arg(&self.dir));
        }
    }
}

/// What `lab.json` says.
#[derive(Default, Deserialize)]
struct LabFile {
    ca: PathBuf,
    nodes: Vec<LabNode>,
}

#[derive(Deserialize)]
struct LabNode {
    name: String,
    url: String,
}

fn evenkeel() -> Command {
    Command::new(target().join("release/evenkeel"))
}

impl Lab {
    fn up(folder: &Path) -> Result<Self> {
        let (dir, socket) = (folder.join("lab"), folder.join("notify"));
        let notify = UnixDatagram::bind(&socket)?;
        notify.set_read_timeout(Some(PATIENCE))?;
        let mut command = evenkeel();
        command.args(["lab", "up", "--nodes", "2", "--address", "127.0.0.1:0"]);
        command.arg("--dir").arg(&dir).env("NOTIFY_SOCKET", &socket);
        let mut lab = Self {
            up: Some(Talking::start(&mut command)?),
            dir,
            notify,
            file: LabFile::default(),
        };
        let up = lab.up.as_mut().context("it was started")?;
        ensure!(up.line()?.trim() == "ready", "the lab does not come up");
        lab.file = json_of(&fs::read_to_string(lab.dir.join("lab.json"))?)?;
        Ok(lab)
    }

    /// As a daemon's status text says.
    fn coordinator(&self) -> Result<String> {
        let mut found = None;
        self.notify.set_nonblocking(true)?;
        while let Some(said) = self.heard()? {
            let said = said
                .lines()
                .find_map(|it| it.strip_prefix("STATUS=coordinator "));
            let name = said.and_then(|it| it.split(';').next());
            found = name.map(str::to_owned).or(found);
        }
        self.notify.set_nonblocking(false)?;
        found.context("no daemon has said who coordinates")
    }

    /// What one of the daemons says; `None` when the socket does not wait and there is nothing.
    fn heard(&self) -> Result<Option<String>> {
        let mut buffer = [0; 4096];
        match self.notify.recv(&mut buffer) {
            Ok(length) => Ok(Some(
                String::from_utf8_lossy(&buffer[..length]).into_owned(),
            )),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("listening to the daemons"),
        }
    }

    /// Kills a node's daemon, and says how long the next one took from its process's start until it said that it
    /// is ready.
    fn restart(&self, node: &str) -> Result<f64> {
        output(
            evenkeel()
                .args(["lab", "kill", node])
                .arg("--dir")
                .arg(&self.dir),
        )?;
        loop {
            let Some(said) = self.heard()? else {
                bail!("{node} did not become ready within {PATIENCE:?}");
            };
            if said.lines().any(|line| line == "READY=1") {
                break;
            }
        }
        let now = uptime_s()?;
        Ok((now - started_s(self.pid(node)?)?) * 1e3)
    }

    fn guess(&self, node: &str) -> Result<()> {
        let known = self.file.nodes.iter().find(|it| it.name == node);
        let url = &known.context("the lab has this node")?.url;
        let address = url.trim_start_matches("https://");
        let mut guess = tool();
        guess.args(["guess", address]).arg(&self.file.ca);
        output(guess.arg(GUESSES.to_string())).map(drop)
    }

    /// The process of a node's daemon: the one that was given its configuration.
    fn pid(&self, node: &str) -> Result<u32> {
        let config = self.dir.join("nodes").join(node);
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            // It may have ended in between.
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split('\0');
            let is_daemon = words.next().is_some_and(|it| it.ends_with("/evenkeeld"));
            if is_daemon && words.any(|word| Path::new(word).starts_with(&config)) {
                return Ok(pid);
            }
        }
        bail!("there is no daemon of {node}")
    }

    fn down(mut self) -> Result<()> {
        output(evenkeel().args(["lab", "down"]).arg("--dir").arg(&self.dir))?;
        match self.up.take() {
            Some(up) => up.end().map(drop),
            None => Ok(()),
        }
    }
}

/// Since the machine's boot.
fn uptime_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    let first = text.split_whitespace().next();
    Ok(first.context("/proc/uptime")?.parse()?)
}

/// A field of `/proc/PID/stat`, counted as its manual does, from the fourth on. Linux counts in hundredths of a
/// second here, on every architecture.
fn stat_s(pid: u32, field: usize) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
    let field = fields.split_whitespace().nth(field - 3);
    Ok(field.context("/proc/PID/stat")?.parse::<f64>()? / 100.0)
}

/// When a process began, since the machine's boot.
fn started_s(pid: u32) -> Result<f64> {
    stat_s(pid, 22)
}

/// CPU seconds, user's and system's.
fn cpu_s(pid: u32) -> Result<f64> {
    Ok(stat_s(pid, 14)? + stat_s(pid, 15)?)
}
