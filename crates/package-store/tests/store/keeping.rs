//! What the store keeps, and what it must not: duplicates, crashes, full disks, senders that go away.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use evenkeel_package_store::{
    Deleted, Policy, StageError, StageLimits, Store, StoreError, VerifyError,
};

use crate::common::*;
use crate::craft::Craft;

fn limits() -> StageLimits {
    StageLimits {
        reserve_bytes: 0,
        ..Default::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir.join("store")).unwrap()
}

#[test]
fn the_same_package_again_is_success() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = Craft::good().pack();
    let first = stage(&store, &bytes).unwrap();
    assert_eq!(stage(&store, &bytes).unwrap(), first);
    assert_eq!(store.list(), std::slice::from_ref(&first));
    assert_eq!(on_disk(store.dir()), [first.manifest_digest.to_string()]);
}

#[test]
fn the_same_archive_again_heals_a_damaged_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = Craft::good().pack();
    let digest = stage(&store, &bytes).unwrap().manifest_digest;
    let archive = store
        .dir()
        .join("packages")
        .join(digest.to_string())
        .join("archive.tgz");
    fs::write(&archive, vec![0; bytes.len()]).unwrap();
    stage(&store, &bytes).unwrap();
    assert_eq!(fs::read(&archive).unwrap(), bytes);
    assert_eq!(on_disk(store.dir()).len(), 1);
}

#[test]
fn another_archive_of_the_same_package_leaves_the_one_that_peers_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = Craft::good().pack();
    let first = stage(&store, &bytes).unwrap();
    let longer = [&bytes[..], &crate::craft::gzip(b"")].concat();
    assert_eq!(stage(&store, &longer).unwrap(), first);
    assert_eq!(on_disk(store.dir()).len(), 1);
}

#[test]
fn a_version_belongs_to_one_package() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = stage(&store, &Craft::good().pack()).unwrap();
    let mut other = Craft::good();
    other.manifest.notes = "built again".into();
    let refused = stage(&store, &other.pack()).unwrap_err();
    assert!(
        matches!(&refused, StageError::VersionExists { existing, .. } if *existing == first.manifest_digest),
        "{refused:?}"
    );
    assert_eq!(store.list(), [first]);
    assert_eq!(on_disk(store.dir()).len(), 1);
}

#[test]
fn another_package_than_asked_for_is_refused_even_if_it_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = Craft::good().pack();
    let kept = stage(&store, &bytes).unwrap();
    let asked = StageLimits {
        expected_package: Some(digest(b"another")),
        ..limits()
    };
    let refused = stage_with(&store, &bytes, 100, policy(), asked).unwrap_err();
    assert!(matches!(
        refused,
        StageError::Refused(VerifyError::WrongPackage { .. })
    ));
    assert_eq!(store.list(), [kept]);
}

#[test]
fn a_fault_is_reported_while_the_rest_is_still_coming() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (_, path) = make_package(dir.path(), "2.0");
    let bytes = Bytes::from(fs::read(path).unwrap());
    let mut staging = store
        .begin("s", Policy::trusting(Default::default()), limits())
        .unwrap();
    let mut sent = 0;
    let error = loop {
        // It never ends: only the refusal stops it.
        match staging.write_blocking(bytes.slice(sent % 4096..sent % 4096 + 1024)) {
            Ok(()) => sent += 1024,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, StageError::Refused(VerifyError::Signature(_))),
        "{error:?}"
    );
    assert!(matches!(
        staging.write_blocking(Bytes::new()),
        Err(StageError::Ended)
    ));
    assert!(matches!(staging.finish_blocking(), Err(StageError::Ended)));
    assert!(on_disk(store.dir()).is_empty());
}

#[test]
fn giving_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = Craft::good().pack();
    let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    let mut staging = store.begin("s", policy(), limits()).unwrap();
    staging.write_blocking(half.clone()).unwrap();
    assert_eq!(on_disk(store.dir()), ["s.partial"]);
    let busy = store.begin("s", policy(), limits()).unwrap_err();
    assert!(matches!(busy, StageError::Busy { .. }));
    staging.abort_blocking();
    assert!(on_disk(store.dir()).is_empty());
    // The id is free again.
    let mut staging = store.begin("s", policy(), limits()).unwrap();
    staging.write_blocking(half).unwrap();
    let error = staging.finish_blocking().unwrap_err();
    assert!(
        matches!(error, StageError::Refused(VerifyError::Truncated { .. })),
        "{error:?}"
    );
    assert!(on_disk(store.dir()).is_empty());
}

#[test]
fn a_dropped_staging_is_gone_when_the_store_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut staging = store.begin("s", policy(), limits()).unwrap();
    staging
        .write_blocking(Bytes::from_static(b"\x1f\x8b"))
        .unwrap();
    drop(staging);
    drop(store);
    // Waits for the threads of the old one.
    assert!(on_disk(open(dir.path()).dir()).is_empty());
}

#[test]
fn no_room_is_its_own_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = Craft::good().pack();
    let free = store.free_bytes().unwrap();
    let announced = StageLimits {
        expected_bytes: Some(free.saturating_mul(2)),
        ..limits()
    };
    let error = stage_with(&store, &bytes, 100, policy(), announced).unwrap_err();
    assert!(matches!(error, StageError::NoSpace { .. }), "{error:?}");
    let small = StageLimits {
        max_archive_bytes: 300,
        ..limits()
    };
    let error = stage_with(&store, &bytes, 100, policy(), small).unwrap_err();
    assert!(
        matches!(error, StageError::TooLarge { limit: 300 }),
        "{error:?}"
    );
    assert!(on_disk(store.dir()).is_empty());
}

#[test]
fn stage_ids_are_words() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for id in ["", "../x", "a/b", ".", &"x".repeat(129)] {
        let refused = store.begin(id, policy(), limits()).unwrap_err();
        assert!(matches!(refused, StageError::BadId { .. }));
    }
}

#[test]
fn what_a_crash_left_is_cleared_and_what_is_whole_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let whole = stage(&store, &Craft::good().pack()).unwrap();
    let root = store.dir().to_owned();
    drop(store);
    let good = root
        .join("packages")
        .join(whole.manifest_digest.to_string());
    type Spoil = fn(&Path);
    let spoilt: [(&str, Spoil); 5] = [
        ("1", |dir| {
            fs::remove_file(dir.join("package.json")).unwrap()
        }),
        ("2", |dir| fs::write(dir.join("package.json"), "{").unwrap()),
        ("3", |dir| {
            fs::write(dir.join("archive.tgz"), "short").unwrap()
        }),
        ("4", |dir| {
            fs::write(dir.join("manifest.json"), "{}").unwrap()
        }),
        ("5", |_| ()),
    ];
    for (name, spoil) in spoilt {
        let copy = root.join("packages").join(name.repeat(64));
        fs::create_dir(&copy).unwrap();
        for file in [
            "archive.tgz",
            "manifest.json",
            "manifest.sig",
            "package.json",
            "chunks",
        ] {
            fs::copy(good.join(file), copy.join(file)).unwrap();
        }
        spoil(&copy);
    }
    fs::write(root.join("packages/stray"), "x").unwrap();
    fs::create_dir(root.join("incoming/op.partial")).unwrap();
    fs::write(root.join("incoming/op.partial/archive.tgz"), "half").unwrap();
    let store = Store::open(&root).unwrap();
    assert_eq!(store.list(), std::slice::from_ref(&whole));
    let damaged = store.damaged();
    assert_eq!(damaged.len(), 5, "{damaged:?}");
    let mut names = on_disk(&root);
    names.retain(|name| !name.ends_with(".damaged"));
    assert_eq!(names, [whole.manifest_digest.to_string()]);
    // They can be looked at until the next time.
    drop(store);
    let store = Store::open(&root).unwrap();
    assert!(store.damaged().is_empty());
    assert_eq!(on_disk(&root), [whole.manifest_digest.to_string()]);
}

#[test]
fn a_package_that_cannot_be_moved_out_of_the_way_is_not_called_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored = stage(&store, &Craft::good().pack()).unwrap();
    fs::remove_dir(store.dir().join("aside")).unwrap();
    let error = store.delete(stored.manifest_digest).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(store.list(), std::slice::from_ref(&stored));
    fs::create_dir(store.dir().join("aside")).unwrap();
    assert_eq!(
        store.delete(stored.manifest_digest).unwrap(),
        Deleted::Removed
    );
}

#[test]
fn what_is_not_there_has_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let digest = digest(b"nothing");
    let error = store.open_archive(digest, 0).unwrap_err();
    assert!(matches!(error, StoreError::NotThere { .. }));
    let stored = stage(&store, &Craft::good().pack()).unwrap();
    let error = store
        .open_archive(stored.manifest_digest, stored.archive_bytes + 1)
        .unwrap_err();
    assert!(matches!(error, StoreError::OffsetBehindEnd { .. }));
    let end = store
        .open_archive(stored.manifest_digest, stored.archive_bytes)
        .unwrap();
    assert_eq!(end.offset, end.total_bytes);
}

#[tokio::test]
async fn async_callers_follow_the_progress() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (built, path) = make_package(dir.path(), "2.0");
    let bytes = Bytes::from(fs::read(path).unwrap());
    let mut staging = store.begin("s", policy(), limits()).unwrap();
    let mut progress = staging.progress();
    for at in (0..bytes.len()).step_by(10_000) {
        staging
            .write(bytes.slice(at..bytes.len().min(at + 10_000)))
            .await
            .unwrap();
    }
    progress.wait_for(|p| p.summary.is_some()).await.unwrap();
    staging.finish().await.unwrap();
    let last = progress.borrow().clone();
    assert_eq!(last.received_bytes, bytes.len() as u64);
    assert_eq!(last.verified_bytes, built.manifest.unpacked_bytes);
    assert_eq!(*last.summary.unwrap(), built.manifest.summary());

    let mut staging = store.begin("s", policy(), limits()).unwrap();
    staging.write(bytes.slice(..100_000)).await.unwrap();
    staging.abort().await;
    assert_eq!(on_disk(store.dir()).len(), 1);
}
