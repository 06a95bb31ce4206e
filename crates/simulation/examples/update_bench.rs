//! What `cargo xtask bench update` measures: the update of a whole simulated cluster, every node's daemon in
//! this one process, and what its record and its coordinator's memory come to. Not a tool for operators.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::Duration;

use evenkeel_model::OperationEnd;
use evenkeel_record::{Entry, View};
use evenkeel_simulation::{Cluster, Settings, Stand, run};

const USAGE: &str = "rolling|batch NODES";
/// What shows in the process's memory, which is counted in pages and grows by more than one at a time.
const SHOWS_BYTES: u64 = 16 << 20;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [how @ ("rolling" | "batch"), nodes] = words[..] else {
        return Err(USAGE.into());
    };
    let Updated {
        entries,
        start_cpu_s,
        cpu_s,
    } = run(update(how, nodes.parse()?))?;
    let peak = status_bytes("VmHWM:")?;
    let bytes: usize = entries.iter().map(|entry| entry.body.len()).sum();
    let largest = entries.iter().map(|entry| entry.body.len()).max();
    println!(
        "{{\"cpu_s\":{cpu_s},\"start_cpu_s\":{start_cpu_s},\"record_events\":{},\"record_bytes\":{bytes},\"largest_event_bytes\":{},\
         \"peak_all_nodes_bytes\":{peak},\"view_bytes\":{}}}",
        entries.len(),
        largest.unwrap_or_default(),
        memory_of(&entries)?,
    );
    Ok(())
}

/// What an update came to.
struct Updated {
    /// All that is recorded once it is over.
    entries: Vec<Entry>,
    /// CPU seconds of bringing the cluster up.
    start_cpu_s: f64,
    /// CPU seconds of planning and carrying out.
    cpu_s: f64,
}

async fn update(how: &str, nodes: usize) -> Result<Updated> {
    let begun = cpu_s()?;
    let cluster = Cluster::start(Settings::new(nodes)).await;
    let up = cpu_s()?;
    let request = Cluster::request_with(|request| request.force_rolling = how == "rolling");
    let started = cluster.start_update(request).await;
    started.map_err(|refusal| refusal.message)?;
    let bound = Duration::from_secs(600 * nodes as u64 + 3600);
    let stand = cluster
        .rest(bound)
        .await
        .map_err(|_| "the update does not come to an end")?;
    match stand {
        Stand::Ended(OperationEnd::Completed) => Ok(Updated {
            start_cpu_s: up - begun,
            cpu_s: cpu_s()? - up,
            entries: cluster.entries(),
        }),
        other => Err(format!("the update came to {other:?}").into()),
    }
}

/// What the fold of the record takes: a coordinator holds one, and so does every other node. Views are
/// made until what the simulation left free is used up, and then until they show in the process's memory.
fn memory_of(entries: &[Entry]) -> Result<u64> {
    let mut views = Vec::new();
    let full = status_bytes("VmHWM:")? + SHOWS_BYTES;
    let (mut before, mut counted) = (0, 0);
    while before == 0 || status_bytes("VmRSS:")? < before + SHOWS_BYTES {
        views.push(View::replay(entries)?);
        counted += u64::from(before > 0);
        let now = status_bytes("VmRSS:")?;
        if before == 0 && now > full {
            before = now;
        }
    }
    let bytes = status_bytes("VmRSS:")? - before;
    black_box(views);
    Ok(bytes / counted.max(1))
}

/// CPU seconds of this thread, which is the only one.
fn cpu_s() -> Result<f64> {
    let schedstat = fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = schedstat.split_whitespace().next();
    Ok(nanoseconds
        .ok_or("/proc/self/schedstat is empty")?
        .parse::<f64>()?
        / 1e9)
}

fn status_bytes(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes
        .ok_or("no such line in /proc/self/status")?
        .parse::<u64>()?
        * 1024)
}
