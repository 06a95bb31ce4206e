//! What `cargo xtask bench` measures: a process that uses the store as the daemon does, and says on
//! standard output what only it can know. Not a tool for operators: they have `evenkeel package`.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel_model::{PlatformName, SourceVersions, Version};
use evenkeel_package_store::{
    BuildOptions, ExtractRequest, Policy, Recorded, SecretKey, StageLimits, Store, build,
    extract_archive,
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
        report(idle, last.elapsed())
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine's time"
)]
fn extract(archive: &Path, slot: &Path) -> Result<(), Box<dyn Error>> {
    let idle = resident("VmRSS")?;
    let policy = policy();
    let request = ExtractRequest {
        slot_dir: slot,
        running: None,
        expected: None,
        policy: &policy,
    };
    let begin = Instant::now();
    let mut most = 0;
    let mut progress = |p: evenkeel_package_store::ExtractProgress| most = p.done_bytes;
    extract_archive(
        File::open(archive)?,
        request,
        &mut progress,
        &AtomicBool::new(false),
    )?;
    report(idle, begin.elapsed())
}

fn report(idle_bytes: u64, tail: Duration) -> Result<(), Box<dyn Error>> {
    let peak = resident("VmHWM")?.saturating_sub(idle_bytes);
    let tail = tail.as_secs_f64();
    println!("{{\"peak_over_idle_bytes\":{peak},\"tail_s\":{tail:.4}}}");
    Ok(())
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
