//! How busy the node is: from two samples of the kernel's counters, the older one kept from the call before.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::Load;

use crate::Host;
use crate::block::folder;
use crate::look::{Answer, blocking, unavailable};

/// Two samples closer than this say little: the counters go in hundredths of a second.
const APART_MIN_MS: u64 = 200;
/// A sample older than this tells of another time of day.
const APART_MAX_MS: u64 = 5 * 60 * 1000;

/// The kernel's counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sample {
    /// Milliseconds since the boot.
    at_ms: u64,
    /// Time of all CPUs, in ticks.
    total: u64,
    /// Of that, time without work.
    idle: u64,
    /// Milliseconds in which a disk had something to do, by its name.
    busy: Vec<(String, u64)>,
}

/// Remembers the sample before.
#[derive(Debug, Default)]
pub(crate) struct LoadMeter {
    before: Mutex<Option<(Sample, Option<Load>)>>,
}

/// What to do with a new sample.
enum Told {
    Load(Load),
    /// There is nothing to compare it with.
    Again,
}

impl LoadMeter {
    /// How busy the node and these disks were since the call before; waits a moment, if there was none lately.
    pub(crate) async fn load(&self, host: &Host, disks: Vec<String>) -> Answer<Load> {
        let first = taken(host, disks.clone()).await?;
        if let Told::Load(load) = self.take(first)? {
            return Ok(load);
        }
        // A little more: the clock that samples are dated by goes in hundredths of a second.
        tokio::time::sleep(Duration::from_millis(APART_MIN_MS + 20)).await;
        match self.take(taken(host, disks).await?)? {
            Told::Load(load) => Ok(load),
            Told::Again => Err(unavailable(
                "the load: the kernel's clock stands still (/proc/uptime)",
            )),
        }
    }

    fn take(&self, now: Sample) -> Answer<Told> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = before
            .as_ref()
            .and_then(|(then, load)| Some((now.at_ms.checked_sub(then.at_ms)?, *load)));
        match apart {
            Some((0..APART_MIN_MS, Some(load))) => Ok(Told::Load(load)),
            Some((0..APART_MIN_MS, None)) => Ok(Told::Again),
            Some((APART_MIN_MS..=APART_MAX_MS, _)) => {
                let load = before.as_ref().map(|(then, _)| between(then, &now));
                *before = Some((now, load));
                load.map_or(Ok(Told::Again), |load| Ok(Told::Load(load)))
            }
            Some(_) | None => {
                *before = Some((now, None));
                Ok(Told::Again)
            }
        }
    }
}

async fn taken(host: &Host, disks: Vec<String>) -> Answer<Sample> {
    blocking(host, "the load", move |host| sample(host, &disks)).await
}

/// Takes a sample of the CPUs and of these disks.
fn sample(host: &Host, disks: &[String]) -> Answer<Sample> {
    let strange = |file: &str| unavailable(format!("{file} is not as it should be"));
    let uptime = host.read("/proc/uptime")?;
    let uptime = uptime.split(' ').next().unwrap_or_default().parse::<f64>();
    let uptime = uptime.map_err(|_| strange("/proc/uptime"))?;
    let stat = host.read("/proc/stat")?;
    let (total, idle) = cpu(&stat).ok_or_else(|| strange("/proc/stat"))?;
    let mut busy = Vec::new();
    for disk in disks {
        let file = folder(disk).join("stat");
        let text = host.read(&file)?;
        // The tenth field: Documentation/block/stat.rst.
        let ticks = text.split_whitespace().nth(9);
        let ticks = ticks.and_then(|ticks| ticks.parse().ok());
        busy.push((
            disk.clone(),
            ticks.ok_or_else(|| strange(&file.to_string_lossy()))?,
        ));
    }
    Ok(Sample {
        at_ms: (uptime * 1000.0) as u64,
        total,
        idle,
        busy,
    })
}

/// Of the line of all CPUs: all ticks, and those without work (idle and iowait; proc_stat(5)). Guests' time is in the user's.
fn cpu(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let fields = line.split_whitespace().skip(1).take(8);
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    let idle = fields.get(3)? + fields.get(4)?;
    Some((fields.iter().sum(), idle))
}

fn between(then: &Sample, now: &Sample) -> Load {
    let total = now.total.saturating_sub(then.total);
    let idle = now.idle.saturating_sub(then.idle);
    let apart = now.at_ms - then.at_ms;
    let busiest = now.busy.iter().filter_map(|(disk, busy)| {
        let (_, before) = then.busy.iter().find(|(name, _)| name == disk)?;
        Some(percent(busy.saturating_sub(*before), apart))
    });
    Load {
        cpu_percent: percent(total.saturating_sub(idle), total),
        disk_percent: busiest.max().unwrap_or_default(),
    }
}

fn percent(part: u64, whole: u64) -> u8 {
    match whole {
        0 => 0,
        whole => (part * 100 / whole).min(100) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_ms: u64, total: u64, idle: u64, busy: u64) -> Sample {
        Sample {
            at_ms,
            total,
            idle,
            busy: vec![("sda".to_owned(), busy)],
        }
    }

    #[test]
    fn the_load_is_what_was_done_between_two_samples() {
        let load = between(&at(1000, 1000, 500, 50), &at(3000, 1400, 600, 1050));
        assert_eq!((load.cpu_percent, load.disk_percent), (75, 50));
        // Counters that went back, and a disk that is new, make no load.
        let load = between(&at(1000, 1000, 500, 50), &at(3000, 900, 400, 10));
        assert_eq!((load.cpu_percent, load.disk_percent), (0, 0));
    }

    #[test]
    fn a_sample_that_is_too_near_or_too_old_is_not_compared_with() {
        let meter = LoadMeter::default();
        let is_again = |now| matches!(meter.take(now), Ok(Told::Again));
        assert!(is_again(at(1000, 0, 0, 0)));
        assert!(is_again(at(1100, 5, 0, 0)));
        assert!(
            matches!(meter.take(at(2000, 100, 50, 0)), Ok(Told::Load(load)) if load.cpu_percent == 50)
        );
        // Asked again at once, it says the same.
        assert!(
            matches!(meter.take(at(2050, 101, 50, 0)), Ok(Told::Load(load)) if load.cpu_percent == 50)
        );
        assert!(is_again(at(2000 + APART_MAX_MS + 1, 101, 50, 0)));
        // A clock from before a boot.
        assert!(is_again(at(5, 1, 1, 0)));
    }

    #[test]
    fn all_kinds_of_cpu_time_are_counted_once() {
        let stat = "cpu  10 20 30 400 5 6 7 8 1000 1000\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5";
        assert_eq!(cpu(stat), Some((486, 405)));
        assert_eq!(cpu("intr 5"), None);
    }
}
