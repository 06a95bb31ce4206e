//! Firmware packages: built, recognised, taken in, kept, given out.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use evenkeel_model::{
    DeviceModel, Digest, FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE, FirmwareKind, FirmwareManifest,
    FirmwareRevision,
};
use evenkeel_package_store::{
    BuiltFirmware, Deleted, FirmwareBuild, FirmwareBuildError, FirmwareError, FirmwareStageError,
    ImageError, Policy, Recognised, SecretKey, StageError, StageLimits, Store, StoreError, TakenIn,
    TrustedKeys, build_firmware, read_unproven_firmware, recognise, verify_firmware,
};

use crate::common::*;
use crate::craft::{Piece, gzip};
use crate::zips::{self, Part};

pub(crate) const DISK: &str = "X423_SLTNG1T8SSX.NA06.LOD";
pub(crate) const OTHER_DISK: &str = "X439_PHM21T6MCTO.NA10.LOD";

/// A disk qualification package with these records and a right checksum.
pub(crate) fn qualification(records: &str) -> Vec<u8> {
    let text = format!("evenkeel-qualification 1\nversion 3.18\nrevision 20260131\n{records}");
    format!("{text}checksum sha256 {}\n", digest(text.as_bytes())).into_bytes()
}

/// Two images of disks, signed.
pub(crate) fn good() -> Vec<(String, Vec<u8>)> {
    let images = vec![
        (DISK.to_owned(), noise(5000, 3)),
        (OTHER_DISK.to_owned(), noise(700, 4)),
    ];
    sign(&manifest_of(&images), &key(), images)
}

/// The manifest that an archive of these has, read from the product itself.
pub(crate) fn manifest_of(images: &[(String, Vec<u8>)]) -> FirmwareManifest {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("unsigned.zip");
    fs::write(&path, zip(images)).unwrap();
    read_unproven_firmware(&path).unwrap().0.manifest
}

pub(crate) fn sign(
    manifest: &FirmwareManifest,
    key: &SecretKey,
    images: Vec<(String, Vec<u8>)>,
) -> Vec<(String, Vec<u8>)> {
    let bytes = manifest.to_bytes();
    let signature = key.sign(&bytes).to_string().into_bytes();
    let mut files = vec![
        (FIRMWARE_MANIFEST.to_owned(), bytes),
        (FIRMWARE_SIGNATURE.to_owned(), signature),
    ];
    files.extend(images);
    files
}

pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let part = |(name, content): &(String, Vec<u8>)| Part::new(name, content);
    zips::pack(&files.iter().map(part).collect::<Vec<_>>())
}

pub(crate) fn tgz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar: Vec<u8> = files
        .iter()
        .flat_map(|(name, content)| Piece::file(name, content).to_bytes())
        .collect();
    tar.extend([0; 1024]);
    gzip(&tar)
}

pub(crate) fn unsigned() -> Policy {
    Policy {
        allow_unsigned: true,
        ..policy()
    }
}

pub(crate) fn limits() -> StageLimits {
    StageLimits {
        reserve_bytes: 0,
        ..StageLimits::default()
    }
}

pub(crate) fn take_in(
    store: &Store,
    bytes: &[u8],
    policy: Policy,
    limits: StageLimits,
) -> Result<TakenIn, FirmwareStageError> {
    let mut staging = store.begin_firmware("firmware", policy, limits)?;
    for piece in bytes.chunks(1500) {
        staging.write_blocking(Bytes::copy_from_slice(piece))?;
    }
    staging.finish_blocking()
}

pub(crate) fn refusal(outcome: Result<TakenIn, FirmwareStageError>) -> FirmwareError {
    match outcome {
        Err(FirmwareStageError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Names of everything in the store's folders, but for what is deleted and goes later.
pub(crate) fn all_on_disk(store: &Store) -> Vec<String> {
    let mut names = on_disk(store.dir());
    for entry in fs::read_dir(store.dir().join("firmware")).unwrap() {
        names.push(entry.unwrap().file_name().into_string().unwrap());
    }
    names
}

fn open(dir: &Path) -> Store {
    Store::open(dir.join("store")).unwrap()
}

fn model(text: &str) -> DeviceModel {
    DeviceModel::new(text).unwrap()
}

fn image(store: &Store, digest: Digest, of: &str) -> Result<Vec<u8>, ImageError> {
    let mut opened = store.open_image(digest, Some(&model(of)), &policy())?;
    let mut content = Vec::new();
    opened.file.read_to_end(&mut content).unwrap();
    assert_eq!(opened.image.size, content.len() as u64);
    Ok(content)
}

#[test]
fn zips_and_tgzs_are_taken_in_kept_and_given_out_by_model() {
    for pack in [zip, tgz] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let bytes = pack(&good());
        let TakenIn::New(taken) = take_in(&store, &bytes, policy(), limits()).unwrap() else {
            panic!("it was not here before");
        };
        assert_eq!(taken.digest, digest(&good()[0].1));
        assert_eq!(taken.archive_digest, archive_digest(&bytes));
        assert_eq!(taken.summary.kind, FirmwareKind::Disk);
        assert_eq!(taken.signed_by, Some(key().public().id().to_string()));
        assert_eq!(all_on_disk(&store), [taken.digest.to_string()]);
        drop(store);

        let store = open(dir.path());
        assert_eq!(store.firmware(), std::slice::from_ref(&taken));
        assert_eq!(store.get_firmware(taken.digest), Some(taken.clone()));
        let content = image(&store, taken.digest, "X423_SLTNG1T8SSX").unwrap();
        assert_eq!(content, noise(5000, 3));
        let none = image(&store, taken.digest, "OTHER").unwrap_err();
        assert!(matches!(none, ImageError::NoImage { .. }), "{none:?}");
        let mut archive = store.open_firmware_archive(taken.digest, 10).unwrap();
        let mut rest = Vec::new();
        archive.file.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes[10..]);
        let list = store.firmware_chunk_list(taken.digest).unwrap();
        assert_eq!(list.digest(), taken.archive_digest);
        assert!(store.list().is_empty(), "firmware is no software package");

        let again = take_in(&store, &bytes, policy(), limits()).unwrap();
        assert!(matches!(again, TakenIn::Again(_)));
        assert_eq!(
            store.delete_firmware(taken.digest).unwrap(),
            Deleted::Removed
        );
        assert_eq!(
            store.delete_firmware(taken.digest).unwrap(),
            Deleted::WasNotThere
        );
        assert!(all_on_disk(&store).is_empty());
        let gone = image(&store, taken.digest, "X423_SLTNG1T8SSX").unwrap_err();
        assert!(
            matches!(gone, ImageError::Store(StoreError::NotThere { .. })),
            "{gone:?}"
        );
    }
}

#[test]
fn unsigned_firmware_is_taken_where_that_is_allowed_and_is_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut images = good().split_off(2);
    let bytes = zip(&images);
    let refused = refusal(take_in(&store, &bytes, policy(), limits()));
    assert!(matches!(refused, FirmwareError::NoManifest), "{refused:?}");
    let first = take_in(&store, &bytes, unsigned(), limits()).unwrap();
    assert_eq!(first.firmware().signed_by, None);
    images.reverse();
    let folder = |(name, content): (String, Vec<u8>)| (format!("disks/{name}"), content);
    let elsewhere: Vec<_> = images.into_iter().map(folder).collect();
    let second = take_in(&store, &tgz(&elsewhere), unsigned(), limits()).unwrap();
    assert!(matches!(&second, TakenIn::Again(it) if it.digest == first.firmware().digest));
    let digest = first.firmware().digest;
    let untrusted = store.open_image(digest, Some(&model("X439_PHM21T6MCTO")), &policy());
    assert!(matches!(
        untrusted.unwrap_err(),
        ImageError::Refused(FirmwareError::Unsigned)
    ));
    let opened = store.open_image(digest, Some(&model("X439_PHM21T6MCTO")), &unsigned());
    assert_eq!(opened.unwrap().image.file, OTHER_DISK);
}

#[test]
fn a_revoked_key_keeps_images_from_devices() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let taken = take_in(&store, &zip(&good()), policy(), limits()).unwrap();
    let digest = taken.firmware().digest;
    let mut revoked: TrustedKeys = [key().public()].into_iter().collect();
    revoked.add_revoked(key().public().id());
    let of = model("X423_SLTNG1T8SSX");
    let refused = store.open_image(digest, Some(&of), &Policy::trusting(revoked));
    assert!(matches!(
        refused.unwrap_err(),
        ImageError::Refused(FirmwareError::Signature(_))
    ));
    assert_eq!(store.firmware().len(), 1, "it is whole all the same");
}

#[test]
fn a_changed_image_is_set_aside_and_healed_by_a_good_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = zip(&good());
    let taken = take_in(&store, &bytes, policy(), limits()).unwrap();
    let digest = taken.firmware().digest;
    let folder = store.dir().join("firmware").join(digest.to_string());
    let mut content = fs::read(folder.join("images").join(DISK)).unwrap();
    content[77] ^= 1;
    fs::write(folder.join("images").join(DISK), content).unwrap();
    let damaged = image(&store, digest, "X423_SLTNG1T8SSX").unwrap_err();
    assert!(damaged.to_string().contains("was changed"), "{damaged}");
    assert!(store.firmware().is_empty());
    assert_eq!(store.damaged_firmware()[0].digest, digest);
    take_in(&store, &bytes, policy(), limits()).unwrap();
    assert!(store.damaged_firmware().is_empty());
    image(&store, digest, "X423_SLTNG1T8SSX").unwrap();
    assert_eq!(all_on_disk(&store), [digest.to_string()]);
}

#[test]
fn what_is_damaged_on_disk_is_found_when_the_store_is_opened() {
    let files = [
        "manifest.json",
        "manifest.sig",
        "firmware.json",
        "chunks",
        "archive.tgz",
    ];
    let image = format!("images/{DISK}");
    for name in files.into_iter().chain([image.as_str()]) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let taken = take_in(&store, &zip(&good()), policy(), limits()).unwrap();
        let digest = taken.firmware().digest;
        drop(store);
        let folder = dir.path().join("store/firmware").join(digest.to_string());
        fs::write(folder.join(name), "x").unwrap();
        let store = open(dir.path());
        assert!(store.firmware().is_empty(), "{name}");
        assert_eq!(store.damaged_firmware()[0].digest, digest, "{name}");
        assert_eq!(store.delete_firmware(digest).unwrap(), Deleted::Removed);
        assert!(store.damaged_firmware().is_empty());
    }
}

#[test]
fn what_breaks_off_is_too_big_or_has_no_room_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = Bytes::from(zip(&good()));
    let mut dropped = store.begin_firmware("a", policy(), limits()).unwrap();
    dropped.write_blocking(bytes.slice(..100)).unwrap();
    let busy = store.begin_firmware("a", policy(), limits()).unwrap_err();
    assert!(matches!(busy, StageError::Busy { .. }), "{busy:?}");
    dropped.abort_blocking();
    let small = StageLimits {
        max_archive_bytes: 2000,
        ..limits()
    };
    let error = take_in(&store, &bytes, policy(), small).unwrap_err();
    let too_large = FirmwareStageError::Stage(StageError::TooLarge { limit: 2000 });
    assert_eq!(error.to_string(), too_large.to_string());
    let full = StageLimits {
        reserve_bytes: u64::MAX / 2,
        ..limits()
    };
    let error = take_in(&store, &bytes, policy(), full).unwrap_err();
    assert!(
        matches!(error, FirmwareStageError::Stage(StageError::NoSpace { .. })),
        "{error:?}"
    );
    let other = StageLimits {
        expected_package: Some(digest(b"another")),
        ..limits()
    };
    let error = refusal(take_in(&store, &bytes, policy(), other));
    assert!(matches!(error, FirmwareError::Other { .. }), "{error:?}");
    let small = Policy {
        max_unpacked_bytes: 3000,
        ..policy()
    };
    for bytes in [zip(&good()), tgz(&good())] {
        let error = refusal(take_in(&store, &bytes, small.clone(), limits()));
        assert!(
            matches!(error, FirmwareError::TooLarge { limit: 3000 }),
            "{error:?}"
        );
    }
    assert!(all_on_disk(&store).is_empty());
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn build(
        &self,
        files: &[PathBuf],
        options: FirmwareBuild,
    ) -> Result<BuiltFirmware, FirmwareBuildError> {
        let output = self.dir.path().join("OUT.zip");
        build_firmware(files, &key(), options, &output)
    }

    fn take_out(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("OUT.zip")).unwrap()
    }
}

#[test]
fn images_and_vendors_archives_become_one_signed_package() {
    let bench = Bench::new();
    let vendors = zip(&[
        (format!("fw/{OTHER_DISK}"), noise(700, 4)),
        ("fw/README.txt".to_owned(), b"read me".to_vec()),
    ]);
    let files = [
        bench.file(DISK, &noise(5000, 3)),
        bench.file("X439.zip", &vendors),
    ];
    let built = bench.build(&files, FirmwareBuild::default()).unwrap();
    assert_eq!(built.left_out, ["fw/README.txt"]);
    assert_eq!(built.manifest.name, "disk firmware for 2 models");
    let names: Vec<&str> = built.manifest.images.iter().map(|it| &*it.file).collect();
    assert_eq!(names, [DISK, OTHER_DISK]);
    let first = bench.take_out();
    let signed = verify_firmware(&bench.dir.path().join("OUT.zip"), &policy()).unwrap();
    assert_eq!(signed.digest, built.digest);
    assert_eq!(signed.manifest, built.manifest);
    // What was built can be signed anew, by whoever trusts it.
    let again = [bench.file("again.zip", &first)];
    let time = FirmwareBuild {
        build_time: built.manifest.build_time,
        ..FirmwareBuild::default()
    };
    let rebuilt = bench.build(&again, time).unwrap();
    assert_eq!((rebuilt.digest, rebuilt.left_out), (built.digest, vec![]));
    assert_eq!(bench.take_out(), first);
}

#[test]
fn padding_in_an_image_is_no_bomb() {
    let bench = Bench::new();
    let files = [bench.file(DISK, &vec![0; 20 << 20])];
    bench.build(&files, FirmwareBuild::default()).unwrap();
}

#[test]
fn an_sp_says_nothing_by_itself_and_a_qualification_package_all() {
    let bench = Bench::new();
    let nested = zip(&[("image".to_owned(), noise(900, 5))]);
    let sp = [bench.file("308-03990_SP_FW.zip", &nested)];
    let error = bench.build(&sp, FirmwareBuild::default()).unwrap_err();
    assert!(
        matches!(
            error,
            FirmwareBuildError::NothingSaid {
                missing: "model",
                ..
            }
        ),
        "{error:?}"
    );
    let options = FirmwareBuild {
        model: Some(model("SP5")),
        revision: Some(FirmwareRevision::new("5.8P1").unwrap()),
        ..FirmwareBuild::default()
    };
    let built = bench.build(&sp, options).unwrap();
    assert_eq!(built.manifest.kind, FirmwareKind::ServiceProcessor);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    take_in(&store, &bench.take_out(), policy(), limits()).unwrap();
    assert_eq!(image(&store, built.digest, "SP5").unwrap(), nested);

    let text = qualification("drive X -\nalias Y X\n");
    let vendors = zip(&[("qual_devices_v3".to_owned(), text.clone())]);
    for files in [
        [bench.file("qual_devices_v3", &text)],
        [bench.file("qual_devices.zip", &vendors)],
    ] {
        let built = bench.build(&files, FirmwareBuild::default()).unwrap();
        assert_eq!(built.manifest.images[0].revision.as_str(), "20260131");
        let (_, read) = read_unproven_firmware(&bench.dir.path().join("OUT.zip")).unwrap();
        assert_eq!(read.unwrap().counts().alias, 1);
        take_in(&store, &bench.take_out(), policy(), limits()).unwrap();
        let opened = store.open_image(built.digest, None, &policy()).unwrap();
        assert_eq!(opened.image.file, "qual_devices_v3");
    }
}

#[test]
fn what_cannot_be_built_leaves_the_output_as_it_was() {
    let bench = Bench::new();
    let output = bench.file("OUT.zip", b"before");
    let disk = bench.file(DISK, b"disk");
    let shelf = bench.file("IOM12.0300.SFW", b"shelf");
    let broken = String::from_utf8(qualification("drive X -\n")).unwrap();
    let broken = bench.file(
        "qual_devices",
        broken.replace("drive X", "drive Y").as_bytes(),
    );
    let text = bench.file("notes.txt", b"text");
    let sp = bench.file("X_SP_FW.zip", b"no zip");
    let mixed = bench.file(
        "mixed.zip",
        &zip(&[
            (DISK.to_owned(), b"disk".to_vec()),
            ("IOM12.0300.SFW".to_owned(), b"shelf".to_vec()),
        ]),
    );
    let empty = bench.file("empty.zip", &zip(&[("README".to_owned(), b"x".to_vec())]));
    let fails = |files: &[&PathBuf], options: FirmwareBuild| {
        let files: Vec<PathBuf> = files.iter().map(|it| (*it).clone()).collect();
        bench.build(&files, options).unwrap_err()
    };
    let plain = FirmwareBuild::default;
    let of = |of: &str| FirmwareBuild {
        model: Some(model(of)),
        ..plain()
    };
    let by = |revision: &str| FirmwareBuild {
        revision: Some(FirmwareRevision::new(revision).unwrap()),
        ..of("SP5")
    };
    use FirmwareBuildError as E;
    let other_kind = |error| matches!(error, E::OtherKind { .. });
    assert!(other_kind(fails(&[&disk, &shelf], plain())));
    assert!(other_kind(fails(&[&mixed], plain())));
    assert!(matches!(fails(&[&text], plain()), E::NotAnImage { .. }));
    assert!(matches!(fails(&[&empty], plain()), E::Nothing));
    assert!(matches!(fails(&[&disk], of("X4")), E::Manifest(_)));
    assert!(matches!(fails(&[&disk, &disk], plain()), E::Manifest(_)));
    for (file, options, expected) in [
        (&broken, plain(), "line 5: the checksum does not match"),
        (&sp, by("1"), "does not begin like a zip"),
    ] {
        let error = fails(&[file], options);
        let text = format!("{error:?}");
        let source = std::error::Error::source(&error).expect("it says why");
        let told = std::error::Error::source(source)
            .unwrap_or(source)
            .to_string();
        assert!(told.contains(expected), "{told} {text}");
    }
    let kind = FirmwareBuild {
        kind: Some(FirmwareKind::Shelf),
        ..plain()
    };
    assert_eq!(fs::read(&output).unwrap(), b"before");
    let built = bench.build(&[mixed], kind).unwrap();
    assert_eq!(built.left_out, [DISK]);
    let left = fs::read_dir(bench.dir.path()).unwrap().count();
    assert_eq!(left, 8, "no unfinished output");
}

#[test]
fn what_an_archive_is_shows_in_its_first_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, package) = make_small_package(dir.path(), "1.0");
    let package = fs::read(package).unwrap();
    let big = vec![(DISK.to_owned(), noise(300_000, 3))];
    let plain = gzip(b"just some text that is no archive at all");
    for (bytes, expected) in [
        (package, Recognised::Software),
        (zip(&good()), Recognised::FirmwareZip),
        (zips::pack(&[]), Recognised::FirmwareZip),
        (tgz(&good()), Recognised::FirmwareTgz),
        (tgz(&big), Recognised::FirmwareTgz),
        (plain, Recognised::Software),
        (b"text".to_vec(), Recognised::Software),
    ] {
        let mut decided = None;
        for n in (0..=bytes.len().min(1500)).step_by(7) {
            let now = recognise(&bytes[..n], false);
            assert!(decided.is_none() || decided == now, "it was said before");
            decided = now.or(decided);
        }
        assert_eq!(recognise(&bytes, true), Some(expected));
        assert_eq!(decided.unwrap_or(expected), expected);
    }
    assert_eq!(recognise(b"", false), None);
    assert_eq!(recognise(b"", true), Some(Recognised::Software));
    let folder = gzip(
        &[
            Piece::new("d/", b'5').to_bytes(),
            Piece::file(&format!("d/{DISK}"), b"x").to_bytes(),
        ]
        .concat(),
    );
    assert_eq!(recognise(&folder, false), Some(Recognised::FirmwareTgz));
}
