//! Archives for others, also those that are still coming in.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use evenkeel_package_store::{
    ArchiveReader, CHUNK_BYTES, StageLimits, Staging, Store, StoreError, verify_archive,
};

use crate::common::*;

const CHUNK: usize = CHUNK_BYTES as usize;

struct Pull {
    store: Store,
    bytes: Bytes,
    package: evenkeel_model::Digest,
    archive: evenkeel_model::Digest,
}

impl Pull {
    fn new(dir: &Path) -> Self {
        let (built, path) = make_package(dir, "2.0");
        verify_archive(&path, &policy()).unwrap();
        let bytes = Bytes::from(fs::read(path).unwrap());
        Self {
            store: Store::open(dir.join("store")).unwrap(),
            package: built.manifest_digest,
            archive: archive_digest(&bytes),
            bytes,
        }
    }

    fn limits(&self) -> StageLimits {
        StageLimits {
            expected_bytes: Some(self.bytes.len() as u64),
            expected_package: Some(self.package),
            expected_archive: Some(self.archive),
            keep_partial: true,
            reserve_bytes: 0,
            ..StageLimits::default()
        }
    }

    fn begin(&self) -> Staging {
        self.store.begin("pull", policy(), self.limits()).unwrap()
    }

    fn follow(&self, offset: usize) -> ArchiveReader {
        let reader = self
            .store
            .follow(self.package, Some(self.archive), offset as u64);
        let reader = reader.unwrap();
        assert_eq!(reader.total_bytes, self.bytes.len() as u64);
        reader
    }
}

/// Reads so many bytes.
async fn read(reader: &mut ArchiveReader, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        all.extend_from_slice(&reader.next().await.unwrap().expect("there is more"));
    }
    all
}

#[tokio::test]
async fn an_archive_is_served_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let pull = Pull::new(dir.path());
    let mut staging = pull.begin();
    let (mut first, mut second) = (pull.follow(0), pull.follow(CHUNK + 7));
    staging.write(pull.bytes.slice(..CHUNK + 9)).await.unwrap();
    assert_eq!(read(&mut first, CHUNK).await, pull.bytes[..CHUNK]);
    // Only whole chunks are given: nobody can check less.
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), first.next());
    assert!(waiting.await.is_err(), "half a chunk was given");
    // A resumption serves what it has found to hold.
    staging.suspend().await.unwrap();
    assert!(first.next().await.is_err(), "the staging has ended");
    let (store, limits) = (pull.store.clone(), pull.limits());
    let resumed = tokio::task::spawn_blocking(move || store.resume("pull", policy(), limits));
    let (mut staging, offset) = resumed.await.unwrap().unwrap();
    assert_eq!(offset, CHUNK as u64 + 9);
    let mut first = pull.follow(0);
    assert_eq!(read(&mut first, CHUNK).await, pull.bytes[..CHUNK]);
    staging.write(pull.bytes.slice(CHUNK + 9..)).await.unwrap();
    let stored = staging.finish().await.unwrap();
    assert_eq!(stored.archive_digest, pull.archive);
    let rest = pull.bytes.len() - CHUNK;
    assert_eq!(read(&mut first, rest).await, pull.bytes[CHUNK..]);
    assert!(first.next().await.unwrap().is_none());
    assert!(
        second.next().await.is_err(),
        "it followed the staging that was suspended"
    );
    let mut late = pull.follow(CHUNK + 7);
    assert_eq!(read(&mut late, rest - 7).await, pull.bytes[CHUNK + 7..]);
    assert!(late.next().await.unwrap().is_none());
}

#[tokio::test]
async fn followers_of_a_staging_that_fails_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let pull = Pull::new(dir.path());
    let mut staging = pull.begin();
    let mut reader = pull.follow(0);
    staging.write(pull.bytes.slice(..CHUNK)).await.unwrap();
    read(&mut reader, CHUNK).await;
    staging.abort().await;
    assert!(reader.next().await.is_err());
    let gone = pull.store.follow(pull.package, None, 0).unwrap_err();
    assert!(matches!(gone, StoreError::NotThere { .. }));
}

#[tokio::test]
async fn only_what_is_known_beforehand_is_served_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let pull = Pull::new(dir.path());
    let staging = pull.begin();
    let other = digest(b"another archive");
    let refused = pull.store.follow(pull.package, Some(other), 0).unwrap_err();
    assert!(matches!(refused, StoreError::NotThere { .. }));
    let beyond = pull.store.follow(pull.package, None, u64::MAX).unwrap_err();
    assert!(matches!(beyond, StoreError::OffsetBehindEnd { .. }));
    staging.abort().await;
    let unknown = StageLimits {
        expected_archive: None,
        ..pull.limits()
    };
    let staging = pull.store.begin("upload", policy(), unknown).unwrap();
    let refused = pull.store.follow(pull.package, None, 0).unwrap_err();
    assert!(matches!(refused, StoreError::NotThere { .. }));
    staging.abort().await;
    let (store, bytes) = (pull.store.clone(), pull.bytes.clone());
    let staged = tokio::task::spawn_blocking(move || stage(&store, &bytes));
    staged.await.unwrap().unwrap();
    let refused = pull.store.follow(pull.package, Some(other), 0).unwrap_err();
    assert!(matches!(refused, StoreError::OtherArchive { .. }));
}
