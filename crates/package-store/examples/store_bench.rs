//! What `cargo xtask bench` measures: a process that uses the store as the daemon does, and says on
//! standard output what only it can know. Not a tool for operators: they have `evenkeel package`.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel_model::{PlatformName, SourceVersions, Version};
use evenkeel_package_store::{
    BuildOptions, Compression, ExtractRequest, Policy, Recorded, SecretKey, StageLimits, Store,
    build, extract_archive,
};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// What hyper gives at a time, more or less.
const CHUNK_BYTES: usize = 64 << 10;

const USAGE: &str = "build TREE ARCHIVE | stage ARCHIVE STORE [BYTES_PER_SECOND] | extract ARCHIVE SLOT | forget FOLDER";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["build", tree, archive] => make(Path::new(tree), Path::new(archive)),
        ["stage", archive, store] => stage(Path::new(archive), Path::new(store), None),
        ["stage", archive, store, pace] => {
            stage(Path::new(archive), Path::new(store), Some(pace.parse()?))
        }
        ["extract", archive, slot] => extract(Path::new(archive), Path::new(slot)),
        ["forget", folder] => forget(Path::new(folder)),
        _ => Err(USAGE.into()),
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

fn policy() -> Policy {
    Policy::trusting([key().public()].into_iter().collect())
}

fn make(tree: &Path, archive: &Path) -> Result<(), Box<dyn Error>> {
    let options = BuildOptions {
        name: "benchmark".into(),
        version: Version::new("1")?,
        platform: PlatformName::new("bench")?,
        variant: None,
        features: vec![],
        source_versions: SourceVersions::Any,
        checks: vec![],
        manual_steps: vec![],
        firmware: vec![],
        notes: String::new(),
        recorded: Recorded::default(),
        build_time: None,
        compression: Compression::default(),
    };
    let built = build(tree, &key(), options, archive)?;
    let unpacked = built.manifest.unpacked_bytes;
    println!(
        "{{\"unpacked_bytes\":{unpacked},\"archive_bytes\":{}}}",
        built.archive_bytes
    );
    Ok(())
}

/// Takes the archive in through the asynchronous door, as a request handler does. With a pace, chunks
/// become due as a link of that speed would bring them, and `tail_s` counts from when the last was due.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine's time"
)]
fn stage(archive: &Path, store: &Path, pace: Option<f64>) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let store = Store::open(store)?;
    let idle = resident("VmRSS")?;
    let threads = Threads::watch();
    runtime.block_on(async {
        let mut staging = store.begin("bench", policy(), StageLimits::default())?;
        let mut file = File::open(archive)?;
        let begin = Instant::now();
        let (mut sent, mut last) = (0u64, begin);
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let n = file.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            chunk.truncate(n);
            sent += n as u64;
            last = Instant::now();
            if let Some(pace) = pace {
                last = begin + Duration::from_secs_f64(sent as f64 / pace);
                tokio::time::sleep_until(last.into()).await;
            }
            staging.write(Bytes::from(chunk)).await?;
        }
        staging.finish().await?;
        report(idle, &threads, pace.map(|_| last.elapsed()))
    })
}

fn extract(archive: &Path, slot: &Path) -> Result<(), Box<dyn Error>> {
    let idle = resident("VmRSS")?;
    let threads = Threads::watch();
    let policy = policy();
    let request = ExtractRequest {
        slot_dir: slot,
        running: None,
        expected: None,
        policy: &policy,
    };
    let mut most = 0;
    let mut progress = |p: evenkeel_package_store::ExtractProgress| most = p.done_bytes;
    extract_archive(
        File::open(archive)?,
        request,
        &mut progress,
        &AtomicBool::new(false),
    )?;
    report(idle, &threads, None)
}

fn report(
    idle_bytes: u64,
    threads: &Threads,
    tail: Option<Duration>,
) -> Result<(), Box<dyn Error>> {
    let peak = resident("VmHWM")?.saturating_sub(idle_bytes);
    let slowest = threads.slowest();
    let tail = tail.map_or_else(String::new, |t| {
        format!(",\"tail_s\":{:.4}", t.as_secs_f64())
    });
    println!("{{\"peak_over_idle_bytes\":{peak},\"slowest_thread_s\":{slowest:.2}{tail}}}");
    Ok(())
}

/// The greatest CPU time of any thread, looked at from time to time, as threads end before the process does.
struct Threads(Arc<AtomicU64>);

impl Threads {
    fn watch() -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let seen = most.clone();
        std::thread::spawn(move || {
            loop {
                for ticks in thread_ticks().into_iter().flatten() {
                    seen.fetch_max(ticks, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self(most)
    }

    fn slowest(&self) -> f64 {
        // Linux counts in hundredths of a second here, on every architecture.
        self.0.load(Ordering::Relaxed) as f64 / 100.0
    }
}

fn thread_ticks() -> std::io::Result<Vec<u64>> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        // A thread may have ended in between.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
            continue;
        };
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let user_and_system = fields.split_whitespace().skip(11).take(2);
        all.push(user_and_system.filter_map(|f| f.parse::<u64>().ok()).sum());
    }
    Ok(all)
}

fn resident(field: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.ok_or("no such line")?.trim().trim_end_matches(" kB");
    Ok(kib.trim().parse::<u64>()? << 10)
}

/// Gives the page cache of a folder's files back, so that one measurement does not slow the next.
fn forget(folder: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            forget(&entry.path())?;
        } else if kind.is_file() {
            let file = File::open(entry.path())?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
    }
    Ok(())
}
