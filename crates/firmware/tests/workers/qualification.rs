//! The disk qualification package.

use evenkeel_firmware::{
    FirmwareError, QualificationFolder, QualificationMark, QualificationStore, renew_qualification,
};
use evenkeel_model::{Digest, How};

fn mark(revision: &str, digest: u8) -> QualificationMark {
    QualificationMark {
        revision: revision.parse().unwrap(),
        digest: Digest([digest; 32]),
        file: "qual_devices_v3".to_owned(),
    }
}

#[tokio::test]
async fn a_package_is_replaced_whole_and_never_by_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = QualificationFolder::new(dir.path().join("qualification"));
    assert_eq!(store.current().await, Ok(None));
    let (old, new) = (mark("20250101", 1), mark("20260131", 2));
    let how = renew_qualification(&store, &new, b"new").await;
    assert_eq!(how, Ok(How::Completed));
    for older in [&new, &old] {
        let how = renew_qualification(&store, older, b"?").await;
        assert_eq!(how, Ok(How::AlreadyDone));
        assert_eq!(store.current().await, Ok(Some(new.clone())));
    }
    let other = mark("20260131", 3);
    let error = renew_qualification(&store, &other, b"other").await;
    assert!(matches!(error, Err(FirmwareError::Qualification(_))));
    let newer = mark("20260301", 4);
    let how = renew_qualification(&store, &newer, b"newer").await;
    assert_eq!(how, Ok(How::Completed));
    assert_eq!(store.read().await, Ok(Some(b"newer".to_vec())));
}

#[tokio::test]
async fn a_mark_without_its_file_is_no_package() {
    let dir = tempfile::tempdir().unwrap();
    let store = QualificationFolder::new(dir.path());
    let first = mark("20250101", 1);
    renew_qualification(&store, &first, b"first").await.unwrap();
    std::fs::remove_file(dir.path().join(format!("qual_devices.{}", first.digest))).unwrap();
    assert_eq!(store.current().await, Ok(None));
    let how = renew_qualification(&store, &first, b"first").await;
    assert_eq!(how, Ok(How::Completed));
}
