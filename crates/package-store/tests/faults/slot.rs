//! The power goes while a package is extracted into a slot that holds an older one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use evenkeel_model::Digest;
use evenkeel_package_store::{ExtractRequest, extract_archive, read_slot_manifest};

use crate::common::*;
use crate::disk::{Disk, Power, scratch};
use crate::reexec::{in_namespace, is_child};
use crate::steps;

/// A package and what a slot holds that is filled with it.
struct Image {
    digest: Digest,
    archive: PathBuf,
    tree: BTreeMap<String, String>,
}

impl Image {
    fn make(dir: &Path, version: &str, files: u64) -> Self {
        fs::create_dir_all(dir.join("tree/deep")).unwrap();
        for at in 0..files {
            let path = dir.join(format!("tree/deep/file-{at}"));
            fs::write(path, noise(20_000, files + at)).unwrap();
        }
        let (built, archive) = make_package(dir, version);
        Self {
            digest: built.manifest_digest,
            archive,
            tree: snapshot(&dir.join("tree")),
        }
    }

    fn extract(&self, slot: &Path) -> bool {
        let policy = policy();
        let request = ExtractRequest {
            slot_dir: slot,
            running: None,
            expected: Some(self.digest),
            policy: &policy,
        };
        let archive = fs::File::open(&self.archive).unwrap();
        let mut tick = |_| {
            // The fault is the power cut; the extraction itself notices it or not.
            let _ = steps::step("progress", slot);
        };
        extract_archive(archive, request, &mut tick, &AtomicBool::new(false)).is_ok()
    }
}

#[test]
fn without_power_a_slot_with_a_manifest_is_whole() {
    if !is_child() {
        return in_namespace("slot::without_power_a_slot_with_a_manifest_is_whole");
    }
    let dir = scratch();
    let old = Image::make(&dir.path().join("old"), "1.0", 3);
    let new = Image::make(&dir.path().join("new"), "2.0", 4);
    let disk = Disk::new(dir.path(), 24);
    let power = Arc::new(Mutex::new(Power::new()));
    let (mut step, mut empty, mut kept) = (1, 0, 0);
    loop {
        let slot = disk.path().join(format!("slot-{step}"));
        assert!(old.extract(&slot));
        let (mount, switch) = (disk.path().to_owned(), power.clone());
        steps::arm(step, move || {
            switch.lock().unwrap().cut(&mount);
            Ok(())
        });
        let done = new.extract(&slot);
        let steps = steps::disarm();
        disk.unmount();
        disk.mount();
        match read_slot_manifest(&slot).unwrap() {
            None => {
                assert!(!done, "step {step}: reported, but not there");
                empty += 1;
            }
            Some((digest, _)) if digest == new.digest => assert_eq!(snapshot(&slot), new.tree),
            Some((digest, _)) => {
                assert!(digest == old.digest && !done);
                assert_eq!(snapshot(&slot), old.tree, "step {step}");
                kept += 1;
            }
        }
        assert!(new.extract(&slot), "step {step}: not again");
        assert_eq!(snapshot(&slot), new.tree);
        fs::remove_dir_all(&slot).unwrap();
        if steps < step {
            assert!(done);
            break;
        }
        step += 1;
    }
    assert!(
        empty > 10 && kept > 0,
        "{empty} were empty, {kept} held the old one"
    );
    disk.unmount();
}
