//! The table of `docs/firmware.md`: what each hostile, damaged or merely odd firmware archive comes to. The
//! page's rows are those of this list, in this order.

use std::fs;
use std::io::Write;

use evenkeel_model::{
    FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE, FirmwareImage, FirmwareKind, FirmwareManifest,
    FirmwareRevision,
};
use evenkeel_package_store::{FirmwareStageError, Policy, SecretKey, Store, verify_firmware};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::*;
use crate::craft::{Piece, gzip};
use crate::firmware::*;
use crate::zips::{self, Part};

/// What comes of an archive.
enum Verdict {
    Accepted,
    /// By the error of this name.
    Refused(&'static str),
    /// By the error of this name, even where unsigned firmware is taken.
    RefusedUnsigned(&'static str),
}
use Verdict::{Accepted, Refused, RefusedUnsigned};

type Files = Vec<(String, Vec<u8>)>;

fn parts(files: &Files) -> Vec<Part> {
    files.iter().map(|(n, c)| Part::new(n, c)).collect()
}

fn zip_with(change: impl FnOnce(&mut Vec<Part>)) -> Vec<u8> {
    let mut parts = parts(&good());
    change(&mut parts);
    zips::pack(&parts)
}

fn tgz_with(change: impl FnOnce(&mut Vec<Piece>)) -> Vec<u8> {
    let piece = |(name, content): &(String, Vec<u8>)| Piece::file(name, content);
    let mut pieces = good().iter().map(piece).collect();
    change(&mut pieces);
    let mut tar: Vec<u8> = pieces.iter().flat_map(Piece::to_bytes).collect();
    tar.extend([0; 1024]);
    gzip(&tar)
}

/// The good files, changed after they were signed.
fn files_with(change: impl FnOnce(&mut Files)) -> Vec<u8> {
    let mut files = good();
    change(&mut files);
    zip(&files)
}

/// The good files under a manifest that was changed before it was signed.
fn signed_with(change: impl FnOnce(&mut FirmwareManifest)) -> Vec<u8> {
    let images = good().split_off(2);
    let mut manifest = manifest_of(&images);
    change(&mut manifest);
    zip(&sign(&manifest, &key(), images))
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 30);
    bytes
}

fn file(name: &str, content: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), content.to_vec())
}

/// One image of a kind, signed as what it is not.
fn of_kind(kind: FirmwareKind, name: &str, content: &[u8]) -> Vec<u8> {
    let image = FirmwareImage {
        file: name.to_owned(),
        size: content.len() as u64,
        sha256: digest(content),
        model: match kind {
            FirmwareKind::Qualification => None,
            _ => Some("SP5".parse().unwrap()),
        },
        revision: FirmwareRevision::new("20250101").unwrap(),
    };
    let manifest = FirmwareManifest {
        kind,
        images: vec![image],
        ..manifest_of(&good().split_off(2))
    };
    zip(&sign(&manifest, &key(), vec![file(name, content)]))
}

fn many() -> Files {
    (0..1001).map(|n| file(&format!("{n}.txt"), b"")).collect()
}

fn zeros() -> Files {
    vec![file(DISK, &vec![0; 20 << 20])]
}

fn bomb() -> Vec<u8> {
    let mut tar = Piece::file(DISK, &zeros()[0].1).to_bytes();
    tar.extend([0; 1024]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&tar).unwrap();
    encoder.finish().unwrap()
}

type Case = (&'static str, Verdict, fn() -> Vec<u8>);

const CASES: &[Case] = &[
    ("signed images, as a zip", Accepted, || zip(&good())),
    ("signed images, as a tgz", Accepted, || tgz(&good())),
    ("manifest and signature after the images", Accepted, || {
        files_with(|files| files.rotate_left(2))
    }),
    ("empty folders beside the images", Accepted, || {
        zip_with(|parts| parts.push(Part::new("d/", b"").stored()))
    }),
    ("an absolute path", Refused("Path"), || {
        files_with(|files| files[2].0 = format!("/{DISK}"))
    }),
    ("a path with `..`", Refused("Path"), || {
        tgz_with(|pieces| pieces.push(Piece::file("../x.NA01.LOD", b"x")))
    }),
    ("a path with a backslash, in a zip", Refused("Zip"), || {
        files_with(|files| files[2].0 = format!("d\\{DISK}"))
    }),
    (
        "an image in a folder, under a manifest",
        Refused("Unlisted"),
        || files_with(|files| files[2].0 = format!("d/{DISK}")),
    ),
    ("an image twice, in a zip", Refused("Duplicate"), || {
        files_with(|files| files.push(files[2].clone()))
    }),
    ("an image twice, in a tgz", Refused("Duplicate"), || {
        tgz_with(|pieces| pieces.push(pieces[2].clone()))
    }),
    ("a second manifest", Refused("Duplicate"), || {
        tgz_with(|pieces| pieces.push(pieces[0].clone()))
    }),
    ("a symlink, in a zip", Refused("Zip"), || {
        zip_with(|parts| parts[2].attributes = 0o120_777 << 16)
    }),
    ("a symlink, in a tgz", Refused("Link"), || {
        tgz_with(|pieces| pieces.push(Piece::link("x.NA01.LOD", "/etc/shadow")))
    }),
    ("a hard link", Refused("Link"), || {
        tgz_with(|pieces| {
            pieces.push(Piece {
                target: DISK.to_owned(),
                ..Piece::new("x.NA01.LOD", b'1')
            })
        })
    }),
    ("a device or a FIFO", Refused("Tgz"), || {
        tgz_with(|pieces| pieces.push(Piece::new("x.NA01.LOD", b'6')))
    }),
    (
        "a bomb, as a zip",
        RefusedUnsigned("Bomb"),
        || zip(&zeros()),
    ),
    ("a bomb, as a tgz", RefusedUnsigned("Bomb"), || bomb()),
    (
        "more than 1000 entries, in a zip",
        Refused("TooManyEntries"),
        || zip(&many()),
    ),
    (
        "more than 1000 entries, in a tgz",
        Refused("TooManyEntries"),
        || tgz(&many()),
    ),
    ("data between two entries", Refused("Zip"), || {
        zip_with(|parts| parts[2].gap = b"hidden".to_vec())
    }),
    ("data after the end of a zip", Refused("Zip"), || {
        [zip(&good()), b"more".to_vec()].concat()
    }),
    ("data after the end of a tgz", Refused("Tgz"), || {
        [tgz(&good()), b"more".to_vec()].concat()
    }),
    ("a zip that is cut short", Refused("Zip"), || {
        cut(zip(&good()))
    }),
    ("a tgz that is cut short", Refused("Tgz"), || {
        cut(tgz(&good()))
    }),
    (
        "another size than the zip's directory says",
        Refused("Zip"),
        || zip_with(|parts| parts[0].size -= 1),
    ),
    (
        "an image of another size in the zip's directory than in the manifest",
        Refused("SizeLie"),
        || zip_with(|parts| parts[3].size -= 1),
    ),
    ("an encrypted entry", Refused("Zip"), || {
        zip_with(|parts| parts[2].flags = 1)
    }),
    (
        "another size than the manifest lists",
        Refused("SizeLie"),
        || signed_with(|manifest| manifest.images[0].size += 1),
    ),
    (
        "other content than the manifest lists",
        Refused("Tampered"),
        || files_with(|files| files[2].1[77] ^= 1),
    ),
    (
        "a file that the manifest does not list",
        Refused("Unlisted"),
        || files_with(|files| files.push(file("README.txt", b"text"))),
    ),
    ("a listed file that is missing", Refused("Missing"), || {
        files_with(|files| drop(files.pop()))
    }),
    ("no manifest", Refused("NoManifest"), || {
        zip(&good().split_off(2))
    }),
    (
        "a manifest without a signature",
        Refused("Unsigned"),
        || files_with(|files| drop(files.remove(1))),
    ),
    (
        "a signature without a manifest",
        Refused("SignatureAlone"),
        || files_with(|files| drop(files.remove(0))),
    ),
    (
        "a signature that is malformed or wrong",
        Refused("Signature"),
        || files_with(|files| files[0].1.push(b' ')),
    ),
    (
        "a signature by an unknown key",
        Refused("Signature"),
        || {
            let images = good().split_off(2);
            let other = SecretKey::from_seed(&[2; 32]);
            zip(&sign(&manifest_of(&images), &other, images))
        },
    ),
    ("a manifest over 1 MiB", Refused("ManifestTooLarge"), || {
        files_with(|files| files[0].1.resize((1 << 20) + 1, b' '))
    }),
    ("a manifest of another format", Refused("Manifest"), || {
        signed_with(|manifest| manifest.format = 2)
    }),
    ("two images for one model", Refused("Manifest"), || {
        signed_with(|manifest| manifest.images[1].model = manifest.images[0].model.clone())
    }),
    (
        "images of two kinds under a manifest",
        Refused("Manifest"),
        || signed_with(|manifest| manifest.images[1].file = "IOM12.0300.SFW".to_owned()),
    ),
    (
        "a name that contradicts the manifest",
        Refused("Manifest"),
        || signed_with(|manifest| manifest.images[1].revision = "NA11".parse().unwrap()),
    ),
    (
        "a qualification package with a fault",
        Refused("Qualification"),
        || {
            let text = qualification("drive X\n");
            of_kind(FirmwareKind::Qualification, "qual_devices", &text)
        },
    ),
    (
        "a qualification package of another revision than listed",
        Refused("QualificationDiffers"),
        || {
            let text = qualification("drive X -\n");
            of_kind(FirmwareKind::Qualification, "qual_devices", &text)
        },
    ),
    ("an SP image that is no zip", Refused("NotAZip"), || {
        of_kind(FirmwareKind::ServiceProcessor, "X_SP_FW.zip", b"text")
    }),
    (
        "images of two kinds without a manifest",
        RefusedUnsigned("MixedKinds"),
        || zip(&[file(DISK, b"x"), file("IOM12.0300.SFW", b"x")]),
    ),
    (
        "two images for one model without a manifest",
        RefusedUnsigned("Manifest"),
        || zip(&[file("X.NA01.LOD", b"x"), file("X.NA02.LOD", b"x")]),
    ),
    (
        "an image in two folders, without a manifest",
        RefusedUnsigned("Duplicate"),
        || zip(&[file("a/X.NA01.LOD", b"x"), file("b/X.NA01.lod", b"x")]),
    ),
    (
        "a file that is no image, without a manifest",
        RefusedUnsigned("NotAnImage"),
        || zip(&[file(DISK, b"x"), file("README.txt", b"x")]),
    ),
    (
        "an SP image without a manifest",
        RefusedUnsigned("NothingSaid"),
        || zip(&[file("X_SP_FW.zip", b"PK")]),
    ),
    (
        "an empty image without a manifest",
        RefusedUnsigned("Manifest"),
        || zip(&[file(DISK, b"")]),
    ),
    ("no files", RefusedUnsigned("Empty"), || zip(&[])),
    (
        "neither a zip nor a gzip file",
        RefusedUnsigned("NotAnArchive"),
        || b"#!/bin/sh\n".to_vec(),
    ),
];

fn name_of(error: &dyn std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let end = text.find([' ', '(', '{']).unwrap_or(text.len());
    text[..end].to_owned()
}

/// What a store and the proof of a file say, which is the same.
fn outcome(bytes: &[u8], policy: &Policy) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    fs::write(&path, bytes).unwrap();
    let proven = verify_firmware(&path, policy).map_err(|error| name_of(&error));
    let store = Store::open(dir.path().join("store")).unwrap();
    let taken = match take_in(&store, bytes, policy.clone(), limits()) {
        Ok(taken) => Ok(taken.firmware().digest),
        Err(FirmwareStageError::Refused(error)) => Err(name_of(&error)),
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(taken, proven.map(|signed| signed.digest));
    assert_eq!(all_on_disk(&store).is_empty(), taken.is_err());
    taken.map(drop)
}

#[test]
fn each_comes_to_what_the_table_says() {
    for (what, verdict, make) in CASES {
        let bytes = make();
        match verdict {
            Accepted => assert_eq!(outcome(&bytes, &policy()), Ok(()), "{what}"),
            Refused(name) => {
                let error = outcome(&bytes, &policy()).expect_err(what);
                assert_eq!(error, *name, "{what}");
            }
            RefusedUnsigned(name) => {
                assert!(outcome(&bytes, &policy()).is_err(), "{what}");
                let error = outcome(&bytes, &unsigned()).expect_err(what);
                assert_eq!(error, *name, "{what}");
            }
        }
    }
}

#[test]
fn a_wrong_signature_is_refused_even_where_none_is_needed() {
    for bytes in [
        files_with(|files| files[0].1.push(b' ')),
        files_with(|files| files[1].1.truncate(20)),
        files_with(|files| drop(files.remove(0))),
    ] {
        assert!(outcome(&bytes, &unsigned()).is_err());
    }
    let (manifest, signature) = (FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE);
    assert_eq!([&good()[0].0, &good()[1].0], [manifest, signature]);
}

#[test]
fn the_page_says_the_same() {
    let page = include_str!("../../../../docs/firmware.md");
    let row = |(what, verdict, _): &Case| match verdict {
        Accepted => format!("| {what} | accepted |"),
        Refused(name) | RefusedUnsigned(name) => format!("| {what} | refused: `{name}` |"),
    };
    let rows: Vec<String> = CASES.iter().map(row).collect();
    let heading = "| an archive with | is |\n|---|---|\n";
    let (_, after) = page.split_once(heading).expect("the table is there");
    let table = after.split("\n\n").next().unwrap();
    let expected = rows.join("\n");
    assert!(table == expected, "the page should say:\n{expected}");
}
