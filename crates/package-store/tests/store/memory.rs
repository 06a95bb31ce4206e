//! Memory does not grow with the package, whatever its members say about their sizes. Each case is a process
//! of its own: the kernel remembers a process's peak.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use evenkeel_package_store::{ExtractRequest, build, extract_archive, verify_archive};

use crate::common::{key, options, policy};

const CHILD: &str = "EVENKEEL_TEST_MEMORY";
/// Far below the content, far above what a test program takes by itself.
const MOST_BYTES: u64 = 64 << 20;
const CONTENT_BYTES: u64 = 128 << 20;
/// Where a member says its size: after ten bytes of header, two of length and four of the field's name.
const HINT: usize = 16;

/// What is measured; by itself it does nothing.
#[test]
fn child_reads_a_package() {
    let Some(archive) = std::env::var_os(CHILD) else {
        return;
    };
    let archive = Path::new(&archive);
    let slot_dir = &archive.with_extension("slot");
    verify_archive(archive, &policy()).unwrap();
    let policy = policy();
    let request = ExtractRequest {
        slot_dir,
        running: None,
        expected: None,
        policy: &policy,
    };
    let archive = File::open(archive).unwrap();
    extract_archive(archive, request, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib << 10 < MOST_BYTES, "{kib} KiB");
}

fn read_in_child(archive: &Path) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child_reads_a_package"])
        .env(CHILD, archive)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{}: {said}", archive.display());
}

/// From its second member on, each says that it is as big as a member may be.
fn lie(mut archive: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at < archive.len() {
        let hint: [u8; 4] = archive[at + HINT..at + HINT + 4].try_into().unwrap();
        if at > 0 {
            archive[at + HINT..at + HINT + 4].copy_from_slice(&(1_100_000u32).to_le_bytes());
        }
        at += u32::from_le_bytes(hint) as usize;
    }
    archive
}

#[test]
fn memory_does_not_grow_with_a_package_nor_with_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    // A hole: it packs to nothing, so each member is a small bomb.
    File::create(tree.join("big"))
        .unwrap()
        .set_len(CONTENT_BYTES)
        .unwrap();
    let honest = dir.path().join("honest.tgz");
    build(&tree, &key(), options("1"), &honest).unwrap();
    let lying = dir.path().join("lying.tgz");
    fs::write(&lying, lie(fs::read(&honest).unwrap())).unwrap();
    read_in_child(&honest);
    read_in_child(&lying);
}
