//! The firmware that a software package brings: looked at when it is built, as nodes will when they take it out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use evenkeel_model::{DeviceModel, FirmwareKind, error_chain};
use evenkeel_package_store::{
    BuildError, BuildOptions, Built, FirmwareError, SecretKey, StageError, Store, VerifyError,
    build, verify_firmware,
};

use crate::common::*;
use crate::firmware::*;

type File = (&'static str, Vec<u8>);

/// A package of these files, each of which it names as firmware.
fn build_with(dir: &Path, files: &[File]) -> (Result<Built, BuildError>, PathBuf) {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("fw")).unwrap();
    for (name, content) in files {
        fs::write(tree.join(name), content).unwrap();
    }
    let brings = BuildOptions {
        firmware: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
        ..options("2.0")
    };
    let output = dir.join("2.0.tgz");
    (build(&tree, &key(), brings, &output), output)
}

/// Why these files are not taken; nothing is left of the package.
fn refused(files: &[File]) -> BuildError {
    let dir = tempfile::tempdir().unwrap();
    let (built, _) = build_with(dir.path(), files);
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 1, "the tree alone");
    built.unwrap_err()
}

/// Two images of disks, changed after they were signed.
fn good_but(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut files = good();
    change(&mut files);
    zip(&files)
}

fn dqp() -> Vec<u8> {
    let images = vec![("qual_devices_v3".to_owned(), qualification("drive X -\n"))];
    zip(&sign(&manifest_of(&images), &key(), images))
}

#[test]
fn what_a_package_brings_is_what_a_node_takes_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("fw/disks.tgz", tgz(&good())), ("fw/dqp.zip", dqp())];
    let (built, output) = build_with(dir.path(), &files);
    let built = built.unwrap();
    let kinds: Vec<_> = built.firmware.iter().map(|it| it.manifest.kind).collect();
    assert_eq!(kinds, [FirmwareKind::Disk, FirmwareKind::Qualification]);
    let store = Store::open(dir.path().join("store")).unwrap();
    stage(&store, &fs::read(output).unwrap()).unwrap();
    let (out, cancel) = (dir.path().join("out"), AtomicBool::new(false));
    let digest = built.manifest_digest;
    let unpacked = store.unpack_firmware(digest, &out, &policy(), &cancel);
    let unpacked = unpacked.unwrap();
    assert_eq!(unpacked, ["fw/disks.tgz", "fw/dqp.zip"]);
    for (path, brought) in unpacked.iter().zip(&built.firmware) {
        let bytes = fs::read(out.join(path)).unwrap();
        let taken = take_in(&store, &bytes, policy(), limits()).unwrap();
        assert_eq!(taken.firmware().digest, brought.digest, "{path}");
    }
}

#[test]
fn who_signed_firmware_is_for_the_cluster_to_judge() {
    let dir = tempfile::tempdir().unwrap();
    let (images, vendor) = (good().split_off(2), SecretKey::from_seed(&[9; 32]));
    let foreign = zip(&sign(&manifest_of(&images), &vendor, images));
    let (built, _) = build_with(dir.path(), &[("fw/disks.zip", foreign)]);
    let signed_by = built.unwrap().firmware[0].signed_by();
    assert_eq!(signed_by, Some(vendor.public().id()));
}

#[test]
fn firmware_that_no_node_would_take_is_refused_when_a_package_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let (_, package) = make_small_package(dir.path(), "1.0");
    let package = fs::read(package).unwrap();
    for (what, content, expected) in [
        ("an image", noise(5000, 3), "NotAnArchive"),
        ("an empty file", Vec::new(), "NotAnArchive"),
        ("a software package", package, "Path"),
        // As labs take it.
        ("unsigned images", zip(&good().split_off(2)), "NoManifest"),
        (
            "no signature",
            good_but(|it| drop(it.remove(1))),
            "Unsigned",
        ),
        (
            "no manifest",
            good_but(|it| drop(it.remove(0))),
            "SignatureAlone",
        ),
        (
            "a cut signature",
            good_but(|it| it[1].1.truncate(20)),
            "Signature",
        ),
        (
            "another manifest",
            good_but(|it| it[0].1.push(b' ')),
            "Signature",
        ),
        ("another image", good_but(|it| it[2].1[0] ^= 1), "Tampered"),
        ("a longer image", good_but(|it| it[2].1.push(0)), "SizeLie"),
        ("a missing image", good_but(|it| drop(it.pop())), "Missing"),
        (
            "an image too many",
            good_but(|it| it.push(("IOM12.0300.SFW".to_owned(), vec![1]))),
            "Unlisted",
        ),
    ] {
        let error = refused(&[("fw/dqp.zip", dqp()), ("fw/bad.zip", content)]);
        let BuildError::Firmware { path, source } = &error else {
            panic!("{what}: {error:?}");
        };
        assert_eq!(path, "fw/bad.zip", "{what}");
        assert!(
            format!("{source:?}").starts_with(expected),
            "{what}: {source:?}"
        );
        assert!(error.advice().is_some(), "{what}");
    }
}

#[test]
fn no_two_of_a_package_are_for_the_same_devices() {
    let one = good().split_off(3);
    let again = zip(&sign(&manifest_of(&one), &key(), one));
    let error = refused(&[
        ("fw/disks.zip", zip(&good())),
        ("fw/dqp.zip", dqp()),
        ("fw/again.zip", again),
    ]);
    assert_eq!(
        error.to_string(),
        "\"fw/disks.zip\" and \"fw/again.zip\" in the tree both bring disk firmware for model X439_PHM21T6MCTO"
    );
    let error = refused(&[("fw/a.zip", dqp()), ("fw/b.zip", dqp())]);
    let BuildError::FirmwareTwice { kind, model, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*kind, FirmwareKind::Qualification);
    assert_eq!(*model, None::<DeviceModel>);
    let text = error.to_string();
    assert!(
        text.ends_with("both bring a disk qualification package"),
        "{text}"
    );
}

#[test]
fn a_bare_image_is_told_how_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (image, bytes) = (dir.path().join("IOM12.0300.SFW"), b"a shelf's firmware");
    fs::write(&image, bytes).unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let taken_in = refusal(take_in(&store, bytes, policy(), limits()));
    let verified = verify_firmware(&image, &policy()).unwrap_err();
    for error in [&taken_in, &verified] {
        assert!(matches!(error, FirmwareError::NotAnArchive), "{error:?}");
        check_told(&error_chain(error), error.advice());
    }
    // What is no archive is taken for a software package where both may come.
    match stage(&store, bytes).unwrap_err() {
        StageError::Refused(error @ VerifyError::NotGzip) => {
            check_told(&error_chain(&error), error.advice());
        }
        error => panic!("{error:?}"),
    }
    let error = refused(&[("fw/IOM12.0300.SFW", bytes.to_vec())]);
    check_told(&error_chain(&error), error.advice().unwrap());
    assert!(error.to_string().contains("\"fw/IOM12.0300.SFW\""));
    assert!(all_on_disk(&store).is_empty());
}

fn check_told(text: &str, advice: &str) {
    assert!(
        text.contains("this is no archive: it is neither a "),
        "{text}"
    );
    let what_to_do = "has to be put in a signed package with `evenkeel firmware build`";
    assert!(advice.ends_with(what_to_do), "{advice}");
}
