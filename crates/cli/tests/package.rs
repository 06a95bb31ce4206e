//! `evenkeel package` as it is typed: what it prints, what it leaves, how it exits.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn evenkeel(dir: &Path, args: &str) -> Output {
    any(dir, &format!("package {args}"))
}

/// Of commands of all sorts.
fn any(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command
        .current_dir(dir)
        .args(args.split(' '))
        .env("RUST_BACKTRACE", "1");
    command.output().unwrap()
}

fn ok(dir: &Path, args: &str) -> String {
    let done = evenkeel(dir, args);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{args}: {errors}");
    String::from_utf8(done.stdout).unwrap()
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

fn lab() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/bin")).unwrap();
    fs::write(dir.path().join("tree/bin/evenkeeld"), "a daemon").unwrap();
    ok(dir.path(), "keygen --out K");
    dir
}

#[test]
fn from_key_to_extracted_tree() {
    let lab = lab();
    let dir = lab.path();
    let built = ok(
        dir,
        "build --version 2.0 --root tree --key K -o F.tgz --source-version 1.0 --manual-step Look",
    );
    let digest = built.split(' ').next().unwrap().to_owned();
    let shown: serde_json::Value = serde_json::from_str(&ok(dir, "inspect F.tgz --json")).unwrap();
    assert_eq!(shown["digest"], digest.as_str());
    let proven = ok(dir, "verify F.tgz --trust K.pub --json");
    let proven: serde_json::Value = serde_json::from_str(&proven).unwrap();
    assert_eq!(proven["digest"], digest.as_str());
    assert_eq!(shown["manifest"]["version"], "2.0");
    assert_eq!(
        shown["manifest"]["source_versions"],
        serde_json::json!(["1.0"])
    );
    assert_eq!(
        shown["manifest"]["manual_steps"],
        serde_json::json!(["Look"])
    );
    assert!(ok(dir, "inspect F.tgz").contains("Update from: 1.0"));
    assert_eq!(
        ok(dir, "verify F.tgz --trust K.pub"),
        format!("{digest} F.tgz\n")
    );
    for _ in 0..2 {
        assert_eq!(
            ok(dir, "extract F.tgz -C out --trust K.pub"),
            format!("{digest} out\n")
        );
    }
    assert_eq!(
        fs::read_to_string(dir.join("out/bin/evenkeeld")).unwrap(),
        "a daemon"
    );
}

#[test]
fn failures_say_what_where_and_what_to_do() {
    let lab = lab();
    let dir = lab.path();
    ok(dir, "build --version 2.0 --root tree --key K -o F.tgz");
    ok(dir, "keygen --out L");
    let text = fails(dir, "verify F.tgz --trust L.pub");
    assert!(
        text.contains("F.tgz") && text.contains("trust their public key"),
        "{text}"
    );
    let bytes = fs::read(dir.join("F.tgz")).unwrap();
    fs::write(dir.join("cut.tgz"), &bytes[..bytes.len() - 9]).unwrap();
    assert!(fails(dir, "verify cut.tgz --trust K.pub").contains("truncated"));
    assert!(fails(dir, "extract cut.tgz -C new --trust K.pub").contains("truncated"));
    assert!(fails(dir, "verify K --trust K.pub").contains("neither a gzip nor a zip file"));
    assert!(fails(dir, "verify absent --trust K.pub").contains("No such file"));
    assert!(fails(dir, "verify F.tgz --trust K").contains("not an ed25519 public key"));
    std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    let text = fails(dir, "build --version 2.0 --root tree --key K -o socket");
    assert!(
        text.contains("is not a file, and is left as it is"),
        "{text}"
    );
    assert!(fails(dir, "keygen --out K").contains("never overwritten"));
    assert!(fails(dir, "extract F.tgz -C tree --trust K.pub").contains("would remove them"));
    assert!(dir.join("tree/bin/evenkeeld").exists());
    std::os::unix::fs::symlink("/etc/passwd", dir.join("tree/out")).unwrap();
    let text = fails(dir, "build --version 2.0 --root tree --key K -o G.tgz");
    assert!(
        text.contains("\"out\"") && text.contains("outside the package"),
        "{text}"
    );
    assert!(!dir.join("G.tgz").exists() && !dir.join("G.tgz.partial").exists());
}

#[test]
fn firmware_that_a_package_brings_is_proven_and_named() {
    let lab = lab();
    let dir = lab.path();
    let image = "tree/fw/IOM12.0300.SFW";
    fs::create_dir(dir.join("tree/fw")).unwrap();
    fs::write(dir.join(image), "a shelf's firmware").unwrap();
    let build = "build --version 2.0 --root tree --key K -o F.tgz";
    let bare = fails(dir, &format!("{build} --firmware fw/IOM12.0300.SFW"));
    assert!(
        bare.contains("\"fw/IOM12.0300.SFW\" in the tree is no firmware package")
            && bare.contains("`evenkeel firmware build`"),
        "{bare}"
    );
    assert!(!dir.join("F.tgz").exists());
    let sign = format!("firmware build {image} --key K -o tree/fw/shelf.zip");
    assert_eq!(any(dir, &sign).status.code(), Some(0));
    let build = format!("{build} --firmware fw/shelf.zip");
    let told = String::from_utf8(evenkeel(dir, &build).stderr).unwrap();
    assert!(
        told.starts_with(
            "brings fw/shelf.zip: shelf firmware IOM12 0300, signed by the same key\n"
        ),
        "{told}"
    );
    let twice = fails(dir, &format!("{build} --firmware fw/shelf.zip"));
    assert!(
        twice.contains("for model IOM12; leave one of the two out"),
        "{twice}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&ok(dir, &format!("{build} --json"))).unwrap();
    assert_eq!(json["firmware"][0]["path"], "fw/shelf.zip");
    assert_eq!(json["firmware"][0]["signed_by"], json["signed_by"]);
    // Of another key the cluster must know too.
    ok(dir, "keygen --out L");
    let told = evenkeel(dir, &build.replace("--key K", "--key L")).stderr;
    let told = String::from_utf8(told).unwrap();
    assert!(
        told.contains(", which the cluster must trust too\n"),
        "{told}"
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let lab = lab();
    for args in [
        "verify F.tgz",
        "build --version 2.0",
        "build --version a/b --root tree",
        "nothing",
    ] {
        assert_eq!(evenkeel(lab.path(), args).status.code(), Some(2), "{args}");
    }
}

#[test]
fn a_zip_file_is_listed_or_its_fault_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // A zip of one stored file `a` with the content `b`.
    let crc = [0xf9, 0xef, 0xbe, 0x71];
    let fields = [
        &[0, 0, 0, 0, 0, 0, 0, 0][..],
        &crc,
        &[1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
    ]
    .concat();
    let entry = [&b"PK\x03\x04\x14\0"[..], &fields, b"ab"].concat();
    let listed = [&b"PK\x01\x02\x14\0\x14\0"[..], &fields, &[0; 14], b"a"].concat();
    let mut zip = [&entry[..], &listed, b"PK\x05\x06\0\0\0\0\x01\0\x01\0"].concat();
    zip.extend((listed.len() as u32).to_le_bytes());
    zip.extend((entry.len() as u32).to_le_bytes());
    zip.extend([0; 2]);
    fs::write(dir.join("F.zip"), &zip).unwrap();
    assert_eq!(ok(dir, "inspect F.zip"), "           1 a\n");
    let shown = ok(dir, "inspect F.zip --json");
    assert!(
        shown.contains(r#""path": "a""#) || shown.contains(r#""path":"a""#),
        "{shown}"
    );
    zip[31] = b'c';
    fs::write(dir.join("F.zip"), &zip).unwrap();
    assert!(
        fails(dir, "inspect F.zip").contains("the content of \"a\" in the zip file is damaged")
    );
    zip.push(0);
    fs::write(dir.join("F.zip"), &zip).unwrap();
    assert!(fails(dir, "inspect F.zip").contains("does not end as one"));
}
