//! The REST front end over the record of a cluster of 24 nodes, and the daemon while nothing is asked of it.
//!
//! What is measured runs as processes of their own (`crates/rest/examples/rest_bench`, and `evenkeeld` in a lab).
//! The front end is compared with a bare hyper server of the same process that answers the same bytes: within a
//! round one is asked directly after the other.

mod daemon;
mod figures;
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use self::figures::{Figures, Must};
use self::tool::{Server, Talking, build, json_of, tool};
use super::harness::machine;
use crate::step::{output, target};

/// The least part of the bare server's requests per second.
const LEAST_RATIO: Must = Must::AtLeast(0.4);
/// Idle connections.
const IDLE_CONNECTIONS: u32 = 1000;
/// Connections of those who ask now and then, and how often they ask in all: as many pollers at once as a large
/// site has, far below what the front end can answer.
const PACED_CONNECTIONS: u32 = 8;
const PACED_PER_SECOND: u32 = 200;
/// How long they ask, where nothing else says when it is over.
const PACED: Duration = Duration::from_secs(10);

/// How to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestOptions {
    /// Writes the result there, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; the table shows the median of each figure.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long each server is asked as fast as it answers.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Connections that ask then.
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// Size of the package that is staged, unpacked.
    #[arg(long, default_value_t = 2000, value_name = "MEGABYTES")]
    size: u32,
    /// Which parts; all unless said.
    #[arg(long, value_enum, default_values_t = Part::ALL)]
    part: Vec<Part>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests per second, against the bare server.
    Speed,
    /// Latency while nothing else happens, and while a package is staged.
    Staging,
    /// A thousand idle connections.
    Connections,
    /// An idle daemon.
    Daemon,
}

impl Part {
    const ALL: [Self; 4] = [Self::Speed, Self::Staging, Self::Connections, Self::Daemon];
}

pub(crate) fn measure(options: &RestOptions) -> Result<()> {
    build()?;
    let folder = target().join("bench").join("rest");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let (mut figures, before) = (Figures::default(), load_average()?);
    let mut bench = Bench {
        options,
        folder: &folder,
        figures: &mut figures,
    };
    bench.rounds()?;
    if options.part.contains(&Part::Daemon) {
        daemon::measure(&folder, options.rounds, &mut figures)?;
    }
    fs::remove_dir_all(&folder)?;
    println!("{}", figures.table());
    let report = json!({
        "benchmark": "rest",
        "machine": machine()?,
        "rounds": options.rounds,
        "load_average": {"before": before, "after": load_average()?},
        "figures": figures.all(),
    });
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match figures.missed() {
        missed if missed.is_empty() => Ok(()),
        missed => bail!("missed: {}", missed.join("; ")),
    }
}

/// Of the last one, five and fifteen minutes: others' work shows in it.
fn load_average() -> Result<Vec<f64>> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let three = text.split_whitespace().take(3);
    Ok(three.map(str::parse).collect::<Result<_, _>>()?)
}

struct Bench<'a> {
    options: &'a RestOptions,
    folder: &'a Path,
    figures: &'a mut Figures,
}

impl Bench<'_> {
    fn rounds(&mut self) -> Result<()> {
        let parts = self.options.part.clone();
        for round in 0..self.options.rounds {
            eprintln!("== round {} of {}", round + 1, self.options.rounds);
            if parts.contains(&Part::Speed) {
                self.speed(round)?;
            }
            if parts.contains(&Part::Connections) {
                self.connections()?;
            }
            if parts.contains(&Part::Staging) {
                self.staging()?;
            }
        }
        Ok(())
    }

    fn record(&self, stand: &str) -> Result<PathBuf> {
        let folder = self.folder.join(stand);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        output(tool().arg("record").arg(&folder).arg(stand))?;
        Ok(folder)
    }

    /// Each answer from both servers, one directly after the other; which is first changes with the rounds.
    fn speed(&mut self, round: u32) -> Result<()> {
        let server = Server::start(&self.record("midway")?)?;
        for path in server.paths() {
            let names = match round.is_multiple_of(2) {
                true => ["evenkeel", "bare hyper"],
                false => ["bare hyper", "evenkeel"],
            };
            let mut loads = Vec::new();
            for name in names {
                loads.push((name, self.load(&server, name == "evenkeel", path)?));
            }
            loads.sort_by_key(|(name, _)| *name == "evenkeel");
            let [(_, bare), (_, ours)] = &loads[..] else {
                bail!("two servers were asked");
            };
            self.compare(&shown(path), bare, ours);
        }
        server.end()
    }

    fn load(&self, server: &Server, ours: bool, path: &str) -> Result<Load> {
        let mut command = tool();
        command.arg("load").args(server.target(ours, path));
        command.arg(self.options.connections.to_string());
        command.arg(self.options.seconds.to_string());
        command.arg(server.pid().to_string());
        json_of(&output(&mut command)?)
    }

    fn compare(&mut self, path: &str, bare: &Load, ours: &Load) {
        let ratio = ours.per_second / bare.per_second;
        let cpu = |load: &Load| load.server_cpu_s / load.requests;
        eprintln!(
            "   {path}: {:.0} of {:.0} requests/s ({ratio:.2})",
            ours.per_second, bare.per_second
        );
        let mut add = |what: &str, unit, value, must| {
            self.figures
                .add(&format!("{path}: {what}"), unit, value, must);
        };
        add(
            "requests per second ÷ bare hyper's",
            "",
            ratio,
            Some(LEAST_RATIO),
        );
        add(
            "bare hyper's CPU time per request ÷ ours",
            "",
            cpu(bare) / cpu(ours),
            None,
        );
        add("requests per second", "1/s", ours.per_second, None);
        add(
            "bare hyper, requests per second",
            "1/s",
            bare.per_second,
            None,
        );
        add("CPU time per request", "µs", cpu(ours) * 1e6, None);
        add(
            "bare hyper, CPU time per request",
            "µs",
            cpu(bare) * 1e6,
            None,
        );
        add(
            "client's CPU time per request",
            "µs",
            ours.client_cpu_s / ours.requests * 1e6,
            None,
        );
        add("p99 as fast as it answers", "ms", ours.p99_ms, None);
        add("bytes of an answer", "", ours.bytes_each, None);
    }

    /// Latency while nothing else happens; then memory and latency with a thousand connections that ask nothing, of
    /// servers that nobody asked before.
    fn connections(&mut self) -> Result<()> {
        let server = Server::start(&self.record("midway")?)?;
        let quiet = self.pace(&server, &server.paths()[0], || sleep(PACED))?;
        self.paced("quiet", &quiet);
        server.end()?;
        for (ours, whose) in [(true, "evenkeel"), (false, "bare hyper")] {
            let server = Server::start(&self.record("midway")?)?;
            let path = &server.paths()[0];
            let mut idle = tool();
            idle.arg("idle").args(server.target(ours, path));
            idle.arg(IDLE_CONNECTIONS.to_string());
            let before = server.resident_bytes()?;
            let mut idle = Talking::start(&mut idle)?;
            let _open: serde_json::Value = idle.hear()?;
            let each = (server.resident_bytes()? - before) / f64::from(IDLE_CONNECTIONS);
            let what = format!("memory of an idle connection: {whose}");
            self.figures.add(&what, "KB", each / 1e3, None);
            if ours {
                let asked = self.pace(&server, path, || sleep(PACED))?;
                self.paced("1000 idle connections", &asked);
            }
            let still: serde_json::Value = idle.end_and_hear()?;
            if still["still_open"] != f64::from(IDLE_CONNECTIONS) {
                bail!("idle connections were closed: {still}");
            }
            server.end()?;
        }
        Ok(())
    }

    /// Latency while a package is staged, and before. Packages come in while no update goes on.
    fn staging(&mut self) -> Result<()> {
        let package = self.package()?;
        let server = Server::start(&self.record("completed")?)?;
        let path = &server.paths()[0];
        let quiet = self.pace(&server, path, || sleep(PACED))?;
        self.paced("after the update, quiet", &quiet);
        let mut upload = tool();
        upload.arg("upload").args(server.target(true, ""));
        upload.arg(&package);
        let mut staged = None;
        let asked = self.pace(&server, path, || staged = Some(output(&mut upload)))?;
        self.paced("after the update, a package is staged", &asked);
        let staged: Staged = json_of(&staged.context("it was begun")??)?;
        let speed = staged.archive_bytes / staged.wall_s / 1e6;
        let what = "a package is staged meanwhile, archive";
        self.figures.add(what, "MB/s", speed, None);
        server.end()
    }

    /// Made once and kept: noise takes its time to be packed.
    fn package(&self) -> Result<PathBuf> {
        let name = format!("rest-{}.tgz", self.options.size);
        let package = target().join("bench").join(name);
        if !package.exists() {
            eprintln!("== making the package");
            let size = self.options.size.to_string();
            output(tool().arg("package").arg(&package).arg(size))?;
        }
        Ok(package)
    }

    fn pace(&self, server: &Server, path: &str, meanwhile: impl FnOnce()) -> Result<Paced> {
        let mut command = tool();
        command.arg("pace").args(server.target(true, path));
        command.arg(PACED_CONNECTIONS.to_string());
        command.arg(PACED_PER_SECOND.to_string());
        let asking = Talking::start(&mut command)?;
        meanwhile();
        asking.end_and_hear()
    }

    fn paced(&mut self, when: &str, paced: &Paced) {
        eprintln!("   {when}: p99 {:.2} ms", paced.p99_ms);
        let mut add = |what: &str, value| {
            let what = format!("/cluster/software, {when}: {what}");
            self.figures.add(&what, "ms", value, None);
        };
        add("p50", paced.p50_ms);
        add("p99", paced.p99_ms);
        add("longest", paced.longest_ms);
    }
}

/// An address without what is another one in every run.
fn shown(path: &str) -> String {
    let path = path.trim_start_matches("/api");
    match path.strip_prefix("/cluster/jobs/") {
        Some(_) => "/cluster/jobs/{uuid}".to_owned(),
        None => path.to_owned(),
    }
}

/// What a client saw that asked as fast as it was answered.
#[derive(serde::Deserialize)]
struct Load {
    requests: f64,
    per_second: f64,
    bytes_each: f64,
    server_cpu_s: f64,
    client_cpu_s: f64,
    p99_ms: f64,
}

/// What clients saw that asked now and then.
#[derive(serde::Deserialize)]
struct Paced {
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

#[derive(serde::Deserialize)]
struct Staged {
    archive_bytes: f64,
    wall_s: f64,
}
