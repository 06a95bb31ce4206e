//! Updates of simulated clusters of 24 to 512 nodes: what they cost, and how that grows.
//!
//! Every node's daemon runs in the one process that is measured, so its CPU time is that of the whole
//! cluster and of its simulation, from the request to the end of the update; coming up is measured by itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::harness;
use crate::step::{cargo, run, target};

/// The most CPU seconds of planning and carrying out the update of [`MUST_NODES`] nodes.
const MUST_CPU_S: f64 = 1.0;
const MUST_NODES: u32 = 24;
/// The biggest cluster that is updated one node after the other: for bigger ones it takes days, simulated ones an hour.
const ROLLING_MOST: u32 = 96;
/// Below this, steps of 10 ms of CPU time and what every process costs are too much of what is measured.
const LEAST_CPU_S: f64 = 0.05;

/// How to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpdateOptions {
    /// Writes the result there, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; the table shows the median of each size.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Sizes of the clusters.
    #[arg(long, value_delimiter = ',', default_value = "24,48,96,192,384,512")]
    nodes: Vec<u32>,
}

/// What one size came to.
#[derive(Debug, Serialize)]
struct Point {
    mode: &'static str,
    nodes: u32,
    /// Of planning and carrying out, without coming up.
    cpu_s: f64,
    start_cpu_s: f64,
    #[serde(flatten)]
    said: BTreeMap<String, f64>,
}

/// How a measure grows: like the number of nodes to this power, by the least squares of logarithms.
#[derive(Debug, Serialize)]
struct Growth {
    mode: &'static str,
    what: String,
    exponent: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    points: Vec<Point>,
    growth: Vec<Growth>,
}

pub(crate) fn measure(options: &UpdateOptions) -> Result<()> {
    let arguments = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "evenkeel-simulation",
    ];
    let example = ["--example", "update_bench"];
    let mut build = cargo();
    run(
        "building what is measured",
        build.args(arguments).args(example),
    )?;
    let mut points = Vec::new();
    for (mode, most) in [("rolling", ROLLING_MOST), ("batch", u32::MAX)] {
        for nodes in options.nodes.iter().filter(|nodes| **nodes <= most) {
            points.push(point(mode, *nodes, options.rounds)?);
        }
    }
    let growth = growths(&points);
    show(&points, &growth);
    let report = Report { points, growth };
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?).context("writing the result")?;
    }
    let missed = |p: &&Point| p.nodes == MUST_NODES && p.cpu_s > MUST_CPU_S;
    match report.points.iter().find(missed) {
        Some(p) => bail!(
            "{} nodes, {}: {:.2} s of CPU, not {MUST_CPU_S}",
            p.nodes,
            p.mode,
            p.cpu_s
        ),
        None => Ok(()),
    }
}

fn point(mode: &'static str, nodes: u32, rounds: u32) -> Result<Point> {
    let (mut starts, mut updates, mut said) = (Vec::new(), Vec::new(), BTreeMap::new());
    for _ in 0..rounds.max(1) {
        let mut command = Command::new(target().join("release/examples/update_bench"));
        let mut update = harness::run(command.args([mode, &nodes.to_string()]))?;
        starts.extend(update.said.remove("start_cpu_s"));
        updates.push(update.cpu_s);
        said = update.said;
    }
    let start_cpu_s = harness::median(&starts);
    let cpu_s = harness::median(&updates);
    eprintln!("   {mode}, {nodes} nodes: {cpu_s:.2} s of CPU");
    Ok(Point {
        mode,
        nodes,
        cpu_s,
        start_cpu_s,
        said,
    })
}

fn growths(points: &[Point]) -> Vec<Growth> {
    let mut growths = Vec::new();
    for mode in ["rolling", "batch"] {
        let of_mode: Vec<&Point> = points.iter().filter(|p| p.mode == mode).collect();
        let measures = of_mode.first().map(|p| p.said.keys()).into_iter().flatten();
        let cpu = of_mode.iter().filter(|p| p.cpu_s >= LEAST_CPU_S);
        let cpu: Vec<_> = cpu.map(|p| (f64::from(p.nodes), p.cpu_s)).collect();
        let mut fit = |what: &str, values: &[(f64, f64)]| {
            if let Some(exponent) = exponent(values) {
                let what = what.to_owned();
                growths.push(Growth {
                    mode,
                    what,
                    exponent,
                });
            }
        };
        fit("cpu_s", &cpu);
        for what in measures {
            let value = |p: &&Point| Some((f64::from(p.nodes), *p.said.get(what)?));
            let values: Vec<_> = of_mode.iter().filter_map(value).collect();
            fit(what, &values);
        }
    }
    growths
}

fn exponent(values: &[(f64, f64)]) -> Option<f64> {
    let logs = values.iter().filter(|(_, y)| *y > 0.0);
    let logs: Vec<(f64, f64)> = logs.map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|l| l.0), mean(|l| l.1));
    let both: f64 = logs.iter().map(|l| (l.0 - x) * (l.1 - y)).sum();
    let square: f64 = logs.iter().map(|l| (l.0 - x).powi(2)).sum();
    (logs.len() > 1 && square > 0.0).then(|| both / square)
}

fn show(points: &[Point], growth: &[Growth]) {
    let columns: Vec<&String> = points
        .first()
        .map(|p| p.said.keys().collect())
        .unwrap_or_default();
    let named: String = columns.iter().map(|name| format!(" {name} |")).collect();
    println!("| mode | nodes | cpu_s | coming up: cpu_s |{named}");
    println!("|---|---|---|---|{}", "---|".repeat(columns.len()));
    for p in points {
        let said: String = p
            .said
            .values()
            .map(|value| format!(" {value:.0} |"))
            .collect();
        println!(
            "| {} | {} | {:.2} | {:.2} |{said}",
            p.mode, p.nodes, p.cpu_s, p.start_cpu_s
        );
    }
    println!();
    for Growth {
        mode,
        what,
        exponent,
    } in growth
    {
        println!("{mode}: {what} grows like nodes^{exponent:.2}");
    }
}
