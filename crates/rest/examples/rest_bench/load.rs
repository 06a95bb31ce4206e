//! What clients do to a server, and what they see of it.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::Result;
use crate::client::{Asking, Target};
use crate::wait::input_ended;

/// Before it counts: passwords are verified, caches of all kinds are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// As many requests as can be answered.
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) seconds: f64,
    /// The process whose CPU time is counted.
    pub(crate) server: u32,
}

/// Each connection asks again as soon as it has its answer.
pub(crate) async fn load(target: Target, load: Load) -> Result<()> {
    let mut connections = connect(&target, load.connections).await?;
    let warm = now() + WARM_UP;
    try_join_all(connections.iter_mut().map(|it| ask_until(it, warm))).await?;
    let (begin, cpu) = (now(), cpu_s(load.server)?);
    let own_cpu = cpu_s(std::process::id())?;
    let until = begin + Duration::from_secs_f64(load.seconds);
    let asked = try_join_all(connections.iter_mut().map(|it| ask_until(it, until))).await?;
    let wall_s = begin.elapsed().as_secs_f64();
    let mut latencies: Vec<f64> = Vec::new();
    let mut bytes = 0;
    for (taken, read) in asked {
        latencies.extend(taken);
        bytes += read;
    }
    let count = latencies.len() as f64;
    latencies.sort_by(f64::total_cmp);
    say(&[
        ("requests", count),
        ("wall_s", wall_s),
        ("per_second", count / wall_s),
        ("bytes_each", bytes as f64 / count),
        ("server_cpu_s", cpu_s(load.server)? - cpu),
        ("client_cpu_s", cpu_s(std::process::id())? - own_cpu),
        ("p50_ms", percentile(&latencies, 0.5) * 1e3),
        ("p99_ms", percentile(&latencies, 0.99) * 1e3),
    ])
}

/// How long each answer took, in seconds, and how many bytes came.
async fn ask_until(connection: &mut Asking, until: Instant) -> Result<(Vec<f64>, usize)> {
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    while now() < until {
        let begin = now();
        bytes += connection.ask().await?;
        latencies.push(begin.elapsed().as_secs_f64());
    }
    Ok((latencies, bytes))
}

/// Requests come when they are due, and their time counts from then: one that the answer before it holds up waits,
/// as it would with any client. Until standard input ends.
pub(crate) async fn pace(target: Target, connections: usize, per_second: f64) -> Result<()> {
    let mut connections = connect(&target, connections).await?;
    try_join_all(connections.iter_mut().map(Asking::ask)).await?;
    let (count, begin) = (connections.len(), now());
    let due = |nth: usize| begin + Duration::from_secs_f64(nth as f64 / per_second);
    let stop = CancellationToken::new();
    let asking = connections.iter_mut().enumerate().map(|(first, it)| {
        let times = (first..).step_by(count).map(due);
        ask_when_due(it, times, stop.clone())
    });
    let ended = async {
        input_ended().await;
        stop.cancel();
        Ok(())
    };
    let (latencies, ()) = tokio::try_join!(try_join_all(asking), ended)?;
    let mut latencies = latencies.concat();
    latencies.sort_by(f64::total_cmp);
    say(&[
        ("requests", latencies.len() as f64),
        ("p50_ms", percentile(&latencies, 0.5) * 1e3),
        ("p99_ms", percentile(&latencies, 0.99) * 1e3),
        ("longest_ms", percentile(&latencies, 1.0) * 1e3),
    ])
}

async fn ask_when_due(
    connection: &mut Asking,
    times: impl Iterator<Item = Instant>,
    stop: CancellationToken,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for due in times {
        let due_then = stop.run_until_cancelled(sleep_until(due.into()));
        if due_then.await.is_none() {
            break;
        }
        connection.ask().await?;
        latencies.push(due.elapsed().as_secs_f64());
    }
    Ok(latencies)
}

/// Connections that have asked once, and ask nothing more. Until standard input ends.
pub(crate) async fn idle(target: Target, connections: usize) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut connection = Asking::connect(&target).await?;
        connection.ask().await?;
        open.push(connection);
    }
    say(&[("open", open.len() as f64)])?;
    input_ended().await;
    let still = open.iter().filter(|it| it.is_open()).count();
    say(&[("still_open", still as f64)])
}

/// Asks with so many wrong passwords at once, each of which is verified.
pub(crate) async fn guess(target: Target, count: usize) -> Result<()> {
    let guesses = (0..count).map(|nth| {
        let target = &target;
        async move { target.guess(&format!("guess {nth}")).await }
    });
    try_join_all(guesses).await?;
    say(&[("guesses", count as f64)])
}

async fn connect(target: &Target, count: usize) -> Result<Vec<Asking>> {
    try_join_all((0..count).map(|_| Asking::connect(target))).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine's time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Of sorted values. Not a number where there are none.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let nth = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(nth.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// CPU seconds of all threads of a process that live or have ended, in steps of 10 ms.
fn cpu_s(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat")?;
    // The 14th and 15th field of the line; the first two are before the parenthesis.
    let own = fields.split_whitespace().skip(11).take(2);
    let ticks = own
        .map(str::parse::<u64>)
        .sum::<std::result::Result<u64, _>>()?;
    // Linux counts in hundredths of a second here, on every architecture.
    Ok(ticks as f64 / 100.0)
}

/// Prints an object of numbers on a line.
pub(crate) fn say(figures: &[(&str, f64)]) -> Result<()> {
    let object: serde_json::Map<_, _> = figures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(*value)))
        .collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::Value::Object(object))?;
    Ok(out.flush()?)
}
