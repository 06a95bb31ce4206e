//! The ordinary way: built, staged, kept, served, extracted, deleted.

use std::fs;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use crate::common::*;
use evenkeel_package_store::{
    BuildOptions, Compression, Deleted, ExtractRequest, StageLimits, Store, build,
    read_slot_manifest, verify_archive,
};

#[test]
fn a_package_goes_all_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (built, path) = make_package(dir.path(), "2.0");
    assert_eq!(
        verify_archive(&path, &policy()).unwrap().digest,
        built.manifest_digest
    );
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, built.archive_bytes);

    let store = Store::open(dir.path().join("store")).unwrap();
    let stored = stage(&store, &bytes).unwrap();
    assert_eq!(stored.manifest_digest, built.manifest_digest);
    assert_eq!(stored.archive_digest, archive_digest(&bytes));
    assert_eq!(stored.summary, built.manifest.summary());
    assert_eq!(
        store.find_version(&built.manifest.version),
        Some(stored.clone())
    );
    assert_eq!(
        store.manifest(stored.manifest_digest).unwrap().manifest,
        built.manifest
    );

    let mut archive = store.open_archive(stored.manifest_digest, 1000).unwrap();
    let mut rest = Vec::new();
    archive.file.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, bytes[1000..]);

    let slot = dir.path().join("slot-b");
    let (policy, cancel) = (policy(), AtomicBool::new(false));
    let request = ExtractRequest {
        slot_dir: &slot,
        running: None,
        expected: None,
        policy: &policy,
    };
    let mut last = None;
    for _ in 0..2 {
        store
            .extract(
                stored.manifest_digest,
                request,
                &mut |p| last = Some(p),
                &cancel,
            )
            .unwrap();
        assert_eq!(snapshot(&slot), snapshot(&dir.path().join("tree")));
        let (found, manifest) = read_slot_manifest(&slot).unwrap().unwrap();
        assert_eq!((found, &manifest), (built.manifest_digest, &built.manifest));
    }
    let last = last.unwrap();
    assert_eq!(last.done_bytes, built.manifest.unpacked_bytes);
    assert_eq!(last.done_entries, last.total_entries);

    drop(store);
    let store = Store::open(dir.path().join("store")).unwrap();
    assert_eq!(store.list(), std::slice::from_ref(&stored));
    assert_eq!(
        store.delete(stored.manifest_digest).unwrap(),
        Deleted::Removed
    );
    assert_eq!(
        store.delete(stored.manifest_digest).unwrap(),
        Deleted::WasNotThere
    );
    assert!(on_disk(store.dir()).is_empty());
}

#[test]
fn gnu_tar_opens_a_package_and_gives_the_same_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (built, path) = make_package(dir.path(), "2.0");
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let tar = Command::new("tar")
        .arg("-xpzf")
        .arg(&path)
        .arg("-C")
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        tar.status.success(),
        "{}",
        String::from_utf8_lossy(&tar.stderr)
    );
    assert!(
        tar.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&tar.stderr)
    );
    assert_eq!(snapshot(&out), snapshot(&dir.path().join("tree")));
    let (digest, _) = read_slot_manifest(&out).unwrap().unwrap();
    assert_eq!(digest, built.manifest_digest);
}

#[test]
fn what_other_tools_repack_is_the_same_package() {
    let dir = tempfile::tempdir().unwrap();
    let (built, path) = make_package(dir.path(), "2.0");
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let list = dir.path().join("list");
    let names: Vec<_> = [".evenkeel/manifest.json", ".evenkeel/manifest.sig"]
        .into_iter()
        .chain(built.manifest.entries.iter().map(|e| e.path.as_str()))
        .collect();
    fs::write(&list, names.join("\n")).unwrap();
    let run = |command: &str| {
        let done = Command::new("sh")
            .arg("-ec")
            .arg(command)
            .current_dir(&out)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    run(&format!("tar -xpzf {}", path.display()));
    for format in ["gnu", "pax"] {
        let again = dir.path().join(format!("{format}.tgz"));
        run(&format!(
            "tar --no-recursion --verbatim-files-from --no-unquote --format={format} -czf {} -T {}",
            again.display(),
            list.display()
        ));
        let digest = verify_archive(&again, &policy()).unwrap().digest;
        assert_eq!(digest, built.manifest_digest, "{format}");
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, first) = make_package(dir.path(), "2.0");
    let first = fs::read(first).unwrap();
    let other = tempfile::tempdir().unwrap();
    let (_, second) = make_package(other.path(), "2.0");
    assert!(first == fs::read(second).unwrap());
    let (_, later) = make_package(dir.path(), "2.1");
    assert!(first != fs::read(later).unwrap());
}

#[test]
fn chunks_may_be_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let (built, path) = make_small_package(dir.path(), "2.0");
    let bytes = fs::read(&path).unwrap();
    let limits = StageLimits {
        reserve_bytes: 0,
        ..Default::default()
    };
    for chunk in [1, 2, 3, 511, bytes.len()] {
        let store = Store::open(dir.path().join(format!("store-{chunk}"))).unwrap();
        let stored = stage_with(&store, &bytes, chunk, policy(), limits.clone()).unwrap();
        assert_eq!(stored.manifest_digest, built.manifest_digest);
    }
}

#[test]
fn its_compression_changes_the_archives_size_and_not_the_package() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let lines: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
    fs::write(tree.join("text"), lines).unwrap();
    let levels = [1, 6, 9].map(|level| Compression::new(level).unwrap());
    let made = levels.map(|compression| {
        let options = BuildOptions {
            compression,
            ..options("2.0")
        };
        let path = dir.path().join("made.tgz");
        let built = build(&tree, &key(), options, &path).unwrap();
        let digest = verify_archive(&path, &policy()).unwrap().digest;
        assert_eq!(digest, built.manifest_digest);
        (digest, built.archive_bytes)
    });
    assert!(made.iter().all(|(digest, _)| *digest == made[0].0));
    assert!(
        made.is_sorted_by(|(_, one), (_, next)| one > next),
        "{made:?}"
    );
    assert_eq!((Compression::new(0), Compression::new(10)), (None, None));
}
