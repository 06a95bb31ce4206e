//! `evenkeel firmware` as it is typed: what it prints, what it leaves, how it exits.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

fn evenkeel(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.current_dir(dir).args(args.split(' '));
    command.output().unwrap()
}

/// What goes to standard output, and to standard error.
fn ok(dir: &Path, args: &str) -> (String, String) {
    let done = evenkeel(dir, args);
    let errors = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{args}: {errors}");
    (String::from_utf8(done.stdout).unwrap(), errors)
}

/// The one sentence of a failure.
fn fails(dir: &Path, args: &str) -> String {
    let done = evenkeel(dir, args);
    assert_eq!(done.status.code(), Some(1), "{args}");
    assert!(done.stdout.is_empty(), "{args}");
    let text = String::from_utf8(done.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("evenkeel: "), "{text}");
    text
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

const DISK: &str = "X423_SLTNG1T8SSX.NA06.LOD";

fn bench() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(DISK), "a disk's firmware").unwrap();
    ok(dir.path(), "package keygen --out K");
    ok(dir.path(), "package keygen --out OTHER");
    dir
}

#[test]
fn from_an_image_to_a_proven_package() {
    let bench = bench();
    let dir = bench.path();
    let (built, told) = ok(dir, &format!("firmware build {DISK} --key K -o F.zip"));
    let digest = built.split(' ').next().unwrap();
    assert_eq!(built, format!("{digest} F.zip\n"));
    assert!(
        told.starts_with("disk firmware X423_SLTNG1T8SSX NA06: 1 image, "),
        "{told}"
    );
    let (proven, told) = ok(dir, "firmware verify F.zip --trust OTHER.pub --trust K.pub");
    assert_eq!(proven, built);
    assert!(told.contains("is whole: 1 image, signed by key "), "{told}");
    let shown = json(&ok(dir, "firmware inspect F.zip --json").0);
    assert_eq!(shown["digest"], digest);
    assert_eq!(shown["manifest"]["kind"], "disk");
    assert_eq!(shown["manifest"]["images"][0]["revision"], "NA06");
    assert_eq!(shown["signature_checked"], false);
    let proven = json(&ok(dir, "firmware verify F.zip --trust K.pub --json").0);
    assert_eq!(proven["signed_by"], shown["signed_by"]);
    let untrusted = fails(dir, "firmware verify F.zip --trust OTHER.pub");
    assert!(
        untrusted.contains("F.zip: the firmware is not trusted: it is signed by key "),
        "{untrusted}"
    );
    let package = fails(dir, "package verify F.zip --trust K.pub");
    assert!(package.contains("zip"), "{package}");
}

#[test]
fn a_qualification_package_is_shown_with_its_records() {
    let bench = bench();
    let dir = bench.path();
    let text = "evenkeel-qualification 1\nversion 3.18\nrevision 20260131\n\
                drive X423_SLTNG1T8SSX NA03\nalias Y X423_SLTNG1T8SSX\nsystem lab-x86_64\n";
    let digest: String = Sha256::digest(text)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let whole = format!("{text}checksum sha256 {digest}\n");
    fs::write(dir.join("qual_devices_v3"), &whole).unwrap();
    ok(
        dir,
        "firmware build qual_devices_v3 --key K -o Q.zip --kind dqp",
    );
    let (shown, _) = ok(dir, "firmware inspect Q.zip");
    for line in [
        "        Kind: disk qualification package\n",
        "     Version: 3.18\n",
        "    Revision: 20260131\n",
        "     Records: 1 drive, 1 alias, 0 device, 1 system\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let shown = json(&ok(dir, "firmware inspect Q.zip --json").0);
    assert_eq!(shown["qualification"]["record_count"]["alias"], 1);
    fs::write(dir.join("qual_devices_v3"), whole.replace("NA03", "NA02")).unwrap();
    let refused = fails(dir, "firmware build qual_devices_v3 --key K -o Q.zip");
    assert!(
        refused
            .contains("line 7: the checksum does not match the lines before it; correct that line"),
        "{refused}"
    );
}

#[test]
fn what_is_missing_or_mixed_is_said_with_what_to_do() {
    let bench = bench();
    let dir = bench.path();
    fs::write(dir.join("IOM12.0300.SFW"), "a shelf's firmware").unwrap();
    fs::write(dir.join("notes.txt"), "text").unwrap();
    ok(
        dir,
        &format!("firmware build {DISK} --key K -o X_SP_FW.zip"),
    );
    let build = |files: &str| fails(dir, &format!("firmware build {files} --key K -o F.zip"));
    let mixed = build(&format!("{DISK} IOM12.0300.SFW"));
    assert!(
        mixed.contains("IOM12.0300.SFW is shelf firmware, not disk firmware; "),
        "{mixed}"
    );
    let unsaid = build("X_SP_FW.zip");
    assert!(
        unsaid.contains("for which model") && unsaid.contains("--model"),
        "{unsaid}"
    );
    assert!(build("notes.txt").contains("MODEL.REVISION.LOD"));
    assert!(build("absent.LOD").contains("cannot read absent.LOD"));
    assert!(!dir.join("F.zip").exists());
    ok(
        dir,
        "firmware build X_SP_FW.zip --model SP5 --revision 5.8P1 --key K -o F.zip",
    );
    let shown = json(&ok(dir, "firmware inspect F.zip --json").0);
    assert_eq!(shown["manifest"]["images"][0]["model"], "SP5");
}
