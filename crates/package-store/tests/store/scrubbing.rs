//! Rot is found, set aside, and healed by a good copy.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use evenkeel_package_store::{
    CHUNK_BYTES, Deleted, ExtractError, ExtractRequest, Policy, Quarantined, ScrubOutcome, Store,
    StoreError,
};

use crate::common::*;

const CHUNK: usize = CHUNK_BYTES as usize;

fn scrub(store: &Store, digest: evenkeel_model::Digest) -> (ScrubOutcome, u64) {
    let mut read = 0;
    let outcome = store.scrub(digest, &mut |bytes| {
        read += bytes;
        ControlFlow::Continue(())
    });
    (outcome.unwrap(), read)
}

#[test]
fn every_kind_of_rot_is_found_and_healed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path) = make_package(dir.path(), "2.0");
    let bytes = Bytes::from(fs::read(path).unwrap());
    let store = Store::open(dir.path().join("store")).unwrap();
    let stored = stage(&store, &bytes).unwrap();
    let digest = stored.manifest_digest;
    let (outcome, read) = scrub(&store, digest);
    assert_eq!(outcome, ScrubOutcome::Whole);
    assert!(read > bytes.len() as u64, "the callback paces all of it");
    let home = store.dir().join("packages").join(digest.to_string());
    let flip = |name: &'static str, at: usize| {
        move |home: &Path| {
            let mut bytes = fs::read(home.join(name)).unwrap();
            bytes[at] ^= 1;
            fs::write(home.join(name), bytes).unwrap();
        }
    };
    type Spoil = Box<dyn Fn(&Path)>;
    let last = bytes.len() - 1;
    let spoilt: [(&str, Spoil); 8] = [
        ("archive.tgz", Box::new(flip("archive.tgz", 0))),
        ("archive.tgz", Box::new(flip("archive.tgz", CHUNK + 1))),
        ("archive.tgz", Box::new(flip("archive.tgz", last))),
        ("chunks", Box::new(flip("chunks", 40))),
        ("manifest.json", Box::new(flip("manifest.json", 9))),
        ("manifest.sig", Box::new(flip("manifest.sig", 30))),
        (
            "archive.tgz",
            Box::new(|home| fs::remove_file(home.join("archive.tgz")).unwrap()),
        ),
        (
            "archive.tgz",
            Box::new(|home| fs::write(home.join("archive.tgz"), "short").unwrap()),
        ),
    ];
    for (name, spoil) in spoilt {
        spoil(&home);
        let ScrubOutcome::Damaged { why, copy } = scrub(&store, digest).0 else {
            panic!("{name}: not found");
        };
        assert!(why.contains(name), "{why}");
        let aside = store.quarantine(digest, copy, &why).unwrap();
        assert_eq!(aside, Quarantined::SetAside);
        assert!(store.list().is_empty() && store.find_version(&stored.summary.version).is_none());
        let gone = store.open_archive(digest, 0).unwrap_err();
        assert!(matches!(gone, StoreError::NotThere { .. }));
        let damaged = store.damaged();
        assert_eq!((damaged[0].digest, &damaged[0].why), (digest, &why));
        // It can be looked at until a good copy has come.
        assert_eq!(on_disk(store.dir()), [format!("{digest}.damaged")]);
        assert_eq!(stage(&store, &bytes).unwrap(), stored);
        assert!(store.damaged().is_empty());
        // Healed or not, whoever tells of it learns of it, once.
        assert_eq!(store.take_damage(), damaged);
        assert!(store.take_damage().is_empty());
        // What was found is not true of the copy that came since.
        let late = store.quarantine(digest, copy, &why).unwrap();
        assert_eq!(late, Quarantined::HealedBefore);
        assert_eq!(scrub(&store, digest).0, ScrubOutcome::Whole);
        assert_eq!(on_disk(store.dir()), [digest.to_string()]);
    }
    let again = store
        .quarantine(crate::common::digest(b"x"), None, "no")
        .unwrap_err();
    assert!(matches!(again, StoreError::NotThere { .. }));
}

#[test]
fn a_scrub_ends_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path) = make_package(dir.path(), "2.0");
    let store = Store::open(dir.path().join("store")).unwrap();
    let digest = stage(&store, &fs::read(path).unwrap())
        .unwrap()
        .manifest_digest;
    let mut reads = 0;
    let outcome = store.scrub(digest, &mut |_| {
        reads += 1;
        if reads < 3 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert_eq!((outcome.unwrap(), reads), (ScrubOutcome::Stopped, 3));
}

#[test]
fn a_damaged_copy_can_be_deleted_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path) = make_small_package(dir.path(), "2.0");
    let root = dir.path().join("store");
    let store = Store::open(&root).unwrap();
    let digest = stage(&store, &fs::read(path).unwrap())
        .unwrap()
        .manifest_digest;
    store.quarantine(digest, None, "a test says so").unwrap();
    assert_eq!(store.delete(digest).unwrap(), Deleted::Removed);
    assert_eq!(store.delete(digest).unwrap(), Deleted::WasNotThere);
    assert!(on_disk(&root).is_empty() && store.damaged().is_empty());
}

#[test]
fn what_is_deleted_gives_its_room_to_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path) = make_package(dir.path(), "2.0");
    let bytes = fs::read(path).unwrap();
    let root = dir.path().join("store");
    let store = Store::open(&root).unwrap();
    let digest = stage(&store, &bytes).unwrap().manifest_digest;
    store.delete(digest).unwrap();
    let graves = || fs::read_dir(root.join("aside")).unwrap().count();
    assert_eq!(graves(), 1, "files go later");
    // Nobody has that much room: but all that can be freed is freed before it is refused.
    let limits = evenkeel_package_store::StageLimits {
        expected_bytes: Some(u64::MAX / 2),
        ..Default::default()
    };
    store.begin("s", policy(), limits).unwrap_err();
    assert_eq!(graves(), 0);
}

#[test]
fn a_copy_that_is_healed_while_it_is_read_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path) = make_package(dir.path(), "2.0");
    let bytes = fs::read(path).unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let digest = stage(&store, &bytes).unwrap().manifest_digest;
    let home = store.dir().join("packages").join(digest.to_string());
    let mut rotten = bytes.clone();
    rotten[2 * CHUNK + 1] ^= 1;
    fs::write(home.join("archive.tgz"), rotten).unwrap();
    let mut healed = false;
    let outcome = store.scrub(digest, &mut |read| {
        if read == CHUNK_BYTES && !healed {
            stage(&store, &bytes).unwrap();
            healed = true;
        }
        ControlFlow::Continue(())
    });
    assert_eq!((outcome.unwrap(), healed), (ScrubOutcome::Whole, true));
}

#[test]
fn an_extraction_that_meets_rot_sets_the_copy_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path) = make_small_package(dir.path(), "2.0");
    let bytes = fs::read(path).unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let digest = stage(&store, &bytes).unwrap().manifest_digest;
    let slot = dir.path().join("slot");
    let extract = |policy: &Policy| {
        let request = ExtractRequest {
            slot_dir: &slot,
            running: None,
            expected: None,
            policy,
        };
        store.extract(digest, request, &mut |_| {}, &AtomicBool::new(false))
    };
    // Refused for another reason, it stays.
    let untrusting = extract(&Policy::trusting(Default::default()));
    assert!(matches!(untrusting, Err(ExtractError::Refused(_))));
    assert_eq!(store.list().len(), 1);
    let archive = store.dir().join(format!("packages/{digest}/archive.tgz"));
    let mut rotten = bytes.clone();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    fs::write(archive, rotten).unwrap();
    let refused = extract(&policy()).unwrap_err();
    assert!(
        matches!(&refused, ExtractError::Store(StoreError::Damaged { .. })),
        "{refused:?}"
    );
    assert_eq!((store.list().len(), store.damaged().len()), (0, 1));
    stage(&store, &bytes).unwrap();
    extract(&policy()).unwrap();
}
