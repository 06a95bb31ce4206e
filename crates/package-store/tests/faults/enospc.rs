//! No room: at every file operation, and on a real disk with every amount of room.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use evenkeel_package_store::{
    ExtractError, ExtractRequest, StageError, Store, extract_archive, read_slot_manifest,
};

use crate::common::*;
use crate::disk::{Disk, scratch};
use crate::reexec::{child, in_namespace, is_child};
use crate::steps;
use crate::story::{Cast, limits};

/// Room is tried in steps of this.
pub(crate) const GRAIN: u64 = 12 << 10;
/// Blocks that the file system keeps for a folder that once was longer, and the like.
pub(crate) const NOISE: u64 = 16 << 10;

#[test]
fn no_room_at_every_step() {
    // A process of its own, since the steps of all stores in it go wrong.
    if !is_child() {
        let output = child("enospc::no_room_at_every_step").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{text}");
    }
    let dir = scratch();
    let cast = Cast::load(dir.path());
    for keep_partial in [false, true] {
        let mut step = 1;
        loop {
            let root = dir.path().join(format!("store-{keep_partial}-{step}"));
            let store = Store::open(&root).unwrap();
            steps::arm(step, || Err(io::ErrorKind::StorageFull.into()));
            let staged = stage_pieces(&store, &cast.big.bytes, keep_partial);
            let steps = steps::disarm();
            match staged {
                Ok(()) => assert_eq!(on_disk(&root), [cast.big.digest.to_string()]),
                Err(StageError::NoSpace { .. }) => {
                    assert_eq!(on_disk(&root), [""; 0], "step {step}");
                }
                Err(error) => panic!("step {step}: {error:?}"),
            }
            stage_pieces(&store, &cast.big.bytes, keep_partial).unwrap();
            assert_eq!(on_disk(&root), [cast.big.digest.to_string()]);
            fs::remove_dir_all(&root).unwrap();
            if steps < step {
                break;
            }
            step += 1;
        }
        assert!(step > 15, "only {step} steps: are they still hooked?");
    }
}

#[test]
fn with_every_amount_of_room() {
    if !is_child() {
        return in_namespace("enospc::with_every_amount_of_room");
    }
    let dir = scratch();
    let packed = middling(dir.path());
    let disk = Disk::new(dir.path(), 8);
    let store = Store::open(disk.path().join("store")).unwrap();
    // Folders grow to their length once.
    stage_pieces(&store, &packed, false).unwrap();
    let digest = store.list()[0].manifest_digest;
    store.delete(digest).unwrap();
    drop(store);
    let store = Store::open(disk.path().join("store")).unwrap();
    let (mut refused, mut room) = (0, 0);
    loop {
        disk.fill_to(room);
        let before = disk.free_bytes();
        let staged = stage_pieces(&store, &packed, room % (2 * GRAIN) == 0);
        match &staged {
            Ok(()) => {
                store.delete(digest).unwrap();
            }
            Err(StageError::NoSpace { .. }) => {
                refused += 1;
                assert!(on_disk(store.dir()).is_empty());
                assert!(store.list().is_empty());
                let after = freed(&disk);
                assert!(after + NOISE >= before, "{before} free, then {after}");
            }
            Err(error) => panic!("{room} bytes of room: {error:?}"),
        }
        disk.empty();
        if staged.is_ok() {
            break;
        }
        room += GRAIN;
    }
    assert!(
        refused as u64 > packed.len() as u64 / GRAIN,
        "only {refused} were refused"
    );
    stage_pieces(&store, &packed, false).unwrap();
}

#[test]
fn into_a_slot_with_every_amount_of_room() {
    if !is_child() {
        return in_namespace("enospc::into_a_slot_with_every_amount_of_room");
    }
    let dir = scratch();
    middling(dir.path());
    let disk = Disk::new(dir.path(), 8);
    let slot = disk.path().join("slot");
    let extract = || {
        let policy = policy();
        let request = ExtractRequest {
            slot_dir: &slot,
            running: None,
            expected: None,
            policy: &policy,
        };
        let archive = fs::File::open(dir.path().join("2.0.tgz")).unwrap();
        extract_archive(archive, request, &mut |_| {}, &AtomicBool::new(false))
    };
    let mut refused = 0;
    // Also where the space that is asked for beforehand is there, but not what the file system needs beside it.
    for room in (0..).step_by(GRAIN as usize) {
        disk.fill_to(room);
        let extracted = extract();
        let whole = read_slot_manifest(&slot).unwrap().is_some();
        disk.empty();
        match extracted {
            Ok(_) => {
                assert!(whole);
                break;
            }
            Err(ExtractError::NoSpace { .. }) => {
                refused += 1;
                assert!(!whole, "a slot without room counts as whole");
            }
            Err(error) => panic!("{room} bytes of room: {error:?}"),
        }
    }
    assert!(refused > 10, "only {refused} were refused");
    extract().unwrap();
    assert_eq!(snapshot(&slot), snapshot(&dir.path().join("tree")));
}

/// A package of about 300 KiB, some files among it.
fn middling(dir: &Path) -> Bytes {
    let tree = dir.join("tree");
    fs::create_dir(&tree).unwrap();
    for at in 0..10 {
        fs::write(tree.join(format!("file-{at}")), noise(34_000, at + 1)).unwrap();
    }
    let (_, path) = make_package(dir, "2.0");
    fs::read(path).unwrap().into()
}

fn stage_pieces(store: &Store, bytes: &Bytes, keep_partial: bool) -> Result<(), StageError> {
    let mut staging = store.begin("s", policy(), limits(keep_partial))?;
    for at in (0..bytes.len()).step_by(50_000) {
        staging.write_blocking(bytes.slice(at..bytes.len().min(at + 50_000)))?;
    }
    staging.finish_blocking().map(|_| ())
}

/// Free bytes when what was removed is free.
pub(crate) fn freed(disk: &Disk) -> u64 {
    nix::unistd::syncfs(fs::File::open(disk.path()).unwrap()).unwrap();
    disk.free_bytes()
}
