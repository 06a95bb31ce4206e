//! Firmware is whole or gone too: kill -9, and no room, before every file operation of taking it in,
//! replacing it and removing it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use evenkeel_model::{DeviceModel, Digest};
use evenkeel_package_store::{
    FirmwareBuild, FirmwareStageError, StageError, Store, build_firmware,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{key, noise, on_disk, policy};
use crate::disk::{Disk, scratch};
use crate::enospc::{GRAIN, NOISE, freed};
use crate::reexec::{child, in_namespace, is_child};
use crate::steps;
use crate::story::limits;

const DIR: &str = "EVENKEEL_FAULT_DIR";
const STEP: &str = "EVENKEEL_FAULT_STEP";

/// What is done, in this order; doing it again is always right.
const DEEDS: [Deed; 5] = [
    Deed::Take,
    Deed::Quarantine,
    Deed::Heal,
    Deed::Replace,
    Deed::Delete,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// The firmware comes.
    Take,
    /// It is set aside.
    Quarantine,
    /// It comes again.
    Heal,
    /// It comes once more, over what is there.
    Replace,
    /// It goes.
    Delete,
}

/// Firmware, made once: the story is told many times.
struct Firmware {
    digest: Digest,
    bytes: Bytes,
}

impl Firmware {
    /// In a folder in which an earlier call may have made it already.
    fn load(dir: &Path) -> Self {
        let output = dir.join("firmware.zip");
        let image = dir.join("X423.NA06.LOD");
        if !image.exists() {
            fs::write(&image, noise(70_000, 5)).unwrap();
        }
        let options = FirmwareBuild {
            build_time: Some(evenkeel_model::WallTime::from_unix_seconds(1_700_000_000)),
            ..FirmwareBuild::default()
        };
        let built = build_firmware(&[image], &key(), options, &output).unwrap();
        Self {
            digest: built.digest,
            bytes: fs::read(output).unwrap().into(),
        }
    }
}

impl Deed {
    fn run(self, store: &Store, it: &Firmware) -> Result<(), Box<dyn std::error::Error>> {
        match self {
            Self::Take | Self::Heal | Self::Replace => take(store, it)?,
            Self::Quarantine if store.get_firmware(it.digest).is_none() => {}
            Self::Quarantine => store.quarantine_firmware(it.digest, "a test says so")?,
            Self::Delete => drop(store.delete_firmware(it.digest)?),
        }
        Ok(())
    }

    /// Whether it leaves the firmware here.
    fn leaves(self) -> bool {
        match self {
            Self::Take | Self::Heal | Self::Replace => true,
            Self::Quarantine | Self::Delete => false,
        }
    }
}

fn take(store: &Store, it: &Firmware) -> Result<(), FirmwareStageError> {
    let mut staging = store.begin_firmware("firmware", policy(), limits(false))?;
    for at in (0..it.bytes.len()).step_by(40_000) {
        staging.write_blocking(it.bytes.slice(at..it.bytes.len().min(at + 40_000)))?;
    }
    staging.finish_blocking().map(drop)
}

/// Checks a store of which it is known that `done` deeds were done and that the next may have been begun.
fn check(store: &Store, done: usize, it: &Firmware) {
    let context = format!("after {done} deeds");
    let before = done.checked_sub(1).is_some_and(|at| DEEDS[at].leaves());
    let after = DEEDS.get(done).map_or(before, |deed| deed.leaves());
    let here = store.get_firmware(it.digest).is_some();
    assert!(here == before || here == after, "lost or undead {context}");
    if here {
        let model = DeviceModel::new("X423").unwrap();
        let mut image = store
            .open_image(it.digest, Some(&model), &policy())
            .unwrap();
        let mut content = Vec::new();
        image.file.read_to_end(&mut content).unwrap();
        assert_eq!(content, noise(70_000, 5), "{context}");
        let mut archive = store.open_firmware_archive(it.digest, 0).unwrap();
        let mut bytes = Vec::new();
        archive.file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, it.bytes, "{context}");
    }
    let set_aside = store.damaged_firmware();
    let set_aside = set_aside.iter().map(|it| format!("{}.damaged", it.digest));
    let expected = here.then(|| it.digest.to_string()).into_iter();
    let expected = expected.chain(set_aside);
    assert_eq!(names(store), expected.collect(), "debris {context}");
}

/// Everything in the store's folders.
fn names(store: &Store) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = on_disk(store.dir()).into_iter().collect();
    for entry in fs::read_dir(store.dir().join("firmware")).unwrap() {
        names.insert(entry.unwrap().file_name().into_string().unwrap());
    }
    names
}

/// After a crash in the deed that follows the first `done`.
fn survive(dir: &Path, done: usize, it: &Firmware) {
    let store = Store::open(dir).unwrap();
    check(&store, done, it);
    for deed in &DEEDS[done..] {
        if let Err(error) = deed.run(&store, it) {
            panic!("{deed:?} after a crash in {:?}: {error}", DEEDS.get(done));
        }
    }
    check(&store, DEEDS.len(), it);
}

/// Tells the story until it is killed, with a line for each deed that is done.
#[test]
#[ignore = "the process that the other test of this module kills"]
fn tell() {
    if !is_child() {
        return;
    }
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let step: u64 = std::env::var(STEP).unwrap().parse().unwrap();
    let firmware = Firmware::load(&dir);
    let store = Store::open(dir.join("store")).unwrap();
    steps::arm(step, || {
        kill(Pid::this(), Signal::SIGKILL).unwrap();
        loop {
            std::thread::park();
        }
    });
    for deed in DEEDS {
        deed.run(&store, &firmware).unwrap();
        println!("done {deed:?}");
    }
    println!("steps {}", steps::disarm());
}

#[test]
fn killed_at_every_step() {
    let dir = scratch();
    let firmware = Firmware::load(dir.path());
    for step in 1.. {
        let mut told = child("firmware::tell")
            .env(DIR, dir.path())
            .env(STEP, step.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(told.stdout.take().unwrap()).lines();
        let lines: Vec<String> = lines.map(Result::unwrap).collect();
        let ended = lines.iter().any(|line| line.starts_with("steps"));
        assert_eq!(told.wait().unwrap().success(), ended, "{lines:?}");
        let done = lines.iter().filter(|line| line.starts_with("done")).count();
        survive(&dir.path().join("store"), done, &firmware);
        fs::remove_dir_all(dir.path().join("store")).unwrap();
        if ended {
            assert!(step > 40, "only {step} steps: are they still hooked?");
            break;
        }
    }
}

#[test]
fn no_room_at_every_step_of_taking_it_in() {
    // A process of its own, since the steps of all stores in it go wrong.
    if !is_child() {
        let name = "firmware::no_room_at_every_step_of_taking_it_in";
        let output = child(name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{text}");
    }
    let dir = scratch();
    let firmware = Firmware::load(dir.path());
    for step in 1.. {
        let root = dir.path().join("store");
        let store = Store::open(&root).unwrap();
        steps::arm(step, || Err(io::ErrorKind::StorageFull.into()));
        let taken = take(&store, &firmware);
        let steps = steps::disarm();
        match taken {
            Ok(()) => check(&store, 1, &firmware),
            Err(FirmwareStageError::Stage(StageError::NoSpace { .. })) => {
                assert!(names(&store).is_empty(), "step {step}");
            }
            Err(error) => panic!("step {step}: {error:?}"),
        }
        take(&store, &firmware).unwrap();
        check(&store, 1, &firmware);
        fs::remove_dir_all(&root).unwrap();
        if steps < step {
            assert!(step > 12, "only {step} steps: are they still hooked?");
            break;
        }
    }
}

#[test]
fn no_room_at_every_step_of_bringing_it_again() {
    if !is_child() {
        let name = "firmware::no_room_at_every_step_of_bringing_it_again";
        let output = child(name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{text}");
    }
    let dir = scratch();
    let firmware = Firmware::load(dir.path());
    for deed in [Deed::Heal, Deed::Replace] {
        let done = DEEDS.iter().position(|it| *it == deed).unwrap();
        let mut refused = 0;
        for step in 1.. {
            let root = dir.path().join("store");
            let store = Store::open(&root).unwrap();
            for deed in &DEEDS[..done] {
                deed.run(&store, &firmware).unwrap();
            }
            steps::arm(step, || Err(io::ErrorKind::StorageFull.into()));
            let taken = take(&store, &firmware);
            let steps = steps::disarm();
            match taken {
                // What it replaced may be left, since removing went wrong: the next one clears it away.
                Ok(()) => {}
                // What was there is there, as it was.
                Err(FirmwareStageError::Stage(StageError::NoSpace { .. })) => {
                    refused += 1;
                    check(&store, done, &firmware);
                    let here = store.get_firmware(firmware.digest).is_some();
                    assert_eq!(here, deed == Deed::Replace, "{deed:?}, step {step}");
                }
                Err(error) => panic!("{deed:?}, step {step}: {error:?}"),
            }
            take(&store, &firmware).unwrap();
            check(&store, done + 1, &firmware);
            assert!(store.damaged_firmware().is_empty());
            fs::remove_dir_all(&root).unwrap();
            if steps < step {
                assert!(step > 12, "only {step} steps: are they still hooked?");
                assert!(
                    refused > 8,
                    "{deed:?}: only {refused} of {step} steps refuse"
                );
                break;
            }
        }
    }
}

#[test]
fn with_every_amount_of_room() {
    if !is_child() {
        return in_namespace("firmware::with_every_amount_of_room");
    }
    let dir = scratch();
    let firmware = Firmware::load(dir.path());
    let disk = Disk::new(dir.path(), 8);
    let root = disk.path().join("store");
    let store = Store::open(&root).unwrap();
    // Folders grow to their length once.
    take(&store, &firmware).unwrap();
    store.delete_firmware(firmware.digest).unwrap();
    drop(store);
    let store = Store::open(&root).unwrap();
    let mut refused = 0;
    for room in (0..).step_by(GRAIN as usize) {
        disk.fill_to(room);
        let before = disk.free_bytes();
        if has_room(take(&store, &firmware)) {
            disk.empty();
            break;
        }
        refused += 1;
        assert!(names(&store).is_empty(), "{room} bytes of room");
        let after = freed(&disk);
        assert!(after + NOISE >= before, "{before} free, then {after}");
        disk.empty();
    }
    let needed = 2 * firmware.bytes.len() as u64;
    assert!(
        refused >= needed / GRAIN,
        "only {refused} were refused, archive and image being {needed} bytes"
    );
    check(&store, 1, &firmware);
    // What is there stays, whole or set aside, until there is room for the one that takes its place.
    disk.fill_to(GRAIN);
    assert!(!has_room(take(&store, &firmware)));
    check(&store, 1, &firmware);
    assert!(store.get_firmware(firmware.digest).is_some());
    disk.empty();
    let quarantined = store.quarantine_firmware(firmware.digest, "a test says so");
    quarantined.unwrap();
    disk.fill_to(GRAIN);
    assert!(!has_room(take(&store, &firmware)));
    let set_aside = format!("{}.damaged", firmware.digest);
    assert_eq!(names(&store), BTreeSet::from([set_aside]));
    disk.empty();
    take(&store, &firmware).unwrap();
    assert_eq!(names(&store), BTreeSet::from([firmware.digest.to_string()]));
}

fn has_room(taken: Result<(), FirmwareStageError>) -> bool {
    match taken {
        Ok(()) => true,
        Err(FirmwareStageError::Stage(StageError::NoSpace { .. })) => false,
        Err(error) => panic!("{error:?}"),
    }
}
