//! What was received once need not be sent again: after an interruption, a crash, a torn file.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use evenkeel_model::TransferSource;
use evenkeel_package_store::{
    CHUNK_BYTES, Policy, StageError, StageLimits, StageProgress, Staging, Store, StoredPackage,
    chunk_digest,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::common::*;
use crate::craft::Craft;

const CHUNK: usize = CHUNK_BYTES as usize;

fn kept() -> StageLimits {
    StageLimits {
        reserve_bytes: 0,
        keep_partial: true,
        ..StageLimits::default()
    }
}

/// A package whose archive has two whole chunks and a rest.
fn package(dir: &Path) -> Bytes {
    let (_, path) = make_package(dir, "2.0");
    let bytes = fs::read(path).unwrap();
    assert!(bytes.len() > 2 * CHUNK + 2000 && bytes.len() < 3 * CHUNK);
    bytes.into()
}

fn write(staging: &mut Staging, bytes: &Bytes) {
    for at in (0..bytes.len()).step_by(300_000) {
        let end = bytes.len().min(at + 300_000);
        staging.write_blocking(bytes.slice(at..end)).unwrap();
    }
}

fn receive(store: &Store, bytes: &Bytes) -> Staging {
    let mut staging = store.begin("stage-1", policy(), kept()).unwrap();
    write(&mut staging, bytes);
    staging
}

/// Resumes with the rest and gives what was resumed from.
fn resume(store: &Store, bytes: &Bytes) -> (StoredPackage, u64) {
    let (mut staging, offset) = store.resume("stage-1", policy(), kept()).unwrap();
    assert_eq!(staging.progress().borrow().received_bytes, offset);
    write(&mut staging, &bytes.slice(offset as usize..));
    (staging.finish_blocking().unwrap(), offset)
}

fn partial_dir(store: &Store) -> PathBuf {
    store.dir().join("incoming/stage-1.partial")
}

#[test]
fn a_suspended_staging_goes_on_in_another_process_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = package(dir.path());
    let clean = stage(&Store::open(dir.path().join("clean")).unwrap(), &bytes).unwrap();
    let root = dir.path().join("store");
    for cut in [
        0,
        100,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK + 1000,
        bytes.len(),
    ] {
        let store = Store::open(&root).unwrap();
        let staging = receive(&store, &bytes.slice(..cut));
        staging.note(b"first").unwrap();
        staging.note(b"second").unwrap();
        assert!(store.partials().unwrap().is_empty(), "under way");
        assert!(matches!(
            store.discard("stage-1"),
            Err(StageError::Busy { .. })
        ));
        staging.suspend_blocking().unwrap();
        drop(store);
        let store = Store::open(&root).unwrap();
        let partials = store.partials().unwrap();
        assert_eq!(partials.len(), 1);
        assert_eq!(
            (&*partials[0].note, partials[0].bytes),
            (&b"second"[..], cut as u64)
        );
        assert_eq!(resume(&store, &bytes), (clean.clone(), cut as u64));
        assert_eq!(on_disk(&root), [clean.manifest_digest.to_string()]);
        store.delete(clean.manifest_digest).unwrap();
    }
}

#[test]
fn a_dropped_staging_keeps_what_came_if_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = package(dir.path());
    let root = dir.path().join("store");
    let store = Store::open(&root).unwrap();
    drop(receive(&store, &bytes.slice(..CHUNK + 5)));
    drop(store);
    // Waits for the threads of the old one.
    let store = Store::open(&root).unwrap();
    let (_, offset) = resume(&store, &bytes);
    assert_eq!(offset, CHUNK as u64 + 5);
    // Given up, begun anew, or discarded, it is gone.
    receive(&store, &bytes.slice(..100)).abort_blocking();
    assert!(store.partials().unwrap().is_empty());
    receive(&store, &bytes.slice(..200))
        .suspend_blocking()
        .unwrap();
    receive(&store, &bytes.slice(..100))
        .suspend_blocking()
        .unwrap();
    assert_eq!(store.partials().unwrap()[0].bytes, 100);
    store.discard("stage-1").unwrap();
    store.discard("stage-1").unwrap();
    assert!(store.partials().unwrap().is_empty());
    let nothing = store.resume("stage-1", policy(), kept()).unwrap_err();
    assert!(matches!(nothing, StageError::NothingKept { .. }));
    assert_eq!(on_disk(&root).len(), 1);
}

#[test]
fn a_killed_staging_goes_on_at_its_last_whole_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = package(dir.path());
    let store = Store::open(dir.path().join("store")).unwrap();
    let staging = receive(&store, &bytes.slice(..2 * CHUNK + 100));
    let all = |p: &StageProgress| p.received_bytes == 2 * CHUNK as u64 + 100;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(staging.progress().wait_for(all)).unwrap();
    // What lies in the folder now is what a kill leaves.
    let root = dir.path().join("after");
    let left = root.join("incoming/stage-1.partial");
    fs::create_dir_all(&left).unwrap();
    for entry in fs::read_dir(partial_dir(&store)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), left.join(entry.file_name())).unwrap();
    }
    staging.abort_blocking();
    let (_, offset) = resume(&Store::open(&root).unwrap(), &bytes);
    assert_eq!(offset, 2 * CHUNK as u64);
}

#[test]
fn what_is_refused_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    // While it comes: cut off, so that it cannot be whole, and of a key that nobody trusts.
    let bytes: Bytes = Craft::good().pack().into();
    let untrusting = Policy::trusting(Default::default());
    let mut staging = store.begin("stage-1", untrusting.clone(), kept()).unwrap();
    write(&mut staging, &bytes);
    staging.finish_blocking().unwrap_err();
    assert!(on_disk(store.dir()).is_empty());
    // When it is resumed, because trust has changed meanwhile.
    receive(&store, &bytes).suspend_blocking().unwrap();
    match store.resume("stage-1", untrusting, kept()) {
        Err(StageError::Refused(_)) => {}
        Ok((staging, _)) => drop(staging.finish_blocking().unwrap_err()),
        Err(error) => panic!("{error:?}"),
    }
    assert!(on_disk(store.dir()).is_empty());
}

#[test]
fn a_note_is_refused_when_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let mut staging = store.begin("stage-1", policy(), kept()).unwrap();
    let error = loop {
        if let Err(error) = staging.write_blocking(Bytes::from_static(b"no package at all")) {
            break error;
        }
    };
    assert!(matches!(error, StageError::Refused(_)));
    assert!(staging.note(b"too late").is_err());
    assert!(on_disk(store.dir()).is_empty());
}

#[test]
fn chunks_with_known_digests_need_no_second_hashing() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = package(dir.path());
    let store = Store::open(dir.path().join("store")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut staging = store.begin("stage-1", policy(), kept()).unwrap();
    let stored = runtime.block_on(async {
        for chunk in bytes.chunks(CHUNK) {
            let chunk = Bytes::copy_from_slice(chunk);
            let digest = chunk_digest(&chunk);
            staging.write_chunk(chunk, digest).await.unwrap();
        }
        staging.finish().await.unwrap()
    });
    assert_eq!(stored.archive_digest, archive_digest(&bytes));
    let list = store.chunk_list(stored.manifest_digest).unwrap();
    assert_eq!((list.len(), list.digest()), (3, stored.archive_digest));
    assert_eq!(list.get(1), Some(chunk_digest(&bytes[CHUNK..2 * CHUNK])));
}

#[test]
fn a_transfer_shows_what_comes_and_from_where() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = package(dir.path());
    let store = Store::open(dir.path().join("store")).unwrap();
    let room = store.room_bytes().unwrap();
    let source = TransferSource::Download {
        host: "images.example".into(),
    };
    let limits = StageLimits {
        expected_bytes: Some(room / 2),
        source: source.clone(),
        ..kept()
    };
    let mut staging = store.begin("stage-1", policy(), limits).unwrap();
    write(&mut staging, &bytes.slice(..2 * CHUNK));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut progress = staging.progress();
    let known = progress.wait_for(|p| p.summary.is_some() && p.received_bytes == 2 * CHUNK as u64);
    runtime.block_on(known).unwrap();
    let transfers = store.transfers();
    assert_eq!(transfers.len(), 1);
    let shown = &transfers[0];
    assert_eq!(shown.received_bytes, 2 * CHUNK as u64);
    assert_eq!(shown.total_bytes, Some(room / 2));
    assert_eq!(shown.version.as_ref().unwrap().as_str(), "2.0");
    assert_eq!((&shown.source, shown.package.is_some()), (&source, true));
    // What is announced is taken into account before it is there (others use this disk too).
    assert!(store.room_bytes().unwrap() < room / 4 * 3);
    staging.abort_blocking();
    assert!(store.transfers().is_empty());
}

/// What happens to the files of a partial.
#[derive(Clone, Debug)]
enum Spoil {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index),
    Zero(prop::sample::Index),
    Append(Vec<u8>),
}

impl Spoil {
    fn apply(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Flip(at) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= 0x10;
            }
            // What a file's end looks like whose blocks were never written.
            Self::Zero(at) => {
                let at = at.index(bytes.len() + 1);
                bytes[at..].fill(0);
            }
            Self::Append(more) => bytes.extend_from_slice(more),
            Self::Flip(_) => {}
        }
        fs::write(path, bytes).unwrap();
    }
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Spoil::Cut),
        any::<prop::sample::Index>().prop_map(Spoil::Flip),
        any::<prop::sample::Index>().prop_map(Spoil::Zero),
        prop::collection::vec(any::<u8>(), 1..100).prop_map(Spoil::Append),
    ]
}

#[test]
fn a_partial_torn_in_any_way_resumes_to_the_same_package() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = package(dir.path());
    let clean = stage(&Store::open(dir.path().join("clean")).unwrap(), &bytes).unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let mut config = ProptestConfig::with_cases(24);
    config.rng_seed = RngSeed::Fixed(3);
    config.failure_persistence = None;
    let torn = (
        0..=bytes.len(),
        prop::collection::vec(
            (prop::sample::select(&["archive.tgz", "chunks"]), spoil()),
            0..3,
        ),
    );
    proptest!(config, |((cut, spoils) in torn)| {
        receive(&store, &bytes.slice(..cut)).suspend_blocking().unwrap();
        for (file, spoil) in &spoils {
            spoil.apply(&partial_dir(&store).join(file));
        }
        let (stored, offset) = resume(&store, &bytes);
        prop_assert!(offset <= cut as u64);
        prop_assert!(!spoils.is_empty() || offset == cut as u64);
        prop_assert_eq!(&stored, &clean);
        prop_assert_eq!(on_disk(store.dir()), [clean.manifest_digest.to_string()]);
        store.delete(clean.manifest_digest).unwrap();
    });
}
