//! Rounds of interleaved measurements, and what is made of them.
//!
//! The machine is shared and its disk remembers, so nothing is compared across rounds: each round runs every
//! variant once, in shuffled order, and a ratio is taken within the round. What a run wrote stays until
//! all rounds are over, because ext4 is slow to reuse inodes that were deleted a minute ago.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::Options;
use super::inputs::{Noise, tool};
use crate::step::output;

/// CPU seconds of the thread that took most, as the measured program says.
const SLOWEST_THREAD: &str = "slowest_thread_s";
/// Most that wall time may be above our own floor.
const FLOOR_MUST: f64 = 1.35;
/// Most memory over idle.
const PEAK_MUST_BYTES: f64 = 128e6;
/// Most seconds from the last byte of an upload to the end, see `staging.rs`.
const TAIL_MUST_S: f64 = 0.3;

/// Makes a command that works in the given folder.
type InFolder<'a> = Box<dyn Fn(&Path) -> Command + 'a>;

/// One thing that is measured.
pub(crate) struct Variant<'a> {
    /// Its row in the table.
    pub(crate) name: String,
    /// The variant that it is compared with; none for the baselines themselves.
    pub(crate) against: Option<String>,
    /// The least ratio that counts as good enough.
    pub(crate) must: Option<f64>,
    /// Whose CPU time its own is divided by, and the greatest quotient that counts as good enough.
    pub(crate) cpu_against: Option<(String, Option<f64>)>,
    /// The variant that writes the same to the disk and does nothing else: part of our own floor.
    pub(crate) disk: Option<String>,
    /// Makes ready what is not measured.
    pub(crate) before: Option<InFolder<'a>>,
    /// Does it once, in an empty folder of its own. Anything in the JSON object that it prints is kept.
    pub(crate) command: InFolder<'a>,
}

impl<'a> Variant<'a> {
    /// Compared with nothing.
    pub(crate) fn new(name: &str, command: impl Fn(&Path) -> Command + 'a) -> Self {
        Self {
            name: name.to_owned(),
            against: None,
            must: None,
            cpu_against: None,
            disk: None,
            before: None,
            command: Box::new(command),
        }
    }
}

/// What one run took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) wall_s: f64,
    /// User and system time of the process and all that it waited for.
    pub(crate) cpu_s: f64,
    /// What the process said about itself.
    #[serde(flatten)]
    pub(crate) said: BTreeMap<String, f64>,
}

/// All runs of one variant, and what they amount to.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) tree: String,
    pub(crate) name: String,
    pub(crate) against: Option<String>,
    pub(crate) must: Option<f64>,
    /// Median over the rounds of (wall time of the other ÷ ours).
    pub(crate) ratio: Option<f64>,
    pub(crate) ratio_spread: Option<(f64, f64)>,
    /// Median over the rounds of (our CPU time ÷ the other's).
    pub(crate) cpu_ratio: Option<f64>,
    pub(crate) cpu_must: Option<f64>,
    /// Median over the rounds of wall time ÷ floor: the slowest thread's CPU time, CPU time ÷ cores or the disk.
    pub(crate) floor_ratio: Option<f64>,
    pub(crate) wall_s: f64,
    pub(crate) wall_best_s: f64,
    pub(crate) wall_worst_s: f64,
    pub(crate) cpu_s: f64,
    /// Medians, except that of a `peak_…` the greatest counts.
    pub(crate) said: BTreeMap<String, f64>,
    pub(crate) runs: Vec<Run>,
}

/// Runs `rounds` rounds of `variants` in `folder`, which holds their outputs until the end.
pub(crate) fn rounds(
    tree: &str,
    rounds: u32,
    folder: &Path,
    inputs: &[PathBuf],
    variants: &[Variant<'_>],
) -> Result<Vec<Row>> {
    let mut runs: Vec<Vec<Run>> = variants.iter().map(|_| Vec::new()).collect();
    let mut noise = Noise::new(u64::from(std::process::id()));
    if folder.exists() {
        // Left by a run that was stopped.
        fs::remove_dir_all(folder)?;
    }
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..variants.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, noise.below(last as u64 + 1) as usize);
        }
        for at in order {
            let variant = &variants[at];
            let place = folder.join(format!("{round}-{at}"));
            fs::create_dir_all(&place)?;
            if let Some(before) = &variant.before {
                output(&mut before(&place))?;
            }
            warm(inputs)?;
            let run = run(&mut (variant.command)(&place))
                .with_context(|| format!("{tree}: {}", variant.name))?;
            eprintln!(
                "   round {} of {rounds}: {:6.2} s, {:6.2} s CPU  {tree}: {}",
                round + 1,
                run.wall_s,
                run.cpu_s,
                variant.name
            );
            runs[at].push(run);
            output(tool()?.arg("forget").arg(&place))?;
        }
    }
    fs::remove_dir_all(folder)?;
    Ok(variants
        .iter()
        .enumerate()
        .map(|(at, variant)| row(tree, variant, &runs[at], variants, &runs))
        .collect())
}

/// Inputs come from the page cache, for everyone alike.
fn warm(inputs: &[PathBuf]) -> Result<()> {
    for input in inputs {
        let mut file = fs::File::open(input)?;
        std::io::copy(&mut file, &mut std::io::sink())?;
    }
    Ok(())
}

/// Runs a command and measures it.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine's time"
)]
pub(crate) fn run(command: &mut Command) -> Result<Run> {
    let cpu = children_cpu()?;
    let begin = Instant::now();
    let said = output(command)?;
    let wall_s = begin.elapsed().as_secs_f64();
    let said = said.lines().find(|line| line.starts_with('{'));
    let mut said: BTreeMap<String, f64> = serde_json::from_str(said.unwrap_or("{}"))?;
    Ok(Run {
        // A process that has to prepare first says how long the thing itself took.
        wall_s: said.remove("wall_s").unwrap_or(wall_s),
        cpu_s: match said.remove("cpu_s") {
            Some(cpu_s) => cpu_s,
            None => children_cpu()? - cpu,
        },
        said,
    })
}

/// CPU seconds of all processes that we have waited for, and theirs, in steps of 10 ms.
fn children_cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat")?;
    // The 16th and 17th field of the line; the first two are before the parenthesis.
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // Linux counts in hundredths of a second here, on every architecture.
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

fn row(
    tree: &str,
    variant: &Variant<'_>,
    own: &[Run],
    variants: &[Variant<'_>],
    all: &[Vec<Run>],
) -> Row {
    let runs_of = |name: &String| {
        let at = variants.iter().position(|v| v.name == *name);
        at.map_or_else(Vec::new, |at| all[at].iter().zip(own).collect())
    };
    let others = variant.against.as_ref().map(runs_of).unwrap_or_default();
    let ratios: Vec<f64> = others
        .iter()
        .map(|(theirs, ours)| theirs.wall_s / ours.wall_s)
        .collect();
    let others = variant
        .cpu_against
        .as_ref()
        .map(|(name, _)| runs_of(name))
        .unwrap_or_default();
    let cpu_ratios: Vec<f64> = others
        .iter()
        .map(|(theirs, ours)| ours.cpu_s / theirs.cpu_s)
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let disks = variant.disk.as_ref().map(runs_of).unwrap_or_default();
    let floor_ratios: Vec<f64> = disks
        .iter()
        .map(|(disk, ours)| {
            let slowest = ours.said.get(SLOWEST_THREAD).copied().unwrap_or(0.0);
            ours.wall_s / disk.wall_s.max(ours.cpu_s / cores).max(slowest)
        })
        .collect();
    let median_of = |values: &[f64]| (!values.is_empty()).then(|| median(values));
    let walls: Vec<f64> = own.iter().map(|run| run.wall_s).collect();
    let mut said = BTreeMap::new();
    for name in own.iter().flat_map(|run| run.said.keys()) {
        let values: Vec<f64> = own
            .iter()
            .filter_map(|r| r.said.get(name).copied())
            .collect();
        let value = if name.starts_with("peak_") {
            greatest(&values)
        } else {
            median(&values)
        };
        said.insert(name.clone(), value);
    }
    Row {
        tree: tree.to_owned(),
        name: variant.name.clone(),
        against: variant.against.clone(),
        must: variant.must,
        ratio: median_of(&ratios),
        cpu_ratio: median_of(&cpu_ratios),
        cpu_must: variant.cpu_against.as_ref().and_then(|(_, must)| *must),
        floor_ratio: median_of(&floor_ratios),
        ratio_spread: (!ratios.is_empty()).then(|| (least(&ratios), greatest(&ratios))),
        wall_s: median(&walls),
        wall_best_s: least(&walls),
        wall_worst_s: greatest(&walls),
        cpu_s: median(&own.iter().map(|run| run.cpu_s).collect::<Vec<_>>()),
        said,
        runs: own.to_vec(),
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (odd, middle) if odd % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub(crate) fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Prints the table, writes the JSON.
pub(crate) fn conclude(name: &str, options: &Options, rows: &[Row]) -> Result<()> {
    println!("{}", table(rows));
    for missed in rows.iter().flat_map(missed) {
        println!("missed: {missed}");
    }
    if let Some(path) = &options.json {
        let rounds = options.rounds;
        let result =
            json!({"benchmark": name, "machine": machine()?, "rounds": rounds, "rows": rows});
        let text = serde_json::to_string_pretty(&result)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Which limits a row does not meet.
fn missed(row: &Row) -> Vec<String> {
    let said = |name: &str| row.said.get(name).copied();
    // A baseline has no limits, and a tree without a limit none but that of memory.
    let floor = row.ratio.and(row.must).and(row.floor_ratio);
    let limits = [
        (
            "ratio",
            row.ratio.zip(row.must).map(|(is, must)| (must, is)),
        ),
        ("CPU", row.cpu_ratio.zip(row.cpu_must)),
        ("distance from the floor", floor.map(|is| (is, FLOOR_MUST))),
        (
            "peak memory",
            said("peak_over_idle_bytes").map(|is| (is, PEAK_MUST_BYTES)),
        ),
        ("tail", said("tail_s").map(|is| (is, TAIL_MUST_S))),
    ];
    limits
        .into_iter()
        .filter_map(|(what, limit)| limit.map(|(is, most)| (what, is, most)))
        .filter(|(_, is, most)| is > most)
        .map(|(what, is, most)| format!("{}: {}: {what} ({is:.3} > {most:.3})", row.tree, row.name))
        .collect()
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| tree | what | wall s: median (best–worst) | CPU s | ratio: median (least–greatest) | must | CPU ratio | ÷ floor | more |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let ratio = match (row.ratio, row.ratio_spread) {
            (Some(ratio), Some((low, high))) => format!("{ratio:.2} ({low:.2}–{high:.2})"),
            _ => "–".to_owned(),
        };
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.2}"));
        let more: Vec<String> = row
            .said
            .iter()
            .map(|(name, value)| match name.strip_suffix("_bytes") {
                Some(name) => format!("{name} {:.0} MB", value / 1e6),
                None => format!("{name} {value:.3}"),
            })
            .collect();
        let (median, best, worst) = (row.wall_s, row.wall_best_s, row.wall_worst_s);
        table += &format!(
            "| {} | {} | {median:.2} ({best:.2}–{worst:.2}) | {:.2} | {ratio} | {} | {} | {} | {} |\n",
            row.tree,
            row.name,
            row.cpu_s,
            row.must.map_or("–".to_owned(), |must| must.to_string()),
            number(row.cpu_ratio),
            number(row.floor_ratio),
            more.join(", ")
        );
    }
    table
}

/// What it ran on.
pub(crate) fn machine() -> Result<Value> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map_or("?", |(_, value)| value)
            .to_owned()
    };
    let flags = field("flags");
    let known = ["sha_ni", "avx2", "avx512f", "pclmulqdq"];
    let flags: Vec<&str> = flags.split(' ').filter(|f| known.contains(f)).collect();
    let cores = cpuinfo
        .lines()
        .filter(|l| l.starts_with("processor"))
        .count();
    let first = |program: &str| -> Result<String> {
        let said = output(Command::new(program).arg("--version"))?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    };
    ensure!(cores > 0, "this machine shows no processors");
    Ok(json!({
        "cpu": field("model name"),
        "cores": cores,
        "flags": flags,
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "sha256sum": first("sha256sum")?,
        "tar": first("tar")?,
        "gzip": first("gzip")?,
        "rustc": first("rustc")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(wall_s: f64, peak: f64) -> Run {
        let said = BTreeMap::from([("peak_bytes".to_owned(), peak)]);
        Run {
            wall_s,
            cpu_s: 1.0,
            said,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let variant = |name: &str, against: Option<&str>| Variant {
            against: against.map(str::to_owned),
            ..Variant::new(name, |_| Command::new("true"))
        };
        let variants = [variant("theirs", None), variant("ours", Some("theirs"))];
        // The second round was slow for both: a quotient of medians would say otherwise.
        let theirs = vec![run(8.0, 1.0), run(16.0, 1.0), run(8.0, 1.0)];
        let ours = vec![run(2.0, 5.0), run(4.0, 9.0), run(1.0, 7.0)];
        let all = [theirs, ours];
        let row = row("t", &variants[1], &all[1], &variants, &all);
        assert_eq!(row.ratio, Some(4.0));
        assert_eq!(row.ratio_spread, Some((4.0, 8.0)));
        assert_eq!(row.said["peak_bytes"], 9.0);
    }
}
